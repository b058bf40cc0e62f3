"""FeMaSR and AdaCode against spandrel's own, written by others (extra `[peers]`; restrictive licences: tests alone)."""

from __future__ import annotations

import warnings

import pytest
import torch
from golden_fill import golden_state_dict
from timm.models.swin_transformer import SwinTransformerBlock

from vqcnir_arch.archs import AdaCode, FeMaSR
from vqcnir_arch.archs.padding import pad_bottom_right

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    peers = pytest.importorskip("spandrel_extra_arches", reason="the extra [peers] is not installed")

CASES = [(FeMaSR, {"scale": 2}), (FeMaSR, {"scale": 4}), (AdaCode, {"scale": 2})]


def published_state(net):
    """Random weights under their published names, with the buffers that a published file has."""
    state = golden_state_dict(net)
    block = SwinTransformerBlock(
        256, (32, 32), num_heads=8, window_size=8, shift_size=4, always_partition=True, dynamic_mask=False
    )
    for name in [n for n in state if n.endswith("relative_position_bias_table")]:
        place = name.removesuffix(".attn.relative_position_bias_table")
        state[f"{place}.attn.relative_position_index"] = block.attn.relative_position_index.clone()
        if int(place.rsplit(".", 1)[1]) % 2:
            state[f"{place}.attn_mask"] = block.attn_mask.clone()
    if isinstance(net, AdaCode):
        state["contrast_cri.temperature"] = torch.tensor(0.5)
        state["contrast_cri.negatives_mask"] = (~torch.eye(16, dtype=torch.bool)).float()
    return state


@pytest.mark.parametrize(("network", "options"), CASES, ids=lambda case: getattr(case, "__name__", str(case)))
def test_same_images(network, options):
    net = network(**options).eval()
    state = published_state(net)
    net.load_state_dict(dict(state))
    peer = peers.EXTRA_REGISTRY.load(dict(state))
    assert (peer.architecture.id, peer.scale) == (network.__name__, net.scale)
    x = torch.rand(1, 3, 21, 33, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = net(x)
        # padded by our rule, which is not the peer's; a multiple of what the windows need in a net of any scale
        theirs = peer.model.eval()(pad_bottom_right(x, net.size_multiple))[..., : ours.shape[2], : ours.shape[3]]
    assert ours.shape == (1, 3, 21 * net.scale, 33 * net.scale)
    different = ((ours - theirs).abs() > 1e-3 * ours.std()).double().mean().item()
    assert different == 0
