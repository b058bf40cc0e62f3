"""The one reader of files with tensors: checkpoints and training states, or one clear error; no code in them runs."""

from __future__ import annotations

import logging
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.names import PUBLISHED_WEIGHTS, SAFETENSORS
from vqcnir_arch.packaged import named_path

WRAPPERS = ("params_ema", "params", "state_dict")
PREFIXES = ("module.", "_orig_mod.", "netG.", "net_g.")
LIGHTNING_CALLBACKS = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
)
"""Classes that Lightning 1.0 writes into a checkpoint as the keys of its callbacks' states (DAEFR's `.ckpt` files)."""
logger = logging.getLogger("basicsr")


class StandIn:
    """Empty class that stands for a name in a file; nothing of the named one is imported or run."""


def existing_file(path: str | os.PathLike[str], what: str) -> Path:
    """Return `path` as an existing file, or raise `UserError` that names the nearest file in its folder.

    For what is called `checkpoint`, it says where the published ones are if no file has a name like it.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"{what} '{path}' is a folder, expected a file")
    advice = f"; {PUBLISHED_WEIGHTS}" if what == "checkpoint" else ""
    if not path.parent.is_dir():
        raise UserError(f"{what} '{path}' does not exist: there is no folder '{path.parent}'{advice}")
    beside = (file.name for file in path.parent.iterdir())
    raise UserError(f"{what} '{path}' does not exist{nearest(path.name, beside, advice or None)}")


def checkpoint_file(given: str | os.PathLike[str]) -> Path:
    """Return the file that a path or the name of a packaged network means, or raise `UserError`."""
    return existing_file(named_path(given), "checkpoint")


def is_compressed(path: Path) -> bool:
    """Whether a file is a zip archive with compressed records, of which a few MB can fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist())
    except zipfile.BadZipFile:
        return False


def load_file(path: str | os.PathLike[str], what: str) -> Any:
    """Return what `torch.save` or safetensors wrote to a file, on the CPU; nothing in it is executed (`weights_only`).

    Raises:
        UserError: the file is missing, truncated, or of another kind; the message calls it `what`.
    """
    path = existing_file(path, what)
    if is_compressed(path):
        raise UserError(f"{what} '{path}' is a compressed archive, which torch.save never writes: it is not read")
    try:
        if path.suffix == SAFETENSORS:
            return load_safetensors(path)
        callbacks = [(StandIn, name) for name in LIGHTNING_CALLBACKS]
        with warnings.catch_warnings(), torch.serialization.safe_globals(callbacks):
            warnings.simplefilter("ignore")  # of what odd files hold; they are refused, or as good as others
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its message tells how to run the code in the file
        raise UserError(f"{what} '{path}' is not a file of tensors; anything else in it could run code") from error
    except Exception as error:  # torch's readers let IndexError, KeyError and others escape on broken files
        raise UserError(
            f"{what} '{path}' cannot be read, it is truncated or not a {what} ({path.stat().st_size:,} bytes): "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error


def is_training_state(content: Any) -> bool:
    """Tell whether the content of a file is what BasicSR saves to resume from."""
    return isinstance(content, dict) and {"epoch", "iter", "optimizers", "schedulers"} <= content.keys()


def read_training_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what BasicSR saved to resume from (`.state`); same errors as `load_file`."""
    state = load_file(path, "training state")
    if not is_training_state(state):
        raise UserError(
            f"training state '{path}' holds something else: epoch, iter, optimizers or schedulers is missing"
        )
    return state


def read_state_dict(path: str | os.PathLike[str], param_key: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, unwrapped and without the prefixes of DDP and torch.compile.

    Args:
        path: a `.pth`, `.pt`, `.ckpt` or `.safetensors` file, of which nothing is executed (`weights_only`), or the
            name of a network that comes with this library.
        param_key: which wrapper to take; default: the first of `params_ema`, `params`, `state_dict` that is there,
            else the file's root. A file that has only another of the three is read all the same.

    Raises:
        UserError: the file is missing, truncated, or not a checkpoint.
    """
    tensors, wrapper = unwrapped(load_file(checkpoint_file(path), "checkpoint"), path, param_key)
    if param_key and wrapper != param_key:
        logger.info("%s has no '%s': '%s' is used", path, param_key, wrapper or "its root")
    return tensors


def unwrapped(
    content: Any, path: str | os.PathLike[str], param_key: str | None = None
) -> tuple[dict[str, Tensor], str | None]:
    """Return the tensors in a file's content and the wrapper that they were in, if any; as `read_state_dict`."""
    if not isinstance(content, Mapping):
        raise UserError(f"checkpoint '{path}' holds a {type(content).__name__}, expected a dictionary of tensors")
    keys = [param_key, *WRAPPERS] if param_key else WRAPPERS
    wrapper = next((key for key in keys if isinstance(content.get(key), Mapping)), None)
    tensors = {
        k: v
        for k, v in (content[wrapper] if wrapper else content).items()
        if isinstance(k, str) and isinstance(v, Tensor)
    }
    if not tensors:
        raise UserError(f"checkpoint '{path}' holds no tensors (its keys: {', '.join(map(str, list(content)[:5]))})")
    return {strip_prefixes(name): tensor for name, tensor in tensors.items()}, wrapper


def strip_prefixes(name: str) -> str:
    """Remove what DDP and torch.compile put before a tensor's name."""
    while True:
        prefix = next((p for p in PREFIXES if name.startswith(p)), None)
        if prefix is None:
            return name
        name = name[len(prefix) :]
