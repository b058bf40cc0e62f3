"""`--force_yml`: options of a file that the command line changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.options.blocks import known_options
from vqcnir_arch.options.from_checkpoint import FROM, Place, is_network


def apply_forced(options: dict[str, Any], entries: Sequence[str]) -> tuple[set[Place], list[str]]:
    """Set options from entries `section:key=value`; the values are read as YAML.

    An option must be in the file, but for `from` of a network and for those of a block whose `type` an entry changes.
    Of such a block, what stands in the file and the new type does not have falls away.

    Args:
        options: the content of the file, which is changed.
        entries: as on the command line, in any order.

    Returns:
        The places that were set, and one line for each block that lost options.

    Raises:
        UserError: an entry cannot be read, or names what is not there.
    """
    values = {parsed(entry): entry for entry in entries}
    retyped = {p[:-1]: block["type"] for p in values if p[-1] == "type" and "type" in (block := at(options, p[:-1]))}
    for place, entry in values.items():
        set_option(options, place, entry, place[:-1] in retyped or (place[-1] == FROM and is_network(place[:-1])))
    notes = []
    for place, before in retyped.items():
        block, known = at(options, place), known_options(place, at(options, place))
        if known is None or block["type"] == before:
            continue
        lost = [name for name in block if name not in known and (*place, name) not in values]
        for name in lost:
            del block[name]
        if lost:
            where = ": ".join(place)
            notes.append(f"{where}: {block['type']} in place of {before}, which alone had {', '.join(lost)}: left out")
    return set(values), notes


def parsed(entry: str) -> Place:
    """Return the place that an entry names."""
    place, equals, _ = entry.partition("=")
    if not equals:
        raise UserError(f"--force_yml '{entry}': expected section:key=value")
    return tuple(place.strip().split(":"))


def at(options: dict[str, Any], place: Place) -> dict[str, Any]:
    """Return the block at a place; an empty one where there is none."""
    block: Any = options
    for key in place:
        block = block.get(key) if isinstance(block, dict) else None
    return block if isinstance(block, dict) else {}


def set_option(options: dict[str, Any], place: Place, entry: str, may_be_new: bool) -> None:
    """Set the option at a place to an entry's value."""
    *sections, last = place
    block = options
    for key in sections:
        if not isinstance(block.get(key), dict):
            raise UserError(f"--force_yml '{entry}': there is no section '{key}'{nearest(key, block)}")
        block = block[key]
    if last not in block and not may_be_new:
        raise UserError(f"--force_yml '{entry}': there is no option '{last}' in the file{nearest(last, block)}")
    value = entry.partition("=")[2]
    try:
        block[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: as of the date 2026-02-30
        raise UserError(f"--force_yml '{entry}': '{value}' is not YAML") from error
