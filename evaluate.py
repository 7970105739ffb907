"""Evaluate a run: python evaluate.py run=runs/latest. `--help` tells the rest."""

from unrolled.runs.evaluate import main
from unrolled.runs.script import run_script

if __name__ == "__main__":
    run_script(main)
