"""The studies are scripts: here they become modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

STUDIES = Path(__file__).resolve().parents[2] / "experiments"


def load(study: str, script: str = "run") -> ModuleType:
    """experiments/<study>/<script>.py as a module."""
    spec = importlib.util.spec_from_file_location(f"{study}_{script}", STUDIES / study / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    if str(STUDIES / study) not in sys.path:
        sys.path.append(str(STUDIES / study))  # what Python does for a script: modules beside it are found
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module
