"""What the data sets share: the loader's options, and image files found, paired and read."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
from basicsr.utils import img2tensor
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from torch import Tensor

from vqcnir_arch.errors import UserError, nearest

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


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


Options = TypeVar("Options", bound=LoaderOptions)


def parse_options(schema: type[Options], opt: Mapping[str, Any], what: str) -> Options:
    """Return the options of a data set as its model.

    Args:
        schema: the model.
        opt: the block of the option file.
        what: name of the data set for the error.

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


def find_images(folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> dict[str, Path]:
    """Find the images (or files with other `endings`) in a folder and all folders below it; not the hidden ones.

    Returns:
        Path of each image by its name: the path relative to `folder` with `/` and without ending. Sorted by name,
        since the order of a file system differs between machines.

    Raises:
        UserError: there is no image, or two of them differ only in their ending.
    """
    found: dict[str, Path] = {}
    for parent, _, files in os.walk(folder, followlinks=True):
        for file in files:
            stem, ending = os.path.splitext(file)
            if ending.lower() not in endings or file.startswith("."):
                continue
            path = Path(parent, file)
            name = path.relative_to(folder).with_name(stem).as_posix()
            if name in found:
                raise UserError(f"'{found[name]}' and '{path}' differ only in their ending: remove one")
            found[name] = path
    if not found:
        raise UserError(f"folder '{folder}' has no images (looked for {', '.join(endings)} in all its folders)")
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
    """Read an image as [H, W, 3] BGR, uint8; grey is repeated, alpha dropped, 16 bit cut to 8.

    Raises:
        UserError: the file is missing or not a readable image.
    """
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        reason = error.strerror if isinstance(error, OSError) else "not an image"
        raise UserError(f"image '{path}' cannot be read: {reason}") from error
    if image is None:
        raise UserError(f"image '{path}' cannot be read: truncated or not an image ({path.stat().st_size:,} bytes)")
    return image


def size(image: np.ndarray) -> str:
    """Return `width x height` of [H, W, 3]."""
    return f"{image.shape[1]} x {image.shape[0]}"


def to_tensor(image: np.ndarray) -> Tensor:
    """Turn [H, W, 3] BGR uint8 into [3, H, W] RGB float32 in [0, 1]."""
    return img2tensor(image.astype(np.float32) / 255)


def log_once_built(line: str) -> None:
    """Write to BasicSR's log without setting it up: its first user decides the log file, and that is the pipeline."""
    logging.getLogger("basicsr").info(line)
