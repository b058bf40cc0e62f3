"""Check a mapping against a pydantic model: findings as lines that users understand, and what is left that fits."""

from __future__ import annotations

import copy
import inspect
import re
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from vqcnir_arch.errors import nearest
from vqcnir_arch.options.schema import Section

LONGEST_VALUE = 120  # characters of a wrong value that a finding shows


def mapping(value: Any) -> dict[str, Any]:
    """Return a section, or an empty one where it is missing, null, or no mapping (which is a finding of its own)."""
    return value if isinstance(value, dict) else {}


def check_section(
    findings: list[str], schema: type[BaseModel], values: Any, where: str, allow_unknown: bool = False
) -> dict[str, Any]:
    """Check values against a pydantic model.

    Args:
        findings: takes one line for each problem.
        schema: what may stand there.
        values: what stands there.
        where: the place, as users read it (`train: optim_g (Adam)`).
        allow_unknown: whether unknown keys of sections are somebody else's.

    Returns:
        The values in their order, with numbers read (`1e-4` is a string in YAML); if some do not fit, the others as
        they are.
    """
    if not isinstance(values, dict):
        findings.append(f"{where + ': ' if where else ''}expected a mapping, got {shown(values)}")
        return {}
    if not allow_unknown or not issubclass(schema, Section):
        findings += [f"{join(where, place)}{': ' if where or place else ''}unknown option '{key}'{nearest(key, known)}"
                     for place, key, known in unknown_keys(schema, values)]  # fmt: skip
    try:
        checked = in_order(values, validated(schema, values))
    except ValidationError as error:
        wrong: dict[tuple[Any, ...], list[str]] = {}  # an option of several types has a problem with each of them
        for problem in error.errors():
            if problem["type"] == "missing":
                findings.append(f"{join(where, *problem['loc'])} is missing")
            elif problem["type"] != "extra_forbidden":
                keys = existing_keys(values, problem["loc"])
                wrong.setdefault(keys, []).append(problem["msg"].lower())
        findings += [
            f"{join(where, *keys)}: {' or '.join(messages)}, got {shown(value_at(values, keys))}"
            for keys, messages in wrong.items()
        ]
        return without(values, wrong)
    findings += [f"{join(where, *keys)}: expected a number, got {value}" for keys, value in bools(values, checked)]
    return checked


def validated(schema: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Return what pydantic reads; `1e5`, a string in YAML, is a number where a whole one is expected, too."""
    try:
        return schema.model_validate(values).model_dump(exclude_unset=True)
    except ValidationError as error:
        places = [existing_keys(values, p["loc"]) for p in error.errors() if p["type"] == "int_parsing"]
        texts = {keys: str(value_at(values, keys)) for keys in places}
        powers = {keys: text for keys, text in texts.items() if re.fullmatch(r"\d+(\.\d*)?[eE][-+]?\d+", text)}
        if not powers:
            raise
    values = copy.deepcopy(values)
    for (*sections, key), text in powers.items():
        value_at(values, tuple(sections))[key] = float(text)
    return schema.model_validate(values).model_dump(exclude_unset=True)


def in_order(values: dict[str, Any], checked: dict[str, Any]) -> dict[str, Any]:
    """Return what was checked in the order of the file, where pydantic has its fields' order."""
    return {
        key: in_order(value, checked[key])
        if isinstance(value, dict) and isinstance(checked[key], dict)
        else checked[key]
        for key, value in values.items()
        if key in checked
    }


def unknown_keys(
    schema: type[BaseModel], values: dict[str, Any], where: str = ""
) -> Iterator[tuple[str, Any, list[str]]]:
    """Yield place, key and known keys of everything that a schema and the sections in it do not name."""
    known = [field.alias or name for name, field in schema.model_fields.items()]
    if issubclass(schema, Section) or schema.model_config.get("extra") == "forbid":
        more = getattr(schema, "more", r"(?!)")
        for key in values:
            if key not in known and not re.fullmatch(more, str(key)):
                yield where, key, known
    for name, field in schema.model_fields.items():
        for inner in (field.annotation, *typing.get_args(field.annotation)):
            if inspect.isclass(inner) and issubclass(inner, Section) and isinstance(values.get(name), dict):
                yield from unknown_keys(inner, values[name], join(where, name))


def bools(values: Any, checked: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], bool]]:
    """Yield way and value of every true or false that pydantic took for the number 1 or 0."""
    if isinstance(values, bool):
        if not isinstance(checked, bool):
            yield keys, values
    elif isinstance(values, dict) and isinstance(checked, dict):
        for key, value in values.items():
            yield from bools(value, checked.get(key, value), (*keys, key))
    elif isinstance(values, list | tuple) and isinstance(checked, list | tuple):
        for i, (value, read) in enumerate(zip(values, checked, strict=False)):
            yield from bools(value, read, (*keys, i))


def join(*keys: Any) -> str:
    """Return the way to an option as users read it: `train: optim_g: lr`."""
    return ": ".join(str(key) for key in keys if key != "")


def shown(value: Any) -> str:
    """Return a wrong value as a finding shows it."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + " ..."


def existing_keys(values: Any, location: tuple[Any, ...]) -> tuple[Any, ...]:
    """Follow pydantic's location of a problem as far as it names keys; behind them it names types."""
    keys: list[Any] = []
    for key in location:
        known = values if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
        if key not in known:
            break
        keys.append(key)
        values = values[key]
    return tuple(keys)


def value_at(values: Any, keys: tuple[Any, ...]) -> Any:
    """Return what stands at the end of a way of keys."""
    for key in keys:
        values = values[key]
    return values


def without(values: dict[str, Any], places: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Return a copy of `values` that lacks the innermost mapping's entry on the way to each wrong value."""
    entries = set()
    for keys in places:
        depths = [depth for depth in range(len(keys)) if isinstance(value_at(values, keys[:depth]), dict)]
        if depths:  # an entry of a list cannot be left out: the whole list is
            entries.add(keys[: depths[-1] + 1])
    values = copy.deepcopy(values)
    for keys in sorted(entries, key=len, reverse=True):
        value_at(values, keys[:-1]).pop(keys[-1])
    return values
