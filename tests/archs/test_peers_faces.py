"""CodeFormer against spandrel's own, written by others (extra `[peers]`; restrictive licence: a test alone)."""

from __future__ import annotations

import warnings

import pytest
import torch
from golden_fill import golden_blocky_input, golden_state_dict

from vqcnir_arch.archs import CodeFormer

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    peers = pytest.importorskip("spandrel_extra_arches", reason="the extra [peers] is not installed")


def test_same_image():
    """With w 0.5 and AdaIN; the peer's network works on images in [-1, 1]."""
    net = CodeFormer(w=0.5).eval()
    state = golden_state_dict(net)
    net.load_state_dict(dict(state))
    peer = peers.EXTRA_REGISTRY.load(dict(state))
    assert peer.architecture.id == "CodeFormer"
    x = golden_blocky_input(7, (1, 3, 512, 512))
    with torch.no_grad():
        ours, theirs = net(x), (peer.model(2 * x - 1, weight=0.5)[0] + 1) / 2
    assert (ours - theirs).abs().max() < 2e-4 * ours.std()
