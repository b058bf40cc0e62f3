"""Where a data set's images lie: in folders, in lists, or in LMDBs as BasicSR writes and reads them."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Literal, Protocol

import lmdb
import numpy as np
from basicsr.utils import FileClient
from pydantic import Field

from vqcnir_arch.data.crops import CropOptions
from vqcnir_arch.data.files import decode_image, existing_folder, find_images, read_image
from vqcnir_arch.data.lists import ListedImages, is_list
from vqcnir_arch.errors import UserError

META_LINE = re.compile(r"(?P<key>.+)\.png \(\d+,\d+,\d+\) \d+")


class StoredOptions(CropOptions):
    """Options of the data sets that read LMDBs, too."""

    io_backend: dict[Literal["type"], Literal["disk", "lmdb"]] = Field(
        {"type": "disk"},
        description="how images are read: {type: disk} from folders, {type: lmdb} from the LMDBs beside them, named "
        "after them, which `vqcnir data lmdb` makes",
    )


class Images(Protocol):
    """Images by name, the path below their folder without ending.

    Attributes:
        paths: what to call each image in logs and errors, by name, in sorted order.
    """

    paths: dict[str, Path]

    def read(self, name: str) -> np.ndarray:
        """Return [H, W, 3] BGR, uint8, or raise `UserError` for an image that can't be read."""
        ...


class FolderImages:
    """The images below a folder."""

    def __init__(self, folder: Path) -> None:
        self.paths = find_images(folder)

    def read(self, name: str) -> np.ndarray:
        return read_image(self.paths[name])


class LmdbImages:
    """The images in an LMDB of BasicSR's layout, whose keys are the names.

    It holds no open file, so that it can be sent to spawned loader workers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = {key: folder / f"{key}.png" for key in lmdb_keys(folder)}
        lmdb_client(folder)

    def read(self, name: str) -> np.ndarray:
        content = lmdb_client(self.folder).get(name)
        if content is None:
            raise UserError(f"'{self.folder}' has no image '{name}', though its meta_info.txt lists it: make it again")
        return decode_image(content, self.paths[name])


class JoinedImages:
    """Images of several folders; names have their folder's name before them.

    Args:
        sources: images by the name of their folder.
    """

    def __init__(self, sources: dict[str, Images]) -> None:
        self.sources = sources
        self.paths = {f"{root}/{name}": path for root, images in sources.items() for name, path in images.paths.items()}

    def read(self, name: str) -> np.ndarray:
        root, _, inner = name.partition("/")
        return self.sources[root].read(inner)


def lmdb_path(folder: Path) -> Path:
    """Return where the LMDB of a folder of images lies: beside it, with `.lmdb` after its name."""
    return folder.with_name(f"{folder.resolve().name}.lmdb")


def open_images(folder: Path, io_backend: dict[str, str], what: str) -> Images:
    """Open the images of a folder, of the LMDB beside it, or of a list (`.txt`).

    Args:
        folder: of the images, whether it is there or only its LMDB; or the list.
        io_backend: the option of that name.
        what: name of the folder for the error.

    Raises:
        UserError: it is missing, has no images or is broken.
    """
    is_lmdb = io_backend.get("type") == "lmdb"
    if is_list(folder):
        if is_lmdb:
            raise UserError(f"{what} '{folder}' is a list of files: it needs io_backend: {{type: disk}}")
        return ListedImages(folder, what)
    if not is_lmdb:
        return FolderImages(existing_folder(folder, what))
    path = lmdb_path(folder)
    if folder.is_dir() and not path.exists():
        raise UserError(f"{what} '{path}' does not exist: make it with: vqcnir data lmdb {folder}")
    return LmdbImages(existing_folder(path, what))


def open_all(dataroot: str | list[str], io_backend: dict[str, str], what: str) -> dict[str, tuple[Images, str]]:
    """Open the images of one folder or list or of several, each folder with all folders below it.

    Returns:
        By name, which has the folder's name before it if there are several: the images, and the name among them.

    Raises:
        UserError: a folder or list is missing or empty, or two images would have the same name; `what` begins the line.
    """
    roots = dataroot if isinstance(dataroot, list) else [dataroot]
    found: dict[str, tuple[Images, str]] = {}
    for root in roots:
        folder = Path(root).expanduser()
        images = open_images(folder, io_backend, f"{what}: dataroot")
        for inner, path in images.paths.items():
            name = inner if len(roots) == 1 else f"{folder.stem if is_list(folder) else folder.name}/{inner}"
            if name in found:
                others, other = found[name]
                raise UserError(f"{what}: '{others.paths[other]}' and '{path}' would have the same name '{name}'")
            found[name] = images, inner
    return found


def find_photos(dataroot: str | list[str], what: str) -> dict[str, Path]:
    """Return the file of each image of one folder or of several; names and errors as of `open_all`."""
    return {name: images.paths[inner] for name, (images, inner) in open_all(dataroot, {"type": "disk"}, what).items()}


def lmdb_keys(folder: Path) -> list[str]:
    """Read the keys of an LMDB, sorted, from the meta_info.txt that BasicSR keeps beside it."""
    meta = folder / "meta_info.txt"
    try:
        lines = meta.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{folder}' is no LMDB of BasicSR's layout: meta_info.txt cannot be read") from error
    found = [META_LINE.fullmatch(line) for line in lines]
    if not found or None in found:
        line = lines[found.index(None)] if found else ""
        raise UserError(f"'{meta}': expected lines like '0000/0030.png (640,1120,3) 1', got '{line}'")
    return sorted(match["key"] for match in found)


@functools.cache
def lmdb_client(folder: Path) -> FileClient:
    """Open an LMDB once per process: the library refuses a second time, also for a second data set.

    Raises:
        UserError: it is no LMDB, or not a whole one (reading past the end of its file would kill the process).
    """
    try:
        with lmdb.open(str(folder), readonly=True, lock=False, create=False) as database:
            entries, pages = database.stat()["entries"], database.info()["last_pgno"] + 1
            needed = pages * database.stat()["psize"]
    except lmdb.Error as error:
        raise UserError(f"LMDB '{folder}' cannot be opened: {error}") from error
    size, keys = (folder / "data.mdb").stat().st_size, len(lmdb_keys(folder))
    if size < needed:
        raise UserError(f"LMDB '{folder}' is truncated: data.mdb has {size:,} bytes, expected {needed:,}")
    if entries != keys:
        raise UserError(f"LMDB '{folder}' is not whole: {entries} images, but {keys} in meta_info.txt")
    return FileClient("lmdb", db_paths=str(folder))
