"""What the data sets share: the loader's options, and image files found, paired and read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from torch import Tensor

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.folders import named_by_ending, visible_files

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".bmp", ".tif", ".tiff", ".webp")


class LoaderOptions(BaseModel):
    """Keys that BasicSR itself reads from, or writes into, the block of every data set."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field("", description="name of the data set in logs and results")
    type: str = Field("", description="class of the data set")
    phase: Literal["train", "val", "test"] = Field("test", description="set by BasicSR from the block's key")
    scale: PositiveInt = Field(1, description="size of the output over size of the input, set by BasicSR")
    num_worker_per_gpu: NonNegativeInt | None = Field(None, description="loader processes per GPU (training)")
    batch_size_per_gpu: PositiveInt | None = Field(None, description="samples per batch and GPU (training)")
    dataset_enlarge_ratio: PositiveInt = Field(1, description="how often each image comes in one epoch (training)")
    prefetch_mode: Literal["cpu", "cuda"] | None = Field(
        None, description="load the next batch ahead; cuda needs a GPU"
    )
    num_prefetch_queue: PositiveInt = Field(1, description="batches ahead, for prefetch_mode cpu")
    pin_memory: bool = Field(False, description="page-locked memory, for copies to a GPU")
    persistent_workers: bool = Field(False, description="keep the loader processes between epochs")
    use_shuffle: bool = Field(True, description="in every option file of BasicSR, which shuffles in training anyway")


Options = TypeVar("Options", bound=BaseModel)


def parse_options(schema: type[Options], opt: Mapping[str, Any], what: str) -> Options:
    """Return the options of a data set, or other settings of a user, as their model.

    Args:
        schema: the model.
        opt: the block of the option file.
        what: name of the whole for the error.

    Raises:
        UserError: an unknown option, with the nearest right name, or a value that does not fit.
    """
    for key in opt:
        if key not in schema.model_fields:
            raise UserError(f"{what} has no option '{key}'{nearest(key, schema.model_fields)}")
    try:
        return schema.model_validate(dict(opt))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ": ".join(map(str, problem["loc"]))
        if problem["type"] == "missing":
            raise UserError(f"{what}: {place} is missing") from error
        raise UserError(f"{what}: {place}: {problem['msg'].lower()}, got {problem['input']!r}") from error


def existing_folder(path: Path, what: str) -> Path:
    """Return `path` if it is a folder, or raise `UserError` that names the nearest folder beside it."""
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{what} '{path}' is a file, expected a folder")
    beside = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
    raise UserError(f"{what} '{path}' does not exist{nearest(path.name, beside)}")


def find_images(
    folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS, others: list[Path] | None = None
) -> dict[str, Path]:
    """Find the images (or files with other `endings`) in a folder and all folders below it, see `visible_files`.

    Args:
        folder: where to look.
        endings: of the files, in small letters.
        others: filled with the files that have another ending.

    Returns:
        Path of each image by its name: the path relative to `folder` with `/` and without ending. Sorted by name,
        since the order of a file system differs between machines.

    Raises:
        UserError: there is no image, two of them differ only in their ending, or a folder cannot be read.
    """
    found: dict[str, Path] = {}
    rest = []
    for path in sorted(visible_files(folder)):
        if path.suffix.lower() not in endings:
            rest.append(path)
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise UserError(f"'{found[name]}' and '{path}' differ only in their ending: remove one")
        found[name] = path
    if not found:
        only = f", only {'; '.join(named_by_ending(rest))}" if rest else ""
        raise UserError(f"folder '{folder}' has no images{only} (looked for {', '.join(endings)} in all its folders)")
    if others is not None:
        others += rest
    return dict(sorted(found.items()))


def check_pairs(inputs: Mapping[str, Path], truths: Mapping[str, Path], what: str, kind: str = "input") -> None:
    """Raise `UserError` unless both sides, by name as from `find_images`, have the same names; `kind` is the left's."""
    lacks = []
    for missing, partner in ((inputs.keys() - truths.keys(), "ground truth"), (truths.keys() - inputs.keys(), kind)):
        if missing:
            first = ", ".join(sorted(missing)[:3]) + (", ..." if len(missing) > 3 else "")
            lacks.append(f"{len(missing)} without {partner} ({first})")
    if lacks:
        raise UserError(
            f"{what}: {len(inputs)} {kind}s and {len(truths)} ground truths do not pair: {'; '.join(lacks)}"
        )


def read_image(path: Path) -> np.ndarray:
    """Read an image file, see `decode_image`.

    Raises:
        UserError: the file is missing or not a readable image.
    """
    return decode_image(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Return the content of an image file, or raise `UserError` that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"image '{path}' cannot be read: {error.strerror}") from error


def decode_image(content: bytes, path: Path | str) -> np.ndarray:
    """Decode an image file's content to [H, W, 3] BGR, uint8.

    Grey is repeated, alpha dropped, 16 bit cut to 8, CMYK converted, and the image turned as its EXIF entry says.

    Args:
        content: of the file.
        path: its name in the error.

    Raises:
        UserError: it is no image, or a truncated one.
    """
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error:
        image = None
    if image is None or is_cut_jpeg(content):
        problem = "truncated or not an image" if content else "empty"
        raise UserError(f"image '{path}' cannot be read: {problem} ({len(content):,} bytes)")
    return image


def is_cut_jpeg(content: bytes) -> bool:
    """Say whether a JPEG ends before its end-of-image marker; OpenCV before 5.0 fills what is missing with grey.

    The marker can't occur in the compressed data itself, but in the header, where cameras put thumbnails.
    """
    if not content.startswith(b"\xff\xd8"):
        return False
    place = 2
    while content[place : place + 1] == b"\xff" and content[place + 1] != 0xDA:  # segments until the start of scan
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return content.find(b"\xff\xd9", place) < 0


def is_jpeg(content: bytes) -> bool:
    """Return whether a file's content is a JPEG image, whatever its name says."""
    return content.startswith(b"\xff\xd8\xff")


def encode_png(rgb: np.ndarray) -> bytes:
    """Return [H, W, 3] RGB uint8 as the content of a PNG file."""
    _, content = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return content.tobytes()


def size(image: np.ndarray) -> str:
    """Return `width x height` of [H, W, 3]."""
    return f"{image.shape[1]} x {image.shape[0]}"


def to_tensor(image: np.ndarray) -> Tensor:
    """Turn [H, W, 3] BGR uint8 into [3, H, W] RGB float32 in [0, 1]."""
    rgb = image[..., ::-1].transpose(2, 0, 1).astype(np.float32) / 255
    return torch.from_numpy(np.ascontiguousarray(rgb))


def to_image(tensor: Tensor) -> np.ndarray:
    """Turn [3, H, W] RGB into [H, W, 3] BGR uint8: clamped to [0, 1], times 255, rounded."""
    rgb = (tensor.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    return np.ascontiguousarray(rgb.transpose(1, 2, 0)[..., ::-1])


def log_once_built(line: str) -> None:
    """Write to BasicSR's log without setting it up: its first user decides the log file, and that is the pipeline."""
    logging.getLogger("basicsr").info(line)
