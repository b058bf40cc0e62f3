"""The enhancers of VQCNIR's ablations against their definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from ablation_variants import ENHANCERS, bf16_error
from network_facts import count

from vqcnir_arch.archs.enhancers import NAFBlock, ResBlock
from vqcnir_arch.archs.swin import SwinBlock
from vqcnir_arch.errors import UserError


def test_resblock_is_edsrs():
    block, x = ResBlock(6), torch.randn(2, 6, 5, 7)
    conv1, conv2 = (m for m in block.modules() if isinstance(m, torch.nn.Conv2d))
    expected = x + F.conv2d(
        F.conv2d(x, conv1.weight, conv1.bias, padding=1).relu(), conv2.weight, conv2.bias, padding=1
    )
    assert torch.allclose(block(x), expected, atol=1e-6)
    assert count(block.parameters()) == 2 * (6 * 6 * 9 + 6)


def test_nafblock_against_its_definition():
    block, x = NAFBlock(6), torch.randn(2, 6, 5, 7)
    assert torch.equal(block(x), x)  # fresh: the identity
    for name, parameter in block.named_parameters():
        parameter.data.normal_(mean=1.0 if "norm" in name and "weight" in name else 0.0)

    def conv(name, u, **options):
        layer = getattr(block, name)
        return F.conv2d(u, layer.weight, layer.bias, **options)

    def norm(layer, u):
        mean, var = u.mean(1, keepdim=True), u.var(1, keepdim=True, unbiased=False)
        return (u - mean) / (var + 1e-6).sqrt() * layer.weight[:, None, None] + layer.bias[:, None, None]

    u = conv("depthwise", conv("expand1", norm(block.norm1, x)), padding=1, groups=12)
    u = u[:, :6] * u[:, 6:]
    u = u * conv("attention", u.mean((2, 3), keepdim=True))
    y = x + block.beta * conv("project1", u)
    u = conv("expand2", norm(block.norm2, y))
    expected = y + block.gamma * conv("project2", u[:, :6] * u[:, 6:])
    assert torch.allclose(block(x), expected, rtol=1e-4, atol=1e-3)


def influence(block, height, width, row, column):
    """Return the map of input positions that one output position depends on."""
    x = torch.randn(1, 8, height, width, requires_grad=True)
    block(x)[0, :, row, column].square().sum().backward()
    return x.grad[0].abs().sum(0) > 1e-9  # the mask is -100, and exp(-100) is not zero


def test_swinblock_attends_in_windows_and_in_shifted_ones():
    plain, shifted = SwinBlock(8, 0, num_heads=2, window=4), SwinBlock(8, 1, num_heads=2, window=4)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:4, 4:] = True
    assert torch.equal(influence(plain, 8, 8, 1, 6), expected)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:6, 2:6] = True
    assert torch.equal(influence(shifted, 8, 8, 3, 3), expected)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:2, :2] = True  # the corner's window wraps around; the mask keeps opposite edges apart
    assert torch.equal(influence(shifted, 8, 8, 0, 0), expected)


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (7, 6), (12, 5)], ids=str)
def test_swinblock_takes_any_size(size):
    for index in (0, 1):
        block, x = SwinBlock(8, index, num_heads=2, window=4), torch.randn(2, 8, *size)
        assert block(x).shape == x.shape
        # nothing wraps around: the first row never sees the last ones, more than a window away
        if size[0] > 8:
            assert not influence(block, *size, 0, 0)[8:].any()


def test_swinblocks_of_a_stack_shift_in_turn(make_tiny):
    net = make_tiny("VQCNIR", enhancer={"type": "SwinBlock", "depth": 3, "window": 4, "num_heads": 2})
    blocks = [enhancer.block for enhancer in net.enhancer]
    assert [block.shift_size for block in blocks] == [(0, 0), (2, 2), (0, 0)]
    assert all(type(block).__module__.startswith("timm.") for block in blocks)
    assert all(block.always_partition and block.dynamic_mask for block in blocks)
    assert "index" not in net.options["enhancer"]
    with pytest.raises(UserError, match="num_heads 3 does not divide 32"):
        make_tiny("VQCNIR", enhancer={"type": "SwinBlock", "num_heads": 3})


@pytest.mark.parametrize("name", [name for name in ENHANCERS if name != "none"])
def test_enhancer_in_bf16(make_tiny, name):
    assert bf16_error(make_tiny("VQCNIR", enhancer=ENHANCERS[name]).enhancer, torch.randn(1, 32, 6, 8)) < 0.02
