"""Compare runs: python compare.py runs/. `--help` tells the rest."""

from unrolled.compare.command import main
from unrolled.script import run_script

if __name__ == "__main__":
    run_script(main)
