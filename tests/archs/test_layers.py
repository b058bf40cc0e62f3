"""Single layers against an independent formula or torch's own operator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from vqcnir_arch.archs import DeformConv2d, NearestCode
from vqcnir_arch.archs.aiem import AIEM, IMAConv
from vqcnir_arch.archs.deform_conv import deform_conv2d_grid_sample
from vqcnir_arch.archs.layers import LayerNorm2d, Upsample, group_norm
from vqcnir_arch.archs.padding import crop_bottom_right, pad_bottom_right
from vqcnir_arch.errors import UserError

# --- deformable convolution ------------------------------------------------------------------------------------------


def deform_inputs(shape, groups, spread, dtype, out_channels=5):
    batch, channels, height, width = shape
    x = torch.randn(shape, dtype=dtype)
    offset = torch.randn(batch, groups * 18, height, width, dtype=dtype) * spread
    mask = torch.rand(batch, groups * 9, height, width, dtype=dtype)
    weight = torch.randn(out_channels, channels, 3, 3, dtype=dtype)
    bias = torch.randn(out_channels, dtype=dtype)
    return [tensor.requires_grad_() for tensor in (x, offset, mask, weight, bias)]


def torchvision_deform(x, offset, mask, weight, bias):
    return deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)


SHAPES = [(2, 4, 9, 7), (1, 8, 1, 6), (1, 4, 5, 1), (1, 4, 1, 1), (1, 4, 3, 2)]


@pytest.mark.parametrize("spread", [0.0, 0.4, 3.0, 30.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 2e-3)])
def test_grid_sample_path_is_the_deformable_convolution(shape, groups, spread, dtype, tolerance):
    if spread == 0:
        # integer positions: bilinear interpolation has a kink there and either one-sided gradient is right
        inputs = deform_inputs(shape, groups, spread, dtype)
        inputs[1] = (inputs[1].detach() + 0.25).requires_grad_()
    else:
        inputs = deform_inputs(shape, groups, spread, dtype)
    ours, reference = deform_conv2d_grid_sample(*inputs), torchvision_deform(*inputs)
    scale = max(1.0, reference.abs().max().item())
    assert (ours - reference).abs().max().item() < tolerance * scale

    upstream = torch.randn_like(reference)
    gradients = torch.autograd.grad(ours, inputs, upstream)
    expected = torch.autograd.grad(reference, inputs, upstream)
    for name, gradient, want in zip(("x", "offset", "mask", "weight", "bias"), gradients, expected, strict=True):
        scale = max(1.0, want.abs().max().item())
        assert (gradient - want).abs().max().item() < tolerance * scale, name


def test_offsets_far_outside_give_the_bias_alone():
    x, offset, mask, weight, bias = deform_inputs((1, 4, 6, 5), 2, 0.0, torch.float64)
    far = (offset + 1e4).detach()
    out = deform_conv2d_grid_sample(x, far, mask, weight, bias)
    assert torch.allclose(out, bias.view(1, -1, 1, 1).expand_as(out))


def test_deform_conv_module():
    layer = DeformConv2d(8, offset_groups=2)
    x, guide = torch.randn(1, 8, 6, 7), torch.randn(1, 8, 6, 7)
    # fresh: offsets 0 and mask 0.5, so half a plain convolution
    plain = 0.5 * F.conv2d(x, layer.weight, padding=1)
    assert torch.allclose(layer(x, guide), plain, atol=1e-5)

    torch.nn.init.normal_(layer.conv_offset.weight)
    torch.nn.init.normal_(layer.bias)
    prediction = layer.conv_offset(guide)
    offset, mask = prediction[:, :36], prediction[:, 36:].sigmoid()
    reference = torchvision_deform(x, offset, mask, layer.weight, layer.bias)
    assert (layer(x, guide) - reference).abs().max() < 1e-4
    assert (reference - plain).abs().max() > 0.1


# --- norms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [1e-4, 1e-3, 1.0])
def test_layer_norm(spread):
    layer = LayerNorm2d(16).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = 0.3 + spread * torch.randn(2, 16, 5, 3, dtype=torch.float64)
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)

    def formula(eps):
        normal = (x - mean) / (variance + eps).sqrt()
        return normal * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)

    assert (layer(x) - formula(1e-6)).abs().max() < 1e-9
    if spread < 1:
        assert (layer(x) - formula(1e-5)).abs().max() > 1e-2  # the input tells the two apart


def test_group_norm():
    layer = group_norm(12, 3).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = 1e-3 * torch.randn(2, 12, 5, 4, dtype=torch.float64)
    grouped = x.reshape(2, 3, -1)
    mean = grouped.mean(2, keepdim=True)
    variance = ((grouped - mean) ** 2).mean(2, keepdim=True)
    normal = ((grouped - mean) / (variance + 1e-6).sqrt()).reshape(x.shape)
    expected = normal * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)
    assert (layer(x) - expected).abs().max() < 1e-9
    with pytest.raises(UserError, match=r"norm_groups 5 .* 12 channels"):
        group_norm(12, 5)


def test_upsampling_repeats_pixels():
    x = torch.randn(1, 3, 2, 3)
    layer = Upsample(3, 3)
    torch.nn.init.dirac_(layer[1].weight)
    torch.nn.init.zeros_(layer[1].bias)
    assert torch.equal(layer(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


# --- AIEM ------------------------------------------------------------------------------------------------------------


def test_fresh_aiem_is_the_identity():
    block, x = AIEM(16, splits=4), torch.randn(2, 16, 7, 5)
    assert torch.equal(block(x), x)
    for scale in (block.beta, block.gamma):
        torch.nn.init.ones_(scale)
        assert not torch.allclose(block(x), x)
        torch.nn.init.zeros_(scale)


@pytest.mark.parametrize(("channels", "splits"), [(16, 3), (16, 1), (16, 0)])
def test_aiem_splits_must_divide(channels, splits):
    with pytest.raises(UserError, match=f"splits .* {channels} channels, got {splits}"):
        AIEM(channels, splits=splits)


@pytest.mark.parametrize("curve_order", [1, 3, 8])
@pytest.mark.parametrize("spread", [0.3, 50.0])
def test_curve_stays_in_the_unit_interval(curve_order, spread):
    layer = IMAConv(8, splits=2, curve_order=curve_order)
    for curve in layer.curve:
        torch.nn.init.normal_(curve[-2].weight, std=5)
    y = layer.brighten(spread * torch.randn(2, 8, 6, 5))
    for split in y.chunk(2, dim=1):
        assert split.min() >= 0 and split.max() <= 1
        assert split.std() > 0.05


def test_ima_conv_against_its_formula():
    layer = IMAConv(12, splits=3, curve_order=2).double()
    x = 0.7 * torch.randn(1, 12, 6, 5, dtype=torch.float64)
    expected = []
    for i in range(3):
        others = torch.cat([x[:, 4 * j : 4 * j + 4] for j in range(3) if j != i], dim=1)
        maps = layer.curve[i](others)
        assert maps.shape == (1, 2, 6, 5)
        y = F.relu(x[:, 4 * i : 4 * i + 4]) - F.relu(x[:, 4 * i : 4 * i + 4] - 1)
        for j in range(2):
            y = y + maps[:, j : j + 1] * (y - y * y)
        expected.append(F.conv2d(y, layer.conv[i].weight, layer.conv[i].bias, padding=1))
    assert torch.allclose(layer(x), torch.cat(expected, dim=1), atol=1e-12)


# --- padding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (2, 17), (3, 5), (8, 8), (7, 64), (63, 65), (128, 9)], ids=str)
@pytest.mark.parametrize(("multiple", "always"), [(8, False), (16, False), (64, True), (64, False)])
def test_padding_is_symmetric_mirroring(size, multiple, always):
    x = torch.randn(2, 3, *size)
    padded = pad_bottom_right(x, multiple, always=always)
    height, width = ((n // multiple + 1) * multiple if always or n % multiple else n for n in size)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (0, height - size[0]), (0, width - size[1])), mode="symmetric")
    np.testing.assert_array_equal(padded.numpy(), expected)
    assert torch.equal(crop_bottom_right(padded, *size), x)


def test_padding_adds_nothing_where_the_size_fits():
    x = torch.randn(1, 3, 16, 24)
    assert pad_bottom_right(x, 8) is x
    assert pad_bottom_right(torch.randn(1, 1, 64, 64), 64, always=True).shape[-2:] == (128, 128)


# --- code search -----------------------------------------------------------------------------------------------------


def test_nearest_code_is_the_nearest():
    quantizer = NearestCode(200, 24)
    quantizer.codebook.data.normal_()
    features = torch.randn(2, 24, 9, 11)
    codes = quantizer(features)
    rows = features.permute(0, 2, 3, 1).reshape(-1, 24).double()
    distances = torch.cdist(rows, quantizer.codebook.detach().double(), compute_mode="donot_use_mm_for_euclid_dist")
    expected = distances.argmin(1).view(2, 9, 11)
    assert codes.indices.dtype == torch.int64
    assert torch.equal(codes.indices, expected)
    assert expected.unique().numel() > 50
    assert torch.equal(codes.quantized, quantizer.codebook[expected].permute(0, 3, 1, 2))
    assert torch.equal(quantizer.lookup(expected), codes.quantized)
    assert codes.features is features
    assert torch.allclose(codes.output, codes.quantized, atol=1e-6)


def test_codes_far_from_zero():
    """A common offset of features and codes must not drown their differences."""
    quantizer = NearestCode(64, 16)
    quantizer.codebook.data.normal_().add_(3)
    features = torch.randn(1, 16, 16, 16) + 3
    rows = features.permute(0, 2, 3, 1).reshape(-1, 16).double()
    expected = (rows[:, None] - quantizer.codebook.detach().double()[None]).square().sum(2).argmin(1)
    assert torch.equal(quantizer(features).indices.flatten(), expected)


def test_ties_go_to_the_lowest_index():
    quantizer = NearestCode(40, 8)
    base = torch.randn(10, 8)
    quantizer.codebook.data.copy_(base.repeat(4, 1))
    order = torch.randperm(10)
    indices = quantizer(base[order].T.reshape(1, 8, 2, 5)).indices
    assert torch.equal(indices.flatten(), order)


def test_search_runs_in_float32_under_autocast():
    quantizer = NearestCode(512, 32)
    quantizer.codebook.data.normal_()
    features = torch.randn(1, 32, 32, 32)
    expected = quantizer(features).indices
    rows = features.permute(0, 2, 3, 1).reshape(-1, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = quantizer(features)
        low = torch.mm(rows, quantizer.codebook.t())
        low_indices = (quantizer.codebook.square().sum(1) - 2 * low).argmin(1)
    assert low.dtype == torch.bfloat16
    assert (low_indices != expected.flatten()).any()  # bfloat16 does flip codes on this input
    assert torch.equal(codes.indices, expected)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        halves = quantizer(features.bfloat16()).indices
    assert torch.equal(halves, quantizer(features.bfloat16().float()).indices)


def test_gradients_pass_straight_through():
    quantizer = NearestCode(32, 8)
    features = torch.randn(2, 8, 4, 5, requires_grad=True)
    codes = quantizer(features)
    upstream = torch.randn_like(codes.output)
    codes.output.backward(upstream)
    assert torch.equal(features.grad, upstream)
    assert quantizer.codebook.grad is None
    assert not codes.indices.requires_grad


def test_gradients_reach_the_codebook_through_the_chosen_rows():
    quantizer = NearestCode(32, 8)
    features = torch.randn(2, 8, 4, 5, requires_grad=True)
    codes = quantizer(features)
    codes.quantized.sum().backward()
    assert features.grad is None
    used = torch.bincount(codes.indices.flatten(), minlength=32).float()
    assert torch.equal(quantizer.codebook.grad, used[:, None].expand(32, 8))
