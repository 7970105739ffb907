"""A source from its configuration: the class that `data._target_` names, called with the keys that are its own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_class

from unrolled.data.config import DataConfig
from unrolled.data.sources.source import Source
from unrolled.errors import UserError

#: What a value of each simple type is called in a message.
TYPE_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


def build_source(keys: Mapping[str, Any]) -> Source:
    """The source that ``_target_`` names. All other keys are arguments of its constructor.

    Values are checked against the constructor's annotations where these are simple types; all other rules are checked
    by the class itself.

    Raises:
        UserError: the class cannot be found, does not take one of the keys, or refuses a value.
    """
    arguments = dict(keys)
    target = arguments.pop("_target_", None)
    try:
        source_class = get_class(str(target))
    except Exception as error:  # whatever importing a module of the user's may raise
        raise UserError(f"data._target_={target} cannot be imported: {error}") from error
    if not issubclass(source_class, Source):
        raise UserError(f"data._target_={target} must name a subclass of unrolled.data.sources.source.Source")
    parameters = inspect.signature(source_class).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in arguments:
        if key not in parameters and not takes_any:
            close = get_close_matches(key, [*parameters, *(field.name for field in fields(DataConfig))], n=1)
            hint = f"did you mean data.{close[0]}?" if close else f"its keys are {', '.join(parameters) or 'none'}"
            raise UserError(f"data.{key}={arguments[key]}: {source_class.__name__} has no such key; {hint}")
    for name, parameter in parameters.items():
        optional = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not optional and name not in arguments:
            raise UserError(f"data.{name} is not set: {source_class.__name__} needs it")
    try:
        types = get_type_hints(source_class.__init__)
    except NameError:  # annotations that only a type checker can resolve
        types = {}
    source: Source = source_class(**{key: _fitted(key, value, types.get(key)) for key, value in arguments.items()})
    return source


def _fitted(key: str, value: Any, annotation: Any) -> Any:
    """``value`` as a constructor expects it that annotates the argument so; numbers become texts where those stand."""
    types = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    if not TYPE_NAMES.keys() >= set(types) or type(value) in types:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if float in types:
            return float(value)
        if str in types:  # such as a file called 2020
            return str(value)
    shown = "null" if value is None else repr(value)
    raise UserError(f"data.{key} must be {' or '.join(TYPE_NAMES[kind] for kind in types)}, got {shown}")
