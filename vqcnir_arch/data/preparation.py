"""What the commands that write prepared copies of a data set share: the sources, and results whole or not at all."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import lmdb

from vqcnir_arch.arguments import named_path, positive
from vqcnir_arch.data.files import check_pairs, existing_folder, find_images
from vqcnir_arch.errors import UserError


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name images."""
    parser.add_argument("folder", type=named_path, metavar="DIR", help="folder of images, nested to any depth")
    parser.add_argument(
        "--folders",
        nargs="+",
        default=[""],
        metavar="NAME",
        help="take these folders below DIR, whose images must pair: low_blur_noise high_sharp_scaled",
    )
    parser.add_argument("--workers", type=positive, default=os.cpu_count(), help="threads (default: one per core)")


def source_images(folder: Path, names: list[str]) -> dict[str, dict[str, Path]]:
    """Return the images of each of the folders `names` below `folder`, by the images' names.

    Raises:
        UserError: a folder is missing or empty, or they don't hold the same names.
    """
    found: dict[str, dict[str, Path]] = {}
    existing_folder(folder.expanduser(), "folder")
    for name in dict.fromkeys(names):
        place = existing_folder(folder.expanduser() / name, "folder")
        found[name] = find_images(place)
        if name != names[0]:
            check_pairs(found[names[0]], found[name], f"'{folder / names[0]}' and '{place}'")
    return found


@contextlib.contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Give the place, beside a new folder, where to write it; it gets its name when everything is written.

    An error or interruption removes what was written so far. A killed process leaves it under a hidden name, which no
    data set reads.

    Raises:
        UserError: the folder exists, an earlier run left its part, or it cannot be written (disk full, no permission).
    """
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    if target.exists():
        raise UserError(f"'{target}' exists already: remove it, or write elsewhere")
    if part.exists():
        raise UserError(f"'{part}' is from a run that was killed or is still at work: if none is, remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.rename(target)
    except (OSError, lmdb.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"'{target}' cannot be written: {reason}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
