"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vqcnir_arch.errors import UserError

TEMPORARY = ".{}.saving"


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing so that at any moment either the old one or the new one is there, also after a power cut.

    Raises:
        UserError: the file cannot be written; what was there before is untouched.
    """
    temporary = path.with_name(TEMPORARY.format(path.name))
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError | RuntimeError):
            raise UserError(f"'{path}' cannot be saved: {reason(error)}") from error
        raise


def write_file(path: Path, content: bytes) -> None:
    """Write a file, and its folders, so that it is whole or not there; errors as of `atomic_write`."""
    make_folder(path.parent)
    with atomic_write(path) as file:
        file.write(content)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, or raise `UserError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder '{path}' cannot be made: {reason(error)}") from error


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable; without effect on Windows, which opens no folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(*folders: Path) -> None:
    """Remove the unfinished files of a process that was killed while it wrote."""
    for folder in folders:
        for path in folder.glob(TEMPORARY.format("*")):
            path.unlink(missing_ok=True)


def reason(error: BaseException | None) -> str:
    """Say why a write failed; torch's own RuntimeError hides the system's error in its chain."""
    first = error
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__ or error.__context__
    return str(first).splitlines()[0] if str(first) else type(first).__name__
