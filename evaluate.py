"""Evaluate a run: python evaluate.py run=runs/latest. `--help` tells the rest."""

from unrolled.cli.terminal import run_script
from unrolled.use.evaluate import main

if __name__ == "__main__":
    run_script(main)
