"""What a CPU computes in another form is the same sum: against torch's and torchvision's own operators."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import deform_conv2d

from vqcnir_arch import restore
from vqcnir_arch.archs import deform_conv
from vqcnir_arch.archs.cpu import GroupNorm, double_and_convolve, plain_operators
from vqcnir_arch.archs.depthwise import DepthwiseConv2d, DilatedDepthwiseConv2d
from vqcnir_arch.devices import precision_of

SIZES = [(1, 1), (2, 5), (7, 6), (9, 12)]


def compare_with_gradients(ours, reference, *tensors):
    """Compare values and gradients in float64."""
    tensors = [tensor.double().requires_grad_() for tensor in tensors]
    values = [function(*tensors) for function in (ours, reference)]
    torch.testing.assert_close(*values)
    weights = torch.randn_like(values[0])
    torch.testing.assert_close(*(torch.autograd.grad(value, tensors, weights) for value in values))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_doubling_is_a_transposed_convolution(size):
    conv = nn.Conv2d(3, 5, 3, padding=1).double()

    def ours(x, weight, bias):
        return torch.func.functional_call(Doubling(conv), {"conv.weight": weight, "conv.bias": bias}, (x,))

    def reference(x, weight, bias):
        return F.conv2d(F.interpolate(x, scale_factor=2), weight, bias, padding=1)

    compare_with_gradients(ours, reference, torch.randn(2, 3, *size), conv.weight.detach(), conv.bias.detach())


class Doubling(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return double_and_convolve(x, self.conv)


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (7, 1), (7, 2), (7, 3)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_depthwise_convolution(size, kernel, dilation):
    if dilation == 1:
        conv = DepthwiseConv2d(4, kernel).double()
    else:
        conv = DilatedDepthwiseConv2d(4, kernel, dilation).double()
    padding = dilation * (kernel // 2)

    def ours(x, weight, bias):
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x,))

    def reference(x, weight, bias):
        return F.conv2d(x, weight, bias, padding=padding, dilation=dilation, groups=4)

    compare_with_gradients(ours, reference, torch.randn(2, 4, *size), conv.weight.detach(), conv.bias.detach())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_depthwise_gradients_in_float32(layout):
    """In float32 a CPU has other kernels than in float64."""
    conv = DilatedDepthwiseConv2d(16, 7, 3)
    x = torch.randn(2, 16, 20, 23).contiguous(memory_format=layout).requires_grad_()
    inputs = (x, conv.weight, conv.bias)
    output = conv(x)
    weights = torch.randn_like(output)
    ours = torch.autograd.grad(output, inputs, weights)
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    reference = F.conv2d(*exact, padding=9, dilation=3, groups=16)
    for gradient, expected in zip(ours, torch.autograd.grad(reference, exact, weights.double()), strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "own"), [((7, 7), True), ((6, 9), False), ((9, 6), False)], ids=str)
def test_maps_smaller_than_the_kernel_are_left_to_torch(size, own):
    output = DepthwiseConv2d(4, 7)(torch.randn(2, 4, *size))
    assert output.grad_fn.name().startswith("DepthwiseConvolution") == own


@pytest.mark.parametrize("batch", [1, 2])
def test_group_norm_is_exact_in_channels_last(batch):
    own = GroupNorm(4, 16)
    nn.init.normal_(own.weight)
    nn.init.normal_(own.bias)
    x = 3 + 0.5 * torch.randn(batch, 16, 251, 253)
    gradient = x + torch.randn(batch, 16, 1, 1) * x
    exact = results_of(F.group_norm, own, x.double(), gradient.double())
    last, gradient = (t.contiguous(memory_format=torch.channels_last) for t in (x, gradient))
    ours = results_of(lambda x, *_: own(x), own, last, gradient)
    torchs = results_of(F.group_norm, own, last, gradient)
    for name, tolerance in (("output", 2e-6), ("input", 5e-6), ("weight", 1e-5), ("bias", 1e-5)):
        errors = [(y[name] - exact[name]).abs().max() / exact[name].std() for y in (ours, torchs)]
        assert errors[0] < tolerance
        assert errors[0] < errors[1] / 2
    assert ours["output"].is_contiguous(memory_format=torch.channels_last)
    assert ours["input"].is_contiguous(memory_format=torch.channels_last)


def results_of(function, norm, x, gradient):
    """Return output and gradients of a group norm with the weights of `norm`, in the precision of x."""
    parameters = [p.to(x.dtype) for p in norm.parameters()]
    x = x.detach().requires_grad_()
    output = function(x, norm.num_groups, *parameters)
    gradients = torch.autograd.grad(output, (x, *parameters), gradient)
    return dict(zip(("output", "input", "weight", "bias"), (output.detach(), *gradients), strict=True))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_deformable_convolution_by_rows(monkeypatch, layout):
    monkeypatch.setattr(deform_conv, "COLUMN_BYTES", 8 * 9 * 2 * 4 * 7 * 3)  # three of the eleven rows
    batch, channels, height, width = 2, 4, 11, 7

    def reference(x, offset, mask, weight, bias):
        return deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)

    def ours(x, *others):
        return deform_conv.deform_conv2d_grid_sample(x.contiguous(memory_format=layout), *others)

    sizes = [(batch, 36, height, width), (batch, 18, height, width), (6, channels, 3, 3), (6,)]
    tensors = [torch.randn(batch, channels, height, width), *(2 * torch.randn(size) for size in sizes)]
    compare_with_gradients(ours, reference, *tensors)
    with torch.no_grad():
        torch.testing.assert_close(ours(*tensors), reference(*tensors), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("padding", ["exact", "published"])
def test_network_against_plain_operators(make_tiny, padding):
    net = make_tiny("VQCNIR", padding=padding).eval()
    image = torch.rand(2, 3, 40, 52)
    ours, codes = net(image, return_codes=True)
    with plain_operators():
        reference, plain_codes = net(image, return_codes=True)
    assert (ours - reference).abs().max() < 1e-4 * reference.std()
    assert torch.equal(codes.indices, plain_codes.indices)
    assert not torch.equal(ours, reference)  # they are two ways


def test_network_gradient_against_plain_operators(make_tiny):
    net = make_tiny("VQCNIR").double()
    image = torch.rand(1, 3, 16, 24, dtype=torch.float64)

    def gradients():
        net.zero_grad()
        net(image).square().mean().backward()
        return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}

    ours = gradients()
    with plain_operators():
        torch.testing.assert_close(ours, gradients())


def dtypes(net, precision):
    """Return the types that parts of a network give, and its codes."""
    seen = {}
    parts = {"encoder": net.encoder, "enhancer": net.enhancer, "G": net.generator[0], "D": net.decoder.upsamples["f4"]}
    handles = [
        part.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output.dtype}))
        for name, part in parts.items()
    ]
    with torch.inference_mode(), precision_of(net, precision):
        codes = net(torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(1)), return_codes=True)[1].indices
    for handle in handles:
        handle.remove()
    return seen, codes


def test_bf16_keeps_what_decides_the_codes_in_float32(make_tiny):
    net = make_tiny("VQCNIR").eval()
    low, full = torch.bfloat16, torch.float32
    exact, codes = dtypes(net, "fp32")
    assert set(exact.values()) == {full}
    mixed, mixed_codes = dtypes(net, "bf16")
    assert mixed == {"encoder": full, "enhancer": full, "G": low, "D": low}
    assert torch.equal(codes, mixed_codes)
    assert dtypes(net, "bf16-all")[0]["encoder"] == low
    assert "forward" not in vars(net.encoder)  # as it was before


@pytest.mark.parametrize("precision", ["bf16", "bf16-all"])
def test_restore_in_bf16(make_tiny, precision):
    net = make_tiny("VQCNIR").eval()
    image = torch.rand(3, 24, 40)
    low, exact = restore(net, image, precision), restore(net, image)
    assert low.dtype == torch.float32
    assert low.shape == exact.shape
    assert not torch.equal(low, exact)
