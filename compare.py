"""Compare runs: python compare.py runs/. `--help` tells the rest."""

from unrolled.cli.terminal import run_script
from unrolled.compare.command import main

if __name__ == "__main__":
    run_script(main)
