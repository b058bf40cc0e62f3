"""What a table can say of the keys of a published option file; `engine.py` does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Place = tuple[str, ...]
"""The way to an option; in tables written as users read it, `train: optim_g: lr`."""


class Source(dict[str, Any]):
    """A published option file's content, read by place."""

    def at(self, place: str | Place, default: Any = None) -> Any:
        """Return what stands at a place, `default` where nothing does."""
        value: Any = self
        for key in split(place):
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return value


@dataclass(frozen=True)
class Same:
    """The key has the same place and meaning here."""


@dataclass(frozen=True)
class To:
    """The key stands at another place, or with another value; a star in `place` is what stood there.

    Args:
        place: here.
        value: of ours by the published one's; default: the same.
        why: what a reader would ask; a function of the value where it depends on that.
    """

    place: str
    value: Callable[[Any], Any] = lambda value: value
    why: str | Callable[[Any], str] = ""


@dataclass(frozen=True)
class Means:
    """The key has few values, each of which sets options here, or none: then every network of ours is so."""

    values: tuple[tuple[Any, Mapping[str, Any]], ...]
    why: str = ""


@dataclass(frozen=True)
class By:
    """A function of value, whole file and place gives our options by their places.

    It gives an empty mapping where there is no counterpart, for the reason `gone`, None where every network of ours is
    so, and raises `UserError` for what cannot be translated. `here` says for readers what it sets.
    """

    function: Callable[[Any, Source, Place], Mapping[str, Any] | None]
    here: str
    why: str = ""
    gone: str = ""


@dataclass(frozen=True)
class PartOf:
    """The key is decided by another one of ours; `check` raises `UserError` for a value that this cannot express."""

    place: str
    check: Callable[[Any, Source, Place], None] = lambda *_: None


@dataclass(frozen=True)
class Gone:
    """There is no counterpart; values other than those of `only`, if it is given, cannot be left out."""

    why: str
    only: tuple[Any, ...] | None = None


Rule = Same | To | Means | By | PartOf | Gone


@dataclass(frozen=True)
class Stage:
    """One kind of option file of a project.

    Attributes:
        title: what it trains.
        ours: our own option file for that.
        when: accepted values by the places that tell this stage from the project's others.
        rules: by place; a star stands for any key, `val*` for keys that begin so; what stands below
            a place is the rule's, too.
        added: our options that no key gives, with the reason.
    """

    title: str
    ours: str
    when: Mapping[str, tuple[Any, ...]]
    rules: Mapping[str, Rule]
    added: Mapping[str, tuple[Any, str]] = field(default_factory=dict)

    def fits(self, source: Source) -> bool:
        return all(source.at(place) in values for place, values in self.when.items())


def split(place: str | Place) -> Place:
    """Return a place as keys."""
    return tuple(place.split(": ")) if isinstance(place, str) else place


def text(place: Place) -> str:
    """Return a place as users read it."""
    return ": ".join(place)


def shown(value: Any) -> str:
    """Return a value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).removesuffix("\n...\n").strip()


def known_values(values: Any) -> str:
    """Return the values that are known, as YAML."""
    return " or ".join(shown(value) for value in values)
