"""The command lines: `train.py`, whose settings Hydra composes from conf/, and the other scripts.

A user's mistake is one message and exit status 2; every other exception keeps its traceback. Nothing at the top of
these files imports torch: `--help` and a misspelt key are answered without it.
"""

import os

SPIN = "GOMP_SPINCOUNT"  # environment variable: how often a waiting thread looks before it sleeps


def choose_waiting() -> None:
    """Let threads of torch that wait for each other spin for about 0.1 ms before they sleep.

    It bridges what a training step does on one thread between two parallel operators. GNU's OpenMP, told nothing, spins
    for 3 ms, through whole time slices of a core that another program, or the thread waited for, could use; asleep at
    once, threads lose a quarter of their speed to being woken (`python benchmark.py threads`). It reads the variable
    when torch is imported, so that is too late; child processes inherit it. What the user has set stays.
    """
    if not {"OMP_WAIT_POLICY", SPIN} & set(os.environ):
        os.environ[SPIN] = "10000"


choose_waiting()
