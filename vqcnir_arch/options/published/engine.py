"""Applies a table of rules to a published option file."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.options.published.rules import (
    By,
    Gone,
    Means,
    PartOf,
    Place,
    Rule,
    Same,
    Source,
    Stage,
    To,
    known_values,
    shown,
    split,
    text,
)

SAME, BECAME, GONE, ADDED = "as it was", "became", "no counterpart", "ours to choose"
HEADINGS = (SAME, BECAME, GONE, ADDED)


@dataclass
class Translation:
    """An option file of ours, and what was done for it.

    Attributes:
        options: its content.
        lines: by heading, one for each key.
    """

    options: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=lambda: {heading: [] for heading in HEADINGS})


def translate(source: Source, stage: Stage) -> Translation:
    """Translate a published option file.

    Raises:
        UserError: one line for each key without a rule, with the nearest known, and each value that has no counterpart.
    """
    engine = Engine(source, stage)
    engine.visit(source, ())
    if engine.findings:
        raise UserError("\n".join(engine.findings))
    for place, (value, why) in stage.added.items():
        if Source(engine.found.options).at(place, engine) is engine:
            engine.put(place, value)
            engine.found.lines[ADDED].append(f"{place}: {shown(value)}: {why}")
    options = engine.found.options
    engine.found.options = {key: type_first(value) for key, value in options.items()}
    return engine.found


def type_first(value: Any) -> Any:
    """Return a block with its type, and those in it, at the head, where readers look for it."""
    if not isinstance(value, dict):
        return value
    keys = [key for key in ("name", "type") if key in value] + [key for key in value if key not in ("name", "type")]
    return {key: type_first(value[key]) for key in keys}


class Engine:
    """Applies a stage's rules to every key of a file."""

    def __init__(self, source: Source, stage: Stage) -> None:
        self.source, self.stage = source, stage
        self.rules = {split(place): rule for place, rule in stage.rules.items()}
        self.found = Translation()
        self.findings: list[str] = []
        self.givers: dict[str, str] = {}

    def visit(self, block: Mapping[str, Any], place: Place) -> None:
        """Apply the rules to every key of a block; findings take what none fits."""
        for key, value in block.items():
            here = (*place, str(key))
            pattern = next((rule for rule in self.rules if matches(rule, here)), None)
            if pattern is not None:
                try:
                    self.apply(self.rules[pattern], pattern, here, value)
                except UserError as error:
                    self.findings.append(f"{text(here)}: {error}")
                except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # a rule met another kind
                    self.findings.append(
                        f"{text(here)}: {shown(value)} is not of the kind that the published files have"
                    )
            elif self.keys_below(here) and (value is None or isinstance(value, dict)):
                self.visit(value or {}, here)
            else:
                hint = nearest(here[-1], self.keys_below(place), "")
                self.findings.append(f"{text(here)}: no option of {self.stage.title} that is known here{hint}")

    def keys_below(self, place: Place) -> set[str]:
        """Return the keys that the rules know right below a place."""
        depth = len(place)
        return {rule[depth] for rule in self.rules if len(rule) > depth and matches(rule[:depth], place)}

    def apply(self, rule: Rule, pattern: Place, here: Place, value: Any) -> None:
        """Do what a rule says of a value, and write it down."""
        lines, old = self.found.lines, f"{text(here)}: {shown(value)}"
        reason = getattr(rule, "why", "")
        reason = reason(value) if callable(reason) else reason
        why = f" ({reason})" if reason else ""
        if value is None and isinstance(rule, By | PartOf):
            lines[GONE].append(f"{old}: it is not set")
            return
        match rule:
            case Same():
                self.put(text(here), value, text(here))
                lines[SAME].append(old)
                return
            case Gone():
                if rule.only is not None and value not in rule.only:
                    raise UserError(f"{shown(value)} has no counterpart, only {known_values(rule.only)}: {rule.why}")
                lines[GONE].append(f"{old}: {rule.why}")
                return
            case PartOf():
                rule.check(value, self.source, here)
                lines[BECAME].append(f"{old} -> part of {rule.place}")
                return
            case To():
                sets: Mapping[str, Any] = {filled(rule.place, pattern, here): rule.value(value)}
            case By():
                found = rule.function(value, self.source, here)
                sets = {} if found is None else found
                if found == {}:
                    lines[GONE].append(f"{old}: {rule.gone}")
                    return
            case Means():
                known = [published for published, _ in rule.values]
                if value not in known:
                    raise UserError(
                        f"{shown(value)} is not known here: {known_values(known)}{closest_of(value, known)}{why}"
                    )
                sets = {
                    filled(place, pattern, here): ours for place, ours in rule.values[known.index(value)][1].items()
                }
        for place, ours in sets.items():
            self.put(place, ours, text(here))
        if sets == {text(here): value} and not why:
            lines[SAME].append(old)
            return
        new = ", ".join(f"{place}: {shown(ours)}" for place, ours in sets.items()) or "always so here"
        lines[BECAME].append(f"{old} -> {new}{why}")

    def put(self, place: str, value: Any, giver: str = "") -> None:
        """Set an option of ours; two keys may not say different things about it."""
        *sections, last = split(place)
        block = self.found.options
        for key in sections:
            block = block.setdefault(key, {})
        if last in block and block[last] != value:
            raise UserError(f"gives {place}: {shown(value)}, but {self.givers[place]} gave {shown(block[last])}")
        block[last] = value
        self.givers[place] = giver


def matches(pattern: Place, place: Place) -> bool:
    """Tell whether a place is one that a pattern means."""
    return len(pattern) == len(place) and all(map(fnmatch.fnmatchcase, place, pattern))


def filled(place: str, pattern: Place, here: Place) -> str:
    """Return a place of ours with the keys that stood where the pattern has stars."""
    keys = list(split(place))
    for i, key in enumerate(keys):
        if "*" in key:
            keys[i] = here[i]
    return text(tuple(keys))


def closest_of(value: Any, known: list[Any]) -> str:
    """Return the hint for a name that may be misspelt."""
    return nearest(value, known, "") if isinstance(value, str) and len(known) > 1 else ""
