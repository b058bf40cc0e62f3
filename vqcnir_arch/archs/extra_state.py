"""The options that our own checkpoints carry, in the tensor `_extra_state`."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.errors import UserError

EXTRA_STATE = "_extra_state"


def encode_options(arch: str, options: dict[str, Any]) -> Tensor:
    """Pack an arch name and its constructor's options into a uint8 tensor of JSON.

    A tensor survives BasicSR's save (which calls `.cpu()` on every value) and strict load. A buffer would not do:
    DDP broadcasts buffers.
    """
    text = json.dumps({"arch": arch, "options": options}, sort_keys=True)
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def decode_options(packed: Tensor) -> tuple[str, dict[str, Any]]:
    """Undo `encode_options`: return the arch name and its options.

    Who casts or interpolates all tensors of files does it to this one as well: what is near whole numbers is read.
    """
    try:
        numbers = packed.double()
        if not ((numbers - numbers.round()).abs() < 0.25).all():
            raise ValueError("its numbers are no bytes, as of networks of different options that were mixed")
        content = json.loads(bytes(numbers.round().long().tolist()).decode())
        return content["arch"], dict(content["options"])
    except (ValueError, TypeError, LookupError, RuntimeError) as error:
        raise UserError(
            f"its '{EXTRA_STATE}' is not what this library writes ({error}): where tensors were cast to 8 bits or "
            "added up, take this one from the original file"
        ) from error
