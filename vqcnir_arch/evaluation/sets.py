"""Which of the papers' test sets a folder or a block of an option file is, and which pair of folders it compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.evaluation.papers import FolderPair, TestSet, paper_rows, sets_of
from vqcnir_arch.evaluation.protocols import Protocol

ROOTS = ("dataroot", "dataroot_gt", "dataroot_lq")
"""Options of a data set that name folders."""


def find_set(name: str, protocol: Protocol) -> str:
    """Return a test set's name, or raise `UserError` with the nearest one of the protocol."""
    known = sets_of(protocol)
    if name not in known:
        raise UserError(f"protocol {protocol.name} has no test set '{name}'{nearest(name, known)}")
    return name


def find_row(name: str, protocol: Protocol, sets: Sequence[str | None] = (None,)) -> str:
    """Return the name of a row that papers print for one of the test sets, as its label or its method.

    Raises:
        UserError: there is none for any of these sets; with the nearest one.
    """
    rows = [row for test_set in sets for row in paper_rows(protocol, test_set)]
    known = {row.label for row in rows} | {row.method for row in rows}
    if name not in known:
        named = [test_set for test_set in sets if test_set]
        where = f" for {', '.join(named)}" if named else f" for the test sets of protocol {protocol.name}"
        raise UserError(f"--row: no paper prints a row '{name}'{where}{nearest(name, known)}")
    return name


def sets_of_blocks(
    given: Sequence[str], blocks: Sequence[Mapping[str, Any]], scale: int, protocol: Protocol
) -> list[str | None]:
    """Return the test set of each data set's block: what `--set` names, in their order, or what their names say.

    Raises:
        UserError: `--set` names another number of sets, an unknown one or one of another scale; or a block's name and
            folders are of two.
    """
    if not given:
        return [_set_of_block(block, scale, protocol) for block in blocks]
    if len(given) != len(blocks):
        names = ", ".join(block["name"] for block in blocks)
        raise UserError(f"--set names {len(given)} test sets, the option file has {len(blocks)} data sets: {names}")
    for name in given:
        of_set = sets_of(protocol)[find_set(name, protocol)].scale
        if of_set != scale:
            raise UserError(f"--set: '{name}' is of scale {of_set}, the option file has scale: {scale}")
    return list(given)


def _set_of_block(block: Mapping[str, Any], scale: int, protocol: Protocol) -> str | None:
    roots = [root for key in ROOTS for root in _as_list(block.get(key))]
    words = [block["name"], *(part for root in roots for part in Path(root).parts)]
    found = [n for n, test_set in sets_of(protocol).items() if test_set.scale == scale and _is_called(test_set, words)]
    if len(found) > 1:
        raise UserError(
            f"data set '{block['name']}' may be {' or '.join(sorted(found))} by its name and folders: name it by --set"
        )
    return found[0] if found else None


def _is_called(test_set: TestSet, words: Iterable[str]) -> bool:
    """Whether one of the words is a name of the set, with the scale behind it or not."""
    names = {_plain(name) for name in test_set.names}
    names |= {f"{name}x{test_set.scale}" for name in names}
    return any(_plain(word) in names for word in words)


def _plain(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())


def _as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [] if value is None else [value]


def find_pair(
    given: Sequence[str | None] | None, protocol: Protocol, lq: Path | None = None, gt: Path | None = None
) -> FolderPair | None:
    """Return the pair of folders that a protocol's test set has several of, or None if it has one.

    Args:
        given: `--pair`: the names of the input's folder and of the ground truth's, None where one is not known; without
            it the paths say.
        protocol: whose test set it is.
        lq: path of the inputs, which holds the name; None: not known.
        gt: path of the ground truths.

    Raises:
        UserError: an unknown folder, with the nearest one, or the protocol's sets have one pair each.
    """
    inputs, truths = (
        {f for s in sets_of(protocol).values() for f in getattr(s, side)} for side in ("inputs", "truths")
    )
    if not inputs:
        if given:
            raise UserError(f"the test sets of protocol {protocol.name} have one pair of folders: leave --pair out")
        return None
    if given is None:
        return _name_in(lq, inputs), _name_in(gt, truths)
    for name, known, side in zip(given, (inputs, truths), ("input", "ground truth"), strict=True):
        if name is not None and name not in known:
            raise UserError(f"--pair: '{name}' is no folder of {side}s{nearest(name, known)}")
    return given[0], given[1]


def _name_in(path: Path | None, known: Iterable[str]) -> str | None:
    return next((part for part in reversed(path.parts) if part in known), None) if path is not None else None
