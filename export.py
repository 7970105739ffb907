"""Export a run's model: python export.py run=runs/latest format=onnx. `--help` tells the rest."""

from unrolled.runs.export import main
from unrolled.runs.script import run_script

if __name__ == "__main__":
    run_script(main)
