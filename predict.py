"""Classify texts: python predict.py run=runs/latest input=texts.csv output=classified.csv. `--help` tells the rest."""

from unrolled.cli.terminal import run_script
from unrolled.use.predict import main

if __name__ == "__main__":
    run_script(main)
