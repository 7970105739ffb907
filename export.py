"""Export a run's model: python export.py run=runs/latest format=onnx. `--help` tells the rest."""

from collections.abc import Sequence

from unrolled.cli.terminal import run_script


def main(arguments: Sequence[str]) -> None:
    """Import what takes a second or two where Ctrl-C is answered already."""
    from unrolled.use.export import main as export

    export(arguments)


if __name__ == "__main__":
    run_script(main)
