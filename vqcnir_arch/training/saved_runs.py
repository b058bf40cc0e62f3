"""Checkpoint files: written whole or not at all, found again, and thrown away when they are too many.

The checkpoint of iteration N is `training_states/N.state` and all `models/net_*_N.pth` (or `.safetensors`, by `logger:
checkpoint_format`); the state is written last and removed first, so that a state means that its networks are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from vqcnir_arch.atomic_files import atomic_write
from vqcnir_arch.errors import UserError
from vqcnir_arch.safetensors_files import network_file, network_files
from vqcnir_arch.tensor_files import load_file, read_training_state


def write_whole(path: Path, content: Any) -> None:
    """`torch.save` of a file that is whole or not there; same errors as `atomic_write`."""
    with atomic_write(path) as file:
        torch.save(content, file)


def below(root: Path, name: str) -> Path:
    """Return a path from the option file, which counts from the root folder or else from the current one."""
    path = Path(name).expanduser()
    return root / path if (root / path).exists() else path


def iterations(states: Path) -> list[int]:
    """Return the iterations that have a state in a folder, the newest first."""
    return sorted((int(path.stem) for path in states.glob("*.state") if path.stem.isdigit()), reverse=True)


def read_checkpoint(state_path: Path, models: Path, labels: Iterable[str]) -> dict[str, Any]:
    """Read a state and make sure that its networks can be read.

    Args:
        state_path: the state.
        models: folder of the networks.
        labels: networks that it needs where it does not say so itself (`net_g`, ...).

    Raises:
        UserError: a file of the checkpoint is missing or broken; the message names it.
    """
    state = read_training_state(state_path)
    for label in state.get("vqcnir", {}).get("networks", labels):
        load_file(network_file(models, label, state["iter"]), "network")
    return state


def newest_checkpoint(
    states: Path, models: Path, labels: Sequence[str]
) -> tuple[Path | None, dict[str, Any] | None, list[str]]:
    """Find the newest checkpoint that is whole.

    Returns:
        Its path and content, both None where there is no state at all, and one line for each that was skipped.

    Raises:
        UserError: there are states, but none that can be used.
    """
    skipped: list[str] = []
    for iteration in iterations(states):
        path = states / f"{iteration}.state"
        try:
            return path, read_checkpoint(path, models, labels), skipped
        except UserError as error:
            skipped.append(f"Checkpoint of iteration {iteration} is skipped: {error}")
    if skipped:
        raise UserError("\n".join([*skipped, f"no checkpoint in '{states}' can be used: train without --auto_resume"]))
    return None, None, skipped


def remove_old(states: Path, models: Path, keep: int, newest: int) -> None:
    """Keep the newest checkpoints up to iteration `newest` and remove the older ones."""
    for iteration in [n for n in iterations(states) if n <= newest][keep:]:
        (states / f"{iteration}.state").unlink(missing_ok=True)
        for path in network_files(models, iteration):
            path.unlink(missing_ok=True)
