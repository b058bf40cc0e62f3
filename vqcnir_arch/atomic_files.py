"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vqcnir_arch.errors import UserError

SAVING = "saving"
"""Ending of a file that is not whole yet."""


def temporary_of(path: Path, kind: str = SAVING) -> Path:
    """Return where a file is kept until it is whole: beside it, by a short name, as its own may be the longest."""
    return path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.{kind}")


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing so that at any moment either the old one or the new one is there, also after a power cut.

    Raises:
        UserError: the file cannot be written; what was there before is untouched.
    """
    temporary = temporary_of(path)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        remove_if_possible(temporary)
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


def why_unwritable(path: Path) -> str | None:
    """Say why no file of this name can be written, before work is done for it; None where nothing is against it."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long
        return f"'{path}': {error.strerror}"
    folder = next(folder for folder in path.parents if folder.exists())
    if not os.access(folder, os.W_OK):  # which network file systems may say of a folder that takes files
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            return f"folder '{folder}': {error.strerror}"
    return None


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable, where its file system and permissions allow that; the file is whole already.

    Without effect on Windows, which opens no folders.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(*folders: Path) -> None:
    """Remove the unfinished files of a process that was killed while it wrote."""
    for folder in folders:
        for path in folder.glob(f".*.{SAVING}"):
            remove_if_possible(path)


def remove_if_possible(path: Path) -> None:
    """Remove an unfinished file; where that is refused, on a read-only disk, it is in nobody's way."""
    with suppress(OSError):
        path.unlink()


def reason(error: BaseException | None) -> str:
    """Say why a write failed; torch's own RuntimeError hides the system's error in its chain."""
    first = error
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__ or error.__context__
    return str(first).splitlines()[0] if str(first) else type(first).__name__
