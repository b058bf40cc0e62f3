"""Signatures of classes and functions as schemas for the blocks that name them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model


def takes_any_option(target: Any) -> bool:
    """Tell whether a class or function has `**kwargs`, so that its options cannot be checked."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(target).parameters.values())


def signature_schema(target: Any, decided: tuple[str, ...], more: Mapping[str, type]) -> type[BaseModel]:
    """Turn the signature of a class or function into a pydantic model that refuses unknown keys.

    Args:
        target: what will be called with the options.
        decided: parameters that the caller fills in.
        more: options that the caller takes itself.

    A parameter without annotation takes the type of its default; `**kwargs` means that other keys are not checked.
    """
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # a third project's annotations may not resolve at run time
        hints = {}
    fields: dict[str, Any] = {name: (kind, None) for name, kind in more.items()}
    for name, parameter in inspect.signature(target).parameters.items():
        if name in decided or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        kind = hints.get(name, type_of_default(default))
        # pydantic refuses names that begin with an underscore or shadow its own: an alias carries the real one
        fields[f"option_{name}"] = (kind, Field(default, alias=name))
    config = ConfigDict(
        extra="allow" if takes_any_option(target) else "forbid", arbitrary_types_allowed=True, serialize_by_alias=True
    )
    return create_model(getattr(target, "__name__", "Options"), __config__=config, **fields)


def type_of_default(default: Any) -> Any:
    """Guess a parameter's type from its default value."""
    if isinstance(default, bool):
        return bool
    if isinstance(default, int | float):
        return int | float
    if isinstance(default, str):
        return str | None
    return Any
