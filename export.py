"""Export a run's model: python export.py run=runs/latest format=onnx. `--help` tells the rest."""

from unrolled.cli import run_script
from unrolled.use.export import main

if __name__ == "__main__":
    run_script(main)
