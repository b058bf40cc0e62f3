"""Which files `vqcnir restore` reads and where their results go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from vqcnir_arch.errors import UserError
from vqcnir_arch.folders import named_by_ending
from vqcnir_arch.restoration.expansion import expand, is_readable
from vqcnir_arch.restoration.photos import written_ending
from vqcnir_arch.restoration.results import is_result
from vqcnir_arch.restoration.video import is_video, result_ending

BESIDE_SUFFIX = "_restored"
"""Added to the names of results that are written beside their inputs."""
BESIDE_ENDING = {".bmp": ".png"}
"""Formats that cannot say that a file is a result, and what is written instead."""


class Task(NamedTuple):
    """A file to restore and the file to write."""

    source: Path
    target: Path

    @property
    def is_video(self) -> bool:
        return is_video(self.source)

    @property
    def comparison(self) -> Path:
        """Where the input beside the result goes."""
        return self.target.with_name(f"{self.target.stem}_compare{self.target.suffix if self.is_video else '.png'}")

    def outputs(self, compare: bool) -> list[Path]:
        """Return all files that are written."""
        return [self.comparison, self.target] if compare else [self.target]


@dataclass
class Found:
    """What stands behind the inputs of a command.

    Attributes:
        tasks: what is to be restored.
        results: of earlier runs, by their metadata or since they are in the folder of the results.
        left: files in the folders and patterns that are neither photographs nor videos.
        problems: why an input, or a folder in it, cannot be used.
    """

    tasks: list[Task] = field(default_factory=list)
    results: set[Path] = field(default_factory=set)
    left: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Return a line for each kind of file that is left."""
        return [f"not taken: {text}" for text in named_by_ending(self.left)]


def find_tasks(
    inputs: Sequence[str],
    out: Path | None = None,
    suffix: str | None = None,
    ending: str | None = None,
    compare: bool = False,
) -> Found:
    """List the photographs and videos behind file names, folders and glob patterns.

    Files that are results are no tasks, whatever their names, nor is anything in the folder of the results when that
    lies in a folder that is given. A file that is given twice is one task.

    Args:
        inputs: files, folders (read with all folders below them) or patterns such as `night/**/*.jpg`.
        out: folder of the results; what stands below a folder keeps its place in it. None: each beside its source.
        suffix: added to the names of the results; default: `_restored` beside their sources, else nothing.
        ending: of the resulting photographs, such as `.png`; None keeps each file's own.
        compare: whether comparisons are written, too.

    Raises:
        UserError: no input can be used, or two files would be written to one name, or one to a source, or beside its
            source to a file that is no result.
    """
    found = Found()
    if suffix is None:
        suffix = BESIDE_SUFFIX if out is None else ""
    results = None if out is None else real(out)
    given_before: set[Path] = set()
    for given in inputs:
        try:
            root, files, problems = expand(given)
        except UserError as error:
            found.problems.append(str(error))
            continue
        found.problems += problems
        is_named = files == [root]
        begins_outside = results is not None and not is_named and not real(root).is_relative_to(results)
        here = set()
        for path in files:
            place = real(path.parent) / path.name
            here.add(place)
            if place in given_before:
                continue
            if results is not None and begins_outside and place.is_relative_to(results):
                found.results.add(path)
            elif not (is_named or is_readable(path)):
                found.left.append(path)
            elif is_result(path):
                found.results.add(path)
            else:
                within = Path(path.name) if is_named else path.relative_to(root)
                kept = result_ending(path) if is_video(path) else ending
                found.tasks.append(Task(path, target_of(path, within, out, suffix, kept)))
        given_before |= here
    if found.problems and not (found.tasks or found.results):
        raise UserError("\n".join(found.problems))
    found.tasks = with_outputs_of_their_own(found.tasks, out is None, compare)
    return found


def target_of(source: Path, within: Path, out: Path | None, suffix: str, ending: str | None) -> Path:
    """Return where the result of a file goes that stands at `within` below what is given."""
    place = source if out is None else out / within
    own = written_ending(place)
    own = BESIDE_ENDING.get(own.lower(), own) if out is None else own
    return place.with_name(f"{place.stem}{suffix}{own if ending is None else ending}")


def with_outputs_of_their_own(tasks: Sequence[Task], beside: bool, compare: bool) -> list[Task]:
    """Return the tasks, each file once; raise `UserError` where one would write what is not its own."""
    owners: dict[Path, Task] = {}
    sources = {real(task.source): task.source for task in tasks}
    kept = []
    for task in tasks:
        source = real(task.source)
        for output in task.outputs(compare):
            place = real(output)
            owner = owners.setdefault(place, task)
            if owner is not task and real(owner.source) == source:  # through a link to its folder
                break
            if owner is not task:
                raise UserError(
                    f"'{owner.source}' and '{task.source}' would both be written to '{output}': restore them into two "
                    "folders (--out)"
                )
            if place in sources:
                whose = "its result" if place == source else f"a result of '{task.source}'"
                raise UserError(
                    f"'{sources[place]}' would be overwritten by {whose}: choose another --out or a --suffix"
                )
            if beside and os.path.lexists(output) and not is_result(output):
                raise UserError(f"'{output}' is no result of vqcnir and stays as it is: choose an --out or a --suffix")
        else:
            kept.append(task)
    return kept


def real(path: Path) -> Path:
    """Return a path without links; unlike `resolve`, it takes links that lead to themselves."""
    return Path(os.path.realpath(path))
