"""Train a classifier: python train.py model=lstmp. `--help` lists the groups and their choices, `-m` sweeps.

`resume=<directory>` goes on with a run that was killed or interrupted.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from unrolled.entry import guarded, launch
from unrolled.train.run import train

OmegaConf.register_new_resolver("root", lambda path: str(Path(__file__).resolve().parent / path), replace=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """One run; the value that a search improves, the best validation accuracy."""
    return guarded(train, config)


if __name__ == "__main__":
    launch(main)
