"""The one reader of files with tensors: checkpoints and training states, or one clear error; no code in them runs."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.file_kinds import is_safetensors, not_tensors
from vqcnir_arch.names import PUBLISHED_WEIGHTS
from vqcnir_arch.packaged import named_path
from vqcnir_arch.safe_pickles import NotTensors, load_pickle
from vqcnir_arch.safetensors_files import network_file, unpacked
from vqcnir_arch.state_dicts import unwrapped

logger = logging.getLogger("basicsr")
ENDINGS = (".pth", ".safetensors", ".ckpt", ".pt", ".bin")


def existing_file(path: str | os.PathLike[str], what: str) -> Path:
    """Return `path` as an existing file, or raise `UserError` that names the nearest file in its folder.

    For what is called `checkpoint`, it says where the published ones are if no file has a name like it.
    """
    advice = f"; {PUBLISHED_WEIGHTS}" if what == "checkpoint" else ""
    if not os.fspath(path).strip():
        raise UserError(f"{what} '{path}': expected a file, got an empty name")
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"{what} '{path}' is a folder, expected a file{like_checkpoints(path) if advice else ''}")
    if path.exists():
        raise UserError(f"{what} '{path}' is a device or a pipe, expected a file")
    if path.is_symlink():
        raise UserError(f"{what} '{path}' is a link to '{os.readlink(path)}', which does not exist")
    if not path.parent.is_dir():
        raise UserError(f"{what} '{path}' does not exist: there is no folder '{path.parent}'{advice}")
    beside = (file.name for file in path.parent.iterdir())
    raise UserError(f"{what} '{path}' does not exist{nearest(path.name, beside, advice or None)}")


def like_checkpoints(folder: Path) -> str:
    """Return a proposal of the first file in a folder that is named like a checkpoint, if there is one."""
    files = sorted(file for file in folder.iterdir() if file.suffix in ENDINGS)
    return f" (did you mean '{files[0]}'?)" if files else ""


def checkpoint_file(given: str | os.PathLike[str]) -> Path:
    """Return the file that a path or the name of a packaged network means, or raise `UserError`."""
    return existing_file(named_path(given) if os.fspath(given) else given, "checkpoint")


def load_file(path: str | os.PathLike[str], what: str) -> Any:
    """Return what `torch.save` or safetensors wrote to a file, on the CPU; nothing in it is executed (`weights_only`).

    Which of the two it is, its first bytes say, not its name.

    Raises:
        UserError: the file is missing, truncated, or of another kind, which the message names; it calls it `what`.
    """
    path = existing_file(path, what)
    said = not_tensors(path)
    if said is not None:
        raise UserError(f"{what} '{path}' {said}")
    try:
        return unpacked(load_safetensors(path)) if is_safetensors(path) else load_pickle(path)
    except NotTensors as error:
        raise UserError(f"{what} '{path}' {error}") from error
    except Exception as error:  # torch's readers let IndexError, KeyError and others escape on broken files
        raise UserError(
            f"{what} '{path}' cannot be read, it is truncated or not a {what} ({path.stat().st_size:,} bytes): "
            f"{reason(error)}"
        ) from error


def reason(error: Exception) -> str:
    """Return an error's first line; its name alone where the line is advice of torch's, which may be to run it."""
    line = (str(error).splitlines() or [""])[0]
    return type(error).__name__ if not line or re.search(r"weights_only|torch\.|pytorch", line, re.I) else line


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


def refuse_training_state(content: Any, path: Path) -> None:
    """Raise `UserError` for what BasicSR saves to resume from: the network is another file."""
    if is_training_state(content):
        network = network_file(path.parent.parent / "models", "net_g", content["iter"])
        there = f"did you mean '{network}'?" if network.is_file() else f"the network is in models/{network.name}"
        raise UserError(f"checkpoint '{path}' holds a training state, from which a training goes on ({there})")


def read_state_dict(
    path: str | os.PathLike[str], param_key: str | None = None, key: str | None = None
) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, unwrapped and without the prefixes of DDP and torch.compile.

    Args:
        path: a file of torch.save or safetensors, of which nothing is executed (`weights_only`), or the name of a
            network that comes with this library, or `hf:user/repo`.
        param_key: which dictionary in the file to take; default: averaged weights (`params_ema` or another with `ema`
            in its name), `params`, `state_dict`, else the only one with tensors but an optimiser's or a
            discriminator's. A file that has not this one is read all the same.
        key: as of `unwrapped`; a file that has nothing there is refused.

    Raises:
        UserError: the file is missing, truncated, or not a checkpoint.
    """
    file = checkpoint_file(path)
    content = load_file(file, "checkpoint")
    refuse_training_state(content, file)
    tensors, wrapper = unwrapped(content, path, param_key, key)
    if param_key and wrapper != param_key and key is None:
        logger.info("%s has no '%s': '%s' is used", path, param_key, wrapper or "its root")
    return tensors
