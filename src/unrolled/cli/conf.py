"""The contents of conf/: groups, their choices and keys, and the resolvers of ``${...}`` in them."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

PROJECT_VARIABLE = "UNROLLED_PROJECT"  # environment variable: the directory of train.py, for processes of a sweep, too
OF_FILES = ("csv", "jsonl", "parquet", "folder")  # choices of `data` whose documents are the user's


def default_choices(conf: Path) -> dict[str, str | None]:
    """The groups in the order of conf/config.yaml, each with its default choice."""
    listed = re.findall(r"^  - (\w+): (\w+)$", (conf / "config.yaml").read_text(), re.M)
    return {group: None if name == "null" else name for group, name in listed}


def choices(conf: Path, group: str) -> list[str]:
    return sorted(file.stem for file in (conf / group).glob("*.yaml"))


def keys_of_choice(conf: Path, group: str, name: str) -> set[str]:
    """The keys at the top of conf/GROUP/NAME.yaml and of the files that it takes its defaults from."""
    text = (conf / group / f"{name}.yaml").read_text()
    parents = [parent for parent in re.findall(r"^  - (\w+)$", text, re.M) if parent in choices(conf, group)]
    own = set(re.findall(r"^(\w+):", text, re.M)) - {"defaults"}
    return own.union(*(keys_of_choice(conf, group, parent) for parent in parents))


def existing_keys(conf: Path, arguments: Sequence[str]) -> list[str]:
    """All groups, and all keys that there are with the choices that ``arguments`` make."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    groups = default_choices(conf)
    chosen = [f"{group}={value.split(',')[0]}" for group, value in pairs(arguments) if group in groups]
    folders = [f"file://{folder}" for folder in own_folders(arguments)]
    search = [f"hydra.searchpath=[{','.join(folders)}]"] if folders else []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        try:
            config = compose("config", [*chosen, *search])
        except HydraException:  # a choice is wrong as well
            config = compose("config")
    return [*groups, *_dotted(OmegaConf.to_container(config))]


def own_folders(arguments: Sequence[str]) -> list[str]:
    """The folders with the user's own choices, as --config-dir names them."""
    joined = [value for key, value in pairs(arguments) if key == "--config-dir"]
    return joined + [value for option, value in pairwise(arguments) if option in ("--config-dir", "-cd")]


def pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, equals, value in (text.partition("=") for text in arguments) if equals]


def _dotted(node: Any, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if prefix or not isinstance(value, Mapping):
            yield key
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{key}.")


def register_resolver() -> None:
    """Let conf/ say ``${root:path}`` for a path below the directory of train.py, and ``${corpus:...}``."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver(
        "root", lambda path: str(Path(os.environ.get(PROJECT_VARIABLE, ".")) / path), replace=True
    )
    OmegaConf.register_new_resolver("corpus", corpus_name, replace=True)


def corpus_name(choice: str, file: Any, hub: Any) -> str:
    """What a run's name calls its data: the user's file or data set of the hub, else the ``choice`` of the group.

    Of a file's name it is what stands before the first dot, with ``_`` in place of all that is no letter or digit.
    """
    given = hub or (file if choice in OF_FILES else None)
    name = re.sub(r"[^\w-]+", "_", Path(str(given or "")).name.split(".")[0]).strip("_")[:40]
    return name or choice


if PROJECT_VARIABLE in os.environ:  # a process that a launcher has started: it calls `run_task`, not `train_command`
    register_resolver()
