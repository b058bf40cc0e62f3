"""Checkpoints as safetensors, which know no dictionaries in each other: how several stand in one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from vqcnir_arch.names import SAFETENSORS

BOTH = ("params", "params_ema")
ENDINGS = (".pth", SAFETENSORS)
"""Of a training's networks."""


def packed(content: Mapping[str, Mapping[str, Tensor]], metadata: dict[str, str]) -> bytes:
    """Return a file that holds the networks of a checkpoint.

    Args:
        content: `params` alone, whose tensors keep their names, as every reader expects; or with `params_ema`: then
            `params.` and `params_ema.` stand before the names.
        metadata: of the file's header.
    """
    [first, *others] = content
    tensors = {f"{key}.{name}": t for key in content for name, t in content[key].items()} if others else content[first]
    # copies, as the format refuses tensors that share their memory
    return save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, metadata)


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor] | dict[str, dict[str, Tensor]]:
    """Undo `packed`; the tensors of any other file stay as they are."""
    if {name.partition(".")[0] for name in tensors} != set(BOTH):
        return tensors
    return {key: {n.removeprefix(f"{key}."): t for n, t in tensors.items() if n.startswith(f"{key}.")} for key in BOTH}


def network_file(models: Path, label: str, iteration: int | str) -> Path:
    """Return the file of a network (`net_g`, ...) in the format that is there; `.pth` where there is none."""
    paths = [models / f"{label}_{iteration}{ending}" for ending in ENDINGS]
    return next((path for path in paths if path.is_file()), paths[0])


def network_files(models: Path, iteration: int | str) -> list[Path]:
    """Return the files of all networks of an iteration."""
    return sorted(path for ending in ENDINGS for path in models.glob(f"net_*_{iteration}{ending}"))
