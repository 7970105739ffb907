"""Speeds as ratios: python benchmark.py, python benchmark.py overhead. `--help` tells the rest."""

from unrolled.cli.terminal import run_script

# isort: split
from unrolled.benchmarks.command import main  # imports torch, whose threads wait as unrolled.cli has said by then

if __name__ == "__main__":
    run_script(main)
