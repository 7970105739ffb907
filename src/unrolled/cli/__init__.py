"""The command lines: `train.py`, whose settings Hydra composes from conf/, and the other scripts.

A user's mistake is one message and exit status 2; every other exception keeps its traceback. Nothing at the top of
these files imports torch: `--help` and a misspelt key are answered without it.
"""

from unrolled.waiting import choose_waiting

choose_waiting()  # OpenMP reads it when torch is imported, so that is too late; child processes inherit it
