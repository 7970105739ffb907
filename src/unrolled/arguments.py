"""Checks of the keys and values that users give: does the key exist, and has the value the right type?

Nothing here imports torch, so that a misspelt key is answered at once.
"""

import inspect
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from unrolled.errors import UserError

SYNONYMS = {  # what people type first -> the key that exists
    "accelerator": "trainer.accelerator",
    "batch": "tbptt.batch_size",
    "bs": "tbptt.batch_size",
    "chunk": "tbptt.chunk_len",
    "chunk_length": "tbptt.chunk_len",
    "clip": "trainer.gradient_clip_val",
    "dataset": "data",
    "device": "trainer.accelerator",
    "early_stopping": "callbacks.early_stopping.patience",
    "encoder": "model",
    "fast_dev_run": "debug",
    "epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "layers": "model.num_layers",
    "learning_rate": "optimizer.lr",
    "lr": "optimizer.lr",
    "patience": "callbacks.early_stopping.patience",
    "readout": "pooling",
    "steps": "trainer.max_steps",
    "tokenizer": "text",
}


# ---- keys ------------------------------------------------------------------------------------------------------------


def unknown_key(key: str, existing: Iterable[str]) -> UserError:
    """The message for a ``key`` that does not exist, with those of ``existing`` that were most likely meant."""
    meant = nearest(key, list(existing))
    return UserError(f"{key}: there is no such key" + (f"; did you mean {' or '.join(meant)}?" if meant else ""))


def nearest(key: str, existing: Sequence[str]) -> list[str]:
    """Which of ``existing`` may be meant by ``key``: none, one, or several that are equally good.

    Another word for a key (`SYNONYMS`), the same last part in another group, the beginning of a key of the same group,
    or a misspelling, in this order.
    """
    first, _, rest = key.partition(".")
    if first in SYNONYMS and first not in existing:
        renamed = SYNONYMS[first]
        return nearest(f"{renamed}.{rest}", existing) if rest else [renamed]
    group, _, last = key.rpartition(".")
    if last in SYNONYMS and SYNONYMS[last] in existing:
        return [SYNONYMS[last]]
    same = [each for each in existing if each.rpartition(".")[2] == last]
    if same:
        return [each for each in same if each.startswith(f"{first}.")] or same
    siblings = {each.rpartition(".")[2]: each for each in existing if each.rpartition(".")[0] == group}
    begun = sorted((each for each in siblings if len(last) > 1 and each.startswith(last)), key=len)
    close = begun[:1] or get_close_matches(last, siblings, n=1)
    return [siblings[close[0]]] if close else get_close_matches(key, existing, n=1)


def shown(value: Any) -> str:
    """``value`` as one types it on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def leaves(keys: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested mappings with its dotted key; an empty mapping is a value."""
    for name, value in keys.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def quoted(value: str | Path) -> str:
    """``value`` in quotes, as Hydra's grammar needs it around blanks, brackets and equals signs."""
    text = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + (found[2] and "\\'"), str(value))
    return f"'{text}'"


def counted(number: float, noun: str, form: str = ",") -> str:
    """``1 document``, ``1,234 documents``; ``form``: how the number is written."""
    text = f"{number:{form}}"
    return f"{text} {noun}" + ("" if text == "1" else "s")


# ---- values and the signature that they are for ----------------------------------------------------------------------


def typed_values(
    key: str,
    target: Callable[..., Any],
    values: Mapping[str, Any],
    provided: Iterable[str] = (),
    beside: Iterable[str] = (),
) -> dict[str, Any]:
    """``values`` of the keys ``<key>.*`` with the types that the arguments of ``target`` have.

    A whole number becomes a fraction and a number text where those belong; a value that is a call itself is checked
    like this one. Ranges that are no `Rule` are the target's own business.

    provided: arguments that the program gives; beside: keys of the group that are not the target's.

    Raises UserError for an argument that ``target`` does not have, and for a value of another type, or against a rule.
    """
    parameters = inspect.signature(target).parameters
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    hints = _hints(target)
    prefix = f"{key}." if key else ""
    typed = {}
    for name, value in values.items():
        if name.startswith("_") and name.endswith("_"):  # Hydra's own, as _target_
            typed[name] = value
            continue
        if name in provided:
            raise UserError(f"{prefix}{name}: the program gives this argument itself; leave it out")
        if name not in parameters and not open_ended:
            names = [each for each in (*parameters, *beside) if each not in provided]
            raise unknown_key(f"{prefix}{name}", [f"{prefix}{each}" for each in names])
        typed[name] = typed_value(f"{prefix}{name}", value, hints.get(name, Any))
    return typed


def called_with(
    key: str, values: Mapping[str, Any], provided: Iterable[str] = (), beside: Iterable[str] = ()
) -> dict[str, Any]:
    """`typed_values` for the class or function that ``values["_target_"]`` names."""
    if "_target_" not in values:
        raise UserError(f"{key}._target_ is missing: it names the class or function that is called with the other keys")
    return typed_values(key, imported(key, values["_target_"]), values, provided, beside)


def imported(key: str, target: Any) -> Callable[..., Any]:
    """What ``target``, a dotted path, names. Raises UserError where it cannot be imported or called."""
    from hydra.utils import get_object

    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it would say the same before us, in its own words
    try:
        found: Callable[..., Any] = get_object(str(target))
    except Exception as error:  # whatever a module raises when it is imported
        reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{key}._target_={shown(target)} cannot be imported: {reason}") from error
    if not callable(found):
        raise UserError(f"{key}._target_={target}: must name a class or a function")
    return found


def require(holds: bool, key: str, value: Any, rule: str) -> None:
    """Stop with one message that names the key, the value and the rule, unless it holds."""
    if not holds:
        raise UserError(f"{key}={shown(value)}: {rule}")


class Rule(NamedTuple):
    """What the values of an argument must be, beside their type: ``Annotated[int, Rule(...)]``; null is exempt."""

    holds: Callable[[Any], bool]
    text: str  # after "must be"


def at_least(least: int, what: str = "") -> Rule:
    """For whole numbers."""
    return Rule(lambda value: value >= least, f"at least {least}{what}")


Count = Annotated[int, at_least(1)]
Positive = Annotated[float, Rule(lambda value: value > 0, "more than 0")]
Share = Annotated[float, Rule(lambda value: 0 <= value < 1, "a share, from 0 to below 1")]

TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null"}


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    except (NameError, TypeError):  # names that exist for a type checker only
        return {}


def typed_value(key: str, value: Any, hint: Any) -> Any:
    """``value`` as `typed_values` has it, for an argument whose type is ``hint``."""
    options = _options(hint)
    typed = _of_type(key, value, [each for each in options if not isinstance(each, Rule)])
    for rule in options if typed is not None else []:
        if isinstance(rule, Rule):
            require(rule.holds(typed), key, value, f"must be {rule.text}" + (" or null" if NoneType in options else ""))
    return typed


def _of_type(key: str, value: Any, options: Sequence[Any]) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        return called_with(key, value)
    plain = [each for each in options if each in TYPES or get_origin(each) is Literal]
    if not set(plain) - {NoneType} or Any in options or object in options:
        return value
    if isinstance(value, (Mapping, list)) and len(plain) < len(options):
        return value
    for option in plain:
        if type(value) is option or (get_origin(option) is Literal and value in get_args(option)):
            return value
    if float in plain and type(value) is int:
        return float(value)
    if str in plain and type(value) in (int, float):
        return str(value)
    raise UserError(f"{key}={shown(value)}: must be {_rule(plain)}")


def _options(hint: Any) -> list[Any]:
    """The types that ``hint`` joins, and the rules beside them."""
    if get_origin(hint) in (Union, UnionType):
        return [option for each in get_args(hint) for option in _options(each)]
    if get_origin(hint) is Annotated:
        joined, *extras = get_args(hint)
        return [*_options(joined), *(each for each in extras if isinstance(each, Rule))]
    return [hint]


def _rule(plain: Sequence[Any]) -> str:
    words = [each for option in plain if get_origin(option) is Literal for each in map(str, get_args(option))]
    rules = [f"one of {', '.join(dict.fromkeys(words))}"] if words else []
    rules += [text for option, text in TYPES.items() if option in plain and not (option is int and float in plain)]
    return " or ".join(rules)
