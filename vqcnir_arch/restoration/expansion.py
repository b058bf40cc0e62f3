"""What an argument of `vqcnir restore` means: a file, a folder with all that is below it, or a glob pattern."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import NamedTuple

from vqcnir_arch.errors import UserError, closest, nearest
from vqcnir_arch.folders import cannot_be_read, named_by_ending, visible_files
from vqcnir_arch.names import PHOTO_ENDINGS
from vqcnir_arch.restoration.video import VIDEO_ENDINGS

MOST_LISTED = 20
"""In a folder of more files an unknown name gets the nearest one alone, not all."""


class Expanded(NamedTuple):
    """What one argument means: the folder that it begins at, the files in it, and folders that cannot be read."""

    root: Path
    files: list[Path]
    problems: list[str]


def expand(given: str) -> Expanded:
    """Return what one argument means; a path that exists is never taken for a pattern.

    Raises:
        UserError: there is nothing behind it, or no photograph or video.
    """
    if not given:
        raise UserError("an input is '' (a variable that is not set?)")
    path = Path(os.path.expanduser(given))
    try:
        there = path.exists()
    except OSError as error:  # a name that is too long
        raise UserError(f"'{given}' cannot be read: {error.strerror}") from error
    if path.is_dir():
        problems: list[str] = []
        files = sorted(visible_files(path, lambda error: problems.append(cannot_be_read(error))))
        return with_images(Expanded(path, files, problems), f"folder '{path}' has no images or videos")
    if path.is_file():
        return Expanded(path, [path], [])  # a file that is named is tried, whatever its ending
    if there:
        raise UserError(f"'{given}' is neither a file nor a folder")
    if path.is_symlink():
        raise UserError(f"'{given}' is a link to '{os.readlink(path)}', which does not exist")
    fixed, pattern = split_at_wildcard(path)
    if pattern and fixed.is_dir():
        return with_images(matches(fixed, pattern, given), f"no image or video matches '{given}'{hint(fixed, pattern)}")
    missing = next(part for part in (*reversed(path.parents), path) if not part.exists())
    beside = names_in(missing.parent)
    raise UserError(
        f"'{given}' does not exist{nearest(missing.name, beside, '' if len(beside) > MOST_LISTED else None)}"
    )


def split_at_wildcard(path: Path) -> tuple[Path, str]:
    """Return the folder before the first part of a path that has a wildcard and does not exist, and the rest."""
    fixed = Path(path.anchor)
    parts = path.parts[1:] if path.anchor else path.parts
    for number, part in enumerate(parts):
        if glob.has_magic(part) and not (fixed / part).exists():
            return fixed, str(Path(*parts[number:]))
        fixed /= part
    return fixed, ""


def matches(fixed: Path, pattern: str, given: str) -> Expanded:
    """Return the visible files that match a pattern; unlike `glob.glob`, `**` goes through no links."""
    try:
        found = sorted(fixed.glob(pattern))
    except ValueError as error:
        raise UserError(f"pattern '{given}' cannot be used: {error}") from error
    shown = [path for path in found if not any(part.startswith(".") for part in path.relative_to(fixed).parts)]
    files = [path for path in shown if not path.is_dir()]
    if shown and not files:
        raise UserError(f"'{given}' matches folders alone: name them, or what is in them ('{given}/*')")
    return Expanded(fixed, files, [])


def hint(fixed: Path, pattern: str) -> str:
    """Return what may be wrong with a pattern that nothing matches."""
    if "[" not in pattern:
        return ""
    meant = closest(Path(pattern).parts[0], names_in(fixed))
    return f" (did you mean '{meant}'?)" if meant else ": [ab] stands for a or b, and [[] for [ itself"


def names_in(folder: Path) -> list[str]:
    """Return what a folder holds; nothing where it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def with_images(expanded: Expanded, otherwise: str) -> Expanded:
    """Return what was found if a photograph or video is among it, or raise `UserError`."""
    if any(map(is_readable, expanded.files)):
        return expanded
    others = "; ".join([*expanded.problems, *named_by_ending(expanded.files)])
    raise UserError(f"{otherwise}{f', only {others}' if others else ''} (looked for {', '.join(endings())})")


def endings() -> tuple[str, ...]:
    """Return the endings that are looked for in folders."""
    return (*PHOTO_ENDINGS, *VIDEO_ENDINGS)


def is_readable(path: Path) -> bool:
    """Whether a path is a file with the ending of a photograph or video."""
    return path.suffix.lower() in endings() and path.is_file()
