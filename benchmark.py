"""Speeds as ratios: python benchmark.py, python benchmark.py overhead. `--help` tells the rest."""

from unrolled.benchmarks.command import main
from unrolled.cli.terminal import run_script

if __name__ == "__main__":
    run_script(main)
