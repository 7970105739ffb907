"""A source from its configuration: the class that `data._target_` names, called with the keys that are its own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from hydra.utils import get_class

from unrolled.data.config import COMMON
from unrolled.data.sources.source import Source
from unrolled.errors import UserError


def build_source(keys: Mapping[str, Any]) -> Source:
    """The source that ``_target_`` names. All other keys are arguments of its constructor.

    Raises:
        UserError: the class cannot be found, does not take one of the keys, lacks one, or refuses a value.
    """
    arguments = dict(keys)
    target = arguments.pop("_target_", None)
    try:
        source_class = get_class(str(target))
    except Exception as error:  # whatever importing a module of the user's may raise
        raise UserError(f"data._target_={target} cannot be imported: {error}") from error
    if not issubclass(source_class, Source):
        raise UserError(f"data._target_={target} must name a subclass of unrolled.data.sources.source.Source")
    signature = inspect.signature(source_class)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        names = list(signature.parameters)
        unknown = next((key for key in arguments if key not in names), None)
        if unknown is None:
            raise UserError(
                f"data: {source_class.__name__} needs more keys ({error}); set them as data.<key>="
            ) from error
        close = get_close_matches(unknown, [*names, *COMMON], n=1)
        hint = f"did you mean data.{close[0]}?" if close else f"its keys are {', '.join(names) or 'none'}"
        raise UserError(f"data.{unknown}: {source_class.__name__} has no such key; {hint}") from error
    source: Source = source_class(**arguments)
    return source
