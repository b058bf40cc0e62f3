"""`vqcnir data lmdb`: put the images of a folder into one LMDB, with BasicSR's writer and nested keys.

`LmdbMaker` is used instead of `make_lmdb_from_imgs`, which stands beside it: the latter reads with `cv2.imread`, which
gives a truncated JPEG a grey rest, and forgets the turn that EXIF asks for. Here goes in what the loaders read.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import cv2
from basicsr.utils.lmdb_util import LmdbMaker
from tqdm import tqdm

from vqcnir_arch.arguments import named_path
from vqcnir_arch.data.files import read_image
from vqcnir_arch.data.headers import read_header
from vqcnir_arch.data.preparation import add_source, source_images, written_whole
from vqcnir_arch.data.storage import lmdb_path
from vqcnir_arch.errors import UserError

LONGEST_KEY = 511  # bytes, a limit of the database
COMPRESSION = 1  # what the meta file says of OpenCV's default, whose PNGs decode faster than those of any named level


def encode(path: Path) -> tuple[bytes, tuple[int, ...]]:
    """Return an image's pixels as PNG, and their shape."""
    image = read_image(path)
    return cv2.imencode(".png", image)[1].tobytes(), image.shape


def map_size(paths: Iterable[Path]) -> int:
    """Return more bytes than a database of these images can take (PNG is at worst as large as the pixels)."""
    headers = [read_header(path) for path in paths]
    return 2**24 + sum(int(3.3 * header.width * header.height) + 2**14 for header in headers)


def batches(images: dict[str, Path], length: int) -> Iterator[list[tuple[str, Path]]]:
    """Yield the items in pieces."""
    items = iter(images.items())
    while batch := list(islice(items, length)):
        yield batch


def write_lmdb(images: dict[str, Path], target: Path, workers: int, title: str = "") -> None:
    """Write one LMDB.

    Args:
        images: files by name, which becomes the key.
        target: its folder, which must end in `.lmdb`.
        workers: number of threads that decode and encode.
        title: of the progress bar.
    """
    for name in images:
        if not name.isascii() or len(name) > LONGEST_KEY:
            raise UserError(f"image '{images[name]}': an LMDB's keys are ASCII, up to {LONGEST_KEY} characters")
    maker = LmdbMaker(str(target), map_size=map_size(images.values()), compress_level=COMPRESSION)
    progress = tqdm(total=len(images), desc=title, unit="image")
    with contextlib.closing(maker), ThreadPoolExecutor(workers) as pool, progress:
        for batch in batches(images, 16 * workers):  # not all at once: they would pile up in memory
            for (name, _), (content, shape) in zip(batch, pool.map(encode, [p for _, p in batch]), strict=True):
                maker.put(content, name, shape)
                progress.update()


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="vqcnir data lmdb", description=__doc__.splitlines()[0], allow_abbrev=False)
    add_source(parser)
    parser.add_argument("--out", type=named_path, help="folder for NAME.lmdb (default: beside the folder of images)")
    given = parser.parse_args(arguments)
    found = source_images(given.folder, given.folders)
    with contextlib.ExitStack() as stack:
        places = {}
        for name in found:
            target = lmdb_path(given.folder.expanduser() / name)
            target = target if given.out is None else given.out / target.name
            places[target] = stack.enter_context(written_whole(target)), found[name]
        for target, (part, images) in places.items():
            write_lmdb(images, part, given.workers, target.name)
    for target, (_, images) in places.items():
        print(f"{len(images):,} images in {target}")
