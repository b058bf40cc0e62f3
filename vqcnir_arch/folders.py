"""Files below a folder: the one place where folders are walked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vqcnir_arch.errors import UserError

SYSTEM = {"$RECYCLE.BIN", "System Volume Information", "Thumbs.db", "desktop.ini", "lost+found", "__MACOSX", "@eaDir"}
"""What systems and their archivers put into folders of pictures, thumbnails among it; nobody's own files."""
MOST_NAMES = 20
"""So many files of one ending are named, the others counted."""


def cannot_be_read(error: OSError) -> str:
    """Return the line that names a folder which cannot be listed."""
    return f"folder '{error.filename}' cannot be read: {error.strerror}"


def refuse(error: OSError) -> None:
    """Raise `UserError` for such a folder."""
    raise UserError(cannot_be_read(error)) from error


def visible_files(folder: Path, on_error: Callable[[OSError], None] = refuse) -> Iterator[Path]:
    """Yield the files in a folder and in all folders below it, without what is hidden or `SYSTEM`; in no order.

    Links to folders are followed, but not back into a folder that they are reached from: a loop is gone through once.

    Args:
        folder: where to begin; hidden or not.
        on_error: called for a folder that cannot be listed, before its neighbours follow.

    Yields:
        Everything that is no folder: files, but also broken links and pipes.

    Raises:
        UserError: a folder cannot be listed (the default `on_error`).
    """
    waiting = [(str(folder), (os.path.realpath(folder),))]
    while waiting:
        place, ancestors = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError as error:
            on_error(error)
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in SYSTEM:
                continue
            is_link = entry.is_symlink()
            # unlike `entry.is_dir()`, `isdir` takes a link to itself for none
            if not (os.path.isdir(entry) if is_link else entry.is_dir()):
                yield Path(entry.path)
                continue
            real = os.path.realpath(entry) if is_link else os.path.join(ancestors[-1], entry.name)
            if not any(is_inside(ancestor, real) for ancestor in ancestors):
                waiting.append((entry.path, (*ancestors, real)))


def is_inside(path: str, folder: str) -> bool:
    """Say whether a path is a folder or lies below it; both without links."""
    return path == folder or path.startswith(os.path.join(folder, ""))


def named_by_ending(paths: Iterable[Path]) -> list[str]:
    """Name and count files by their ending: `2 files ending in .heic (a.HEIC, b.heic)`."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        kind = f"ending in {path.suffix.lower()}" if path.suffix else "without an ending"
        if not path.is_file():
            kind = "that cannot be opened, a broken link or a pipe"
        groups.setdefault(kind, []).append(str(path))
    return [
        f"{len(names)} file{'s' if len(names) > 1 else ''} {kind} ({', '.join(names[:MOST_NAMES])}"
        f"{f' and {len(names) - MOST_NAMES} more' if len(names) > MOST_NAMES else ''})"
        for kind, names in sorted(groups.items())
    ]
