"""A source from its configuration: the class that `data._target_` names, called with the keys that are its own."""

import inspect
from collections.abc import Mapping
from typing import Any

from unrolled.arguments import called_with, imported
from unrolled.data.config import COMMON
from unrolled.data.sources.source import Source
from unrolled.errors import UserError


def build_source(keys: Mapping[str, Any]) -> Source:
    """The source that ``_target_`` names. All other keys are arguments of its constructor.

    Raises:
        UserError: the class cannot be found, does not take one of the keys, lacks one, or refuses a value.
    """
    arguments = called_with("data", keys, beside=COMMON)
    target = arguments.pop("_target_")
    source_class = imported("data", target)
    if not (isinstance(source_class, type) and issubclass(source_class, Source)):
        raise UserError(f"data._target_={target} must name a subclass of unrolled.data.sources.source.Source")
    try:
        inspect.signature(source_class).bind(**arguments)
    except TypeError as error:
        raise UserError(f"data: {source_class.__name__} needs more keys ({error}); set them as data.<key>=") from error
    return source_class(**arguments)
