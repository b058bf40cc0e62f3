"""Which files `vqcnir restore` reads and where their results go."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.names import PHOTO_FORMATS
from vqcnir_arch.restoration.results import is_result
from vqcnir_arch.restoration.video import VIDEO_ENDINGS, is_video

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


def find_tasks(
    inputs: Sequence[str], out: Path | None = None, suffix: str | None = None, ending: str | None = None
) -> tuple[list[Task], set[Path]]:
    """List the photographs and videos behind file names, folders and glob patterns.

    Files that are results are no tasks, whatever their names.

    Args:
        inputs: files, folders (read with all folders below them) or patterns such as `night/**/*.jpg`.
        out: folder of the results; what stands below a folder keeps its place in it. None: each beside its source.
        suffix: added to the names of the results; default: `_restored` beside their sources, else nothing.
        ending: of the resulting photographs, such as `.png`; None keeps each file's own.

    Returns:
        The tasks, and the results of earlier runs among the inputs.

    Raises:
        UserError: an input does not exist, is no file or holds no image, or two results would be the same file, or a
            result its own source, or beside its source a file that is no result.
    """
    tasks: dict[Path, Task] = {}
    results: set[Path] = set()
    if suffix is None:
        suffix = BESIDE_SUFFIX if out is None else ""
    for given in inputs:
        for path, place in expand(given):
            if is_result(path):
                results.add(path)
                continue
            kept = ending is None or is_video(path)
            place = path if out is None else out / place
            own = BESIDE_ENDING.get(place.suffix.lower(), place.suffix) if out is None else place.suffix
            target = place.with_name(f"{place.stem}{suffix}{own if kept else ending}")
            if target in tasks and tasks[target].source != path:
                raise UserError(f"'{tasks[target].source}' and '{path}' would both be written to '{target}'")
            if target.resolve() == path.resolve():
                raise UserError(f"'{path}' would be overwritten by its result: choose another --out or a --suffix")
            if out is None and target.exists() and not is_result(target):
                raise UserError(f"'{target}' is no result of vqcnir and stays as it is: choose an --out or a --suffix")
            tasks[target] = Task(path, target)
    return list(tasks.values()), results


def expand(given: str) -> list[tuple[Path, Path]]:
    """Return (path, place below the folder of the results) of what one argument means."""
    path = Path(given).expanduser()
    try:
        there = path.exists()
    except OSError as error:  # a name that is too long
        raise UserError(f"'{given}' cannot be read: {error.strerror}") from error
    if path.is_dir():
        found = images_among(sorted(path.rglob("*")))
        if not found:
            raise UserError(f"folder '{path}' has no images or videos (looked for {', '.join(endings())} below it)")
        return [(file, file.relative_to(path)) for file in found]
    if path.is_file():
        return [(path, Path(path.name))]  # a file that is named is tried, whatever its ending
    if there:
        raise UserError(f"'{given}' is neither a file nor a folder")
    if glob.has_magic(str(path)):
        first = first_magic(path)
        fixed, pattern = Path(*path.parts[:first]), str(Path(*path.parts[first:]))
        try:
            found = images_among(sorted(fixed.glob(pattern)))  # unlike glob.glob it goes through no loop of links
        except ValueError as error:
            raise UserError(f"pattern '{given}' cannot be used: {error}") from error
        if not found:
            raise UserError(f"no image or video matches '{given}'")
        return [(file, file.relative_to(fixed)) for file in found]
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(f"'{given}' does not exist{nearest(path.name, beside) if len(beside) < 200 else ''}")


def first_magic(path: Path) -> int:
    """Return the position of the first part of a pattern that has a wildcard."""
    return next(i for i, part in enumerate(path.parts) if glob.has_magic(part))


def endings() -> tuple[str, ...]:
    """Return the endings that are looked for in folders."""
    return (*PHOTO_FORMATS, *VIDEO_ENDINGS)


def images_among(paths: Iterable[Path]) -> list[Path]:
    """Return the visible files with the ending of an image or video."""
    return [p for p in paths if p.suffix.lower() in endings() and not p.name.startswith(".") and p.is_file()]
