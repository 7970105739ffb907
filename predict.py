"""Classify texts: python predict.py run=runs/latest input=texts.csv output=classified.csv. `--help` tells the rest."""

from unrolled.runs.predict import main
from unrolled.runs.script import run_script

if __name__ == "__main__":
    run_script(main)
