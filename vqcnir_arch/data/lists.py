"""Lists of images, one path a line, as AdaCode's option files name them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vqcnir_arch.data.files import IMAGE_ENDINGS, read_image
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.tensor_files import existing_file

LIST_ENDING = ".txt"


class ListedImages:
    """The images that a list names, in its order. Their names are the paths below the folder that holds them all.

    Paths count from the current folder, as the published code opens them. Empty lines do not count.

    Args:
        file: the list.
        what: name of the list for the error.

    Raises:
        UserError: the list is missing, empty, names what is no image or does not exist, or names one image twice.
    """

    def __init__(self, file: Path, what: str) -> None:
        listed = read_lines(existing_file(file, what), what)
        check_exist(listed, f"{what} '{file}'")
        folder = Path(os.path.commonpath([path.parent for path in listed.values()]))
        self.paths: dict[str, Path] = {}
        for line, path in listed.items():
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in self.paths:
                raise UserError(
                    f"{what} '{file}', line {line}: '{path}' has the name of '{self.paths[name]}' before it"
                )
            self.paths[name] = path

    def read(self, name: str) -> np.ndarray:
        return read_image(self.paths[name])


def is_list(path: Path) -> bool:
    """Tell whether a path in the place of a folder of images is a list."""
    return path.suffix.lower() == LIST_ENDING and not path.is_dir()


def read_lines(file: Path, what: str) -> dict[int, Path]:
    """Return the images of a list as absolute paths, by the number of their line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what} '{file}' cannot be read as text") from error
    listed = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        path = Path(line.strip()).expanduser()
        if path.suffix.lower() not in IMAGE_ENDINGS:
            raise UserError(
                f"{what} '{file}', line {number}: expected the path of an image ({', '.join(IMAGE_ENDINGS)}), "
                f"got '{path}'"
            )
        listed[number] = Path(os.path.abspath(path))
    if not listed:
        raise UserError(f"{what} '{file}' is empty: expected one path a line")
    return listed


def check_exist(listed: dict[int, Path], what: str) -> None:
    """Raise `UserError` that counts the listed images that do not exist, and names the first and its nearest."""
    missing = [line for line, path in listed.items() if not path.is_file()]
    if not missing:
        return
    first = listed[missing[0]]
    beside = [entry.name for entry in first.parent.iterdir()] if first.parent.is_dir() else []
    raise UserError(
        f"{what}: {len(missing)} of {len(listed)} images do not exist, first line {missing[0]}: '{first}'"
        f"{nearest(first.name, beside, '')}; paths count from the current folder"
    )
