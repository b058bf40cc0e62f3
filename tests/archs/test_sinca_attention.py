"""SinCA's attention against equations (3) and (4) written out, and its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from vqcnir_arch.archs import (
    SinCAAttention,
)
from vqcnir_arch.archs.quantizers.attention import CodebookCrossAttention, FeatureSelfAttention
from vqcnir_arch.errors import UserError

B, N, K, D = 3, 10, 14, 16


def printed_sinca(attention, features, codebook, sees=("X", "C"), per_head=True):
    """Equations (3) and (4) written out in float64, image by image and head by head, then `project`.

    Returns O [B, N, d] and A [B, heads, N, N+K]; columns of a part that is not in `sees` are masked before the softmax.
    """
    w_q, w_k, w_v, w_o = (
        getattr(attention, name).weight.detach().double().T for name in ("query", "key", "value", "project")
    )
    features, codebook = features.double(), codebook.double()
    width = w_q.shape[0] // attention.num_heads
    outputs, maps = [], []
    for x in features:
        q = x @ w_q
        k = torch.cat((x @ w_k, codebook @ w_k))
        v = torch.cat((x @ w_v, codebook @ w_v))
        heads, head_maps = [], []
        for h in range(attention.num_heads):
            part = slice(h * width, (h + 1) * width)
            logits = q[:, part] @ k[:, part].T / (width if per_head else w_q.shape[0]) ** 0.5
            if "X" not in sees:
                logits[:, : len(x)] = -torch.inf
            if "C" not in sees:
                logits[:, len(x) :] = -torch.inf
            a = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
            heads.append(a @ v[:, part])
            head_maps.append(a)
        outputs.append(torch.cat(heads, dim=1) @ w_o)
        maps.append(torch.stack(head_maps))
    return torch.stack(outputs), torch.stack(maps)


@pytest.fixture
def inputs():
    return torch.randn(B, N, D), torch.randn(K, D)


def test_one_head_is_the_printed_equation(inputs):
    attention = SinCAAttention(D, num_heads=1)
    torch.nn.init.eye_(attention.project.weight)
    expected, expected_map = printed_sinca(attention, *inputs, per_head=False)  # 1/√d, as eq. 4 prints
    output, weights = attention(*inputs, need_weights=True)
    assert (attention(*inputs) - expected).abs().max() < 1e-5
    assert (output - expected).abs().max() < 1e-5
    assert (weights - expected_map).abs().max() < 1e-5


@pytest.mark.parametrize("spread", [1, 8])
def test_eight_heads_per_head_then_project(inputs, spread):
    attention = SinCAAttention(D)
    assert attention.num_heads == 8
    features, codebook = inputs[0] * spread, inputs[1] * spread
    expected, expected_map = printed_sinca(attention, features, codebook)
    output, weights = attention(features, codebook, need_weights=True)
    assert weights.shape == (B, 8, N, N + K)
    tolerance = 1e-5 * spread
    assert (attention(features, codebook) - expected).abs().max() < tolerance
    assert (output - expected).abs().max() < tolerance
    assert (weights - expected_map).abs().max() < 1e-5


def test_layers_of_the_attention():
    attention = SinCAAttention(D, num_heads=4)
    shapes = {name: tuple(p.shape) for name, p in attention.named_parameters()}
    assert shapes == {f"{name}.weight": (D, D) for name in ("query", "key", "value", "project")}
    assert all(isinstance(layer, torch.nn.Linear) for layer in attention.children())
    with pytest.raises(UserError, match="num_heads 3 does not divide 16 channels"):
        SinCAAttention(D, num_heads=3)


@pytest.mark.parametrize("heads", [1, 8])
def test_rows_sum_to_one(inputs, heads):
    for attention, columns in (
        (SinCAAttention(D, heads), N + K),
        (CodebookCrossAttention(D, heads), K),
        (FeatureSelfAttention(D, heads), N),
    ):
        _, weights = attention(*inputs, need_weights=True)
        assert weights.shape == (B, heads, N, columns)
        assert torch.allclose(weights.sum(-1), torch.ones(B, heads, N), atol=1e-6)
        assert weights.min() >= 0


def test_order_of_the_codes_changes_nothing(inputs):
    attention, (features, codebook) = SinCAAttention(D), inputs
    order = torch.randperm(K)
    output, weights = attention(features, codebook, need_weights=True)
    permuted, permuted_weights = attention(features, codebook[order], need_weights=True)
    assert (permuted - output).abs().max() < 1e-6
    assert torch.allclose(permuted_weights[..., :N], weights[..., :N], atol=1e-6)
    assert torch.allclose(permuted_weights[..., N:], weights[..., N:][..., order], atol=1e-6)


@pytest.mark.parametrize(
    ("other", "sees"), [(FeatureSelfAttention, "X"), (CodebookCrossAttention, "C")], ids=["self", "cross"]
)
@pytest.mark.parametrize("heads", [1, 8])
def test_masking_a_part_leaves_the_other_attention(inputs, other, sees, heads):
    """SinCA's softmax over one part alone is self-attention, over the other cross-attention, with the same weights."""
    sinca, alone = SinCAAttention(D, heads), other(D, heads)
    alone.load_state_dict(sinca.state_dict())
    masked, masked_map = printed_sinca(sinca, *inputs, sees=sees)
    assert (alone(*inputs) - masked).abs().max() < 1e-5

    _, whole_map = sinca(*inputs, need_weights=True)
    kept = slice(0, N) if sees == "X" else slice(N, N + K)
    renormalised = whole_map[..., kept] / whole_map[..., kept].sum(-1, keepdim=True)
    assert (renormalised - masked_map[..., kept]).abs().max() < 1e-5
    assert not masked_map.double()[..., [i for i in range(N + K) if not kept.start <= i < kept.stop]].any()


def test_images_of_a_batch_do_not_see_each_other(inputs):
    attention, (features, codebook) = SinCAAttention(D), inputs
    single = torch.cat([attention(x[None], codebook) for x in features])
    assert torch.allclose(attention(features, codebook), single, atol=1e-6)


def test_codebook_is_projected_once_for_all_images(inputs):
    attention = SinCAAttention(D)
    rows = {"key": [], "value": []}
    for name, seen in rows.items():
        getattr(attention, name).register_forward_hook(lambda _, i, __, seen=seen: seen.append(tuple(i[0].shape)))
    attention(*inputs)
    assert rows == {name: [(B, N, D), (K, D)] for name in rows}


MEMORY = """
import re, sys, torch
from vqcnir_arch.archs import SinCA
torch.set_num_threads(1)
quantizer = SinCA(1024, 512, depth=1)
x = torch.randn(1, 512, 80, 140)  # 1120x640 at f8: 11,200 tokens
torch.set_grad_enabled(sys.argv[1] == "training")
quantizer(x[..., :4, :4])
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1000
before = peak()
output = quantizer(x)
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_memory_of_one_layer_at_1120x640(mode):
    """Feed-forward, fusion and, in training, what autograd keeps included, in MB; the map alone would be 4.4 GB."""
    result = subprocess.run([sys.executable, "-c", MEMORY, mode], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 50 < float(result.stdout) < 600
