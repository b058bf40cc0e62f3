"""Published outputs and codes of the hosts: reading them and comparing with them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from golden_fill import golden_input


def load_golden(model: str) -> SimpleNamespace:
    """Return the stored outputs and codes of a published network and what is known about them."""
    path = GOLDEN / f"{model}.golden.npz"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    arrays = np.load(path)
    return SimpleNamespace(arrays=arrays, meta=json.loads(str(arrays["meta"])))


def check_case(net: torch.nn.Module, golden: SimpleNamespace, case: str, tolerance: float) -> None:
    """Compare image and codes with the stored ones; `tolerance` is a share of the image's standard deviation."""
    source, facts = golden.meta["cases"][case]["input"], golden.meta["tensors"][f"{case}/output"]
    net.padding = "published" if "_test_" in case else "exact"
    with torch.no_grad():
        image, codes = net(golden_input(source["seed"], source["shape"]), return_codes=True)
    assert list(image.shape) == facts["shape"]
    steps = tuple(slice(None, None, step) for step in facts["stride"] or [1])
    difference = image[steps] - torch.from_numpy(golden.arrays[f"{case}/output"])
    assert difference.abs().max().item() < tolerance * facts["std"]
    per_codebook = codes.per_codebook
    stored = [name for name in golden.arrays.files if name.startswith(f"{case}/indices.")]
    assert len(stored) == len(per_codebook)
    for k, chosen in enumerate(per_codebook):
        np.testing.assert_array_equal(chosen.indices.numpy(), golden.arrays[f"{case}/indices.{k}"][:, 0])
    # without codes of a ground truth the published codebook loss is 1.25 MSE(z_q, z), summed over the codebooks
    loss = golden.meta["cases"][case].get("codebook_loss") or golden.meta["cases"][case].get("losses", {}).get(
        "codebook_loss"
    )
    if loss:
        ours = sum(1.25 * (c.quantized - c.features).square().mean().item() for c in per_codebook)
        assert ours == pytest.approx(loss, rel=1e-5)
