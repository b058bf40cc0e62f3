"""The prior's codes of a data set's clean images, computed once for all epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.atomic_files import atomic_write, make_folder
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.tensor_files import load_file


def write_codes(path: Path, codes: dict[str, Tensor]) -> None:
    """Write the codes of images by name, [2, h, w]: of the image, and of its mirror image."""
    make_folder(path.parent)
    with atomic_write(path) as file:
        torch.save({"vqcnir_codes": codes}, file)


def read_codes(path: str, names: Sequence[str]) -> dict[str, Tensor]:
    """Read what `write_codes` wrote.

    Raises:
        UserError: the file is missing, of another kind, or lacks an image.
    """
    content: Any = load_file(path, "codes")
    if not isinstance(content, dict) or "vqcnir_codes" not in content:
        theirs = (
            ": CodeFormer's precomputed codes are laid out otherwise" if "latent_gt_code" in Path(path).name else ""
        )
        raise UserError(
            f"codes '{path}' is not a file of `vqcnir data codes`{theirs}; make it: "
            "vqcnir data codes FACES -w PRIOR -o FILE"
        )
    codes = content["vqcnir_codes"]
    missing = [name for name in names if name not in codes]
    if missing:
        raise UserError(f"codes '{path}' lack {len(missing)} of {len(names)} images, first '{missing[0]}'"
                        f"{nearest(missing[0], codes) if len(codes) < 10_000 else ''}")  # fmt: skip
    return codes
