"""Compare runs: python compare.py runs/. `--help` tells the rest."""

from unrolled.runs.compare import main
from unrolled.runs.script import run_script

if __name__ == "__main__":
    run_script(main)
