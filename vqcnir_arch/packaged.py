"""The networks that come with this library, by name."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from vqcnir_arch.errors import UserError, closest
from vqcnir_arch.hub import hub_file, is_hub_name

DEFAULT = "vqcnir-s"
"""The network that restores where no checkpoint is named."""
NAMES = (DEFAULT,)
FOLDER = Path(str(resources.files("vqcnir_arch") / "weights"))


def packaged_file(name: str) -> Path:
    """Return the file of a packaged network, or raise `UserError` where this installation lacks it."""
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise UserError(
            f"the weights of '{name}' are missing from this installation (no file '{path}'): install vqcnir again, or "
            "name a checkpoint"
        )
    return path


def named_path(given: str | os.PathLike[str]) -> Path:
    """Return what names a checkpoint as a path: an existing file first, then a packaged name, then `hf:user/repo`.

    Raises:
        UserError: a packaged name is misspelt, or its file or that of the Hub is missing.
    """
    path, name = Path(given).expanduser(), os.fspath(given)
    if name in NAMES and not path.is_file():  # a folder of results may have that name
        return packaged_file(name)
    if is_hub_name(name) and not path.exists():
        return hub_file(name)
    if path.name == name and not path.suffix and not path.exists() and (meant := closest(name.lower(), NAMES)):
        raise UserError(
            f"checkpoint '{name}' is neither a file nor a network of this library (did you mean '{meant}'?)"
        )
    return path
