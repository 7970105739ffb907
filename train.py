"""Train a classifier: python train.py model=lstmp. `--help` lists the groups and their choices, `-m` sweeps.

`resume=<directory>` goes on with a run that was killed or interrupted.
"""

from pathlib import Path

from unrolled.cli.terminal import interruptible

if __name__ == "__main__":
    with interruptible("interrupted before a run had begun: give the same command again"):
        from unrolled.cli.train import train_command

        train_command(Path(__file__).resolve().parent / "conf")
