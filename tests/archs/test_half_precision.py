"""Half precision, by autocast and of a whole network, against float32: also where features are large and images too."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import random_images
from network_facts import NETWORKS
from torch.nn.functional import adaptive_avg_pool2d

from vqcnir_arch.archs import find_quantizers
from vqcnir_arch.archs.channel_attention import channel_attention
from vqcnir_arch.archs.precision import in_float32
from vqcnir_arch.registry import ENHANCER_REGISTRY, FUSION_REGISTRY, QUANTIZER_REGISTRY, build, names
from vqcnir_arch.restoration.inference import restore_tensor

MOST = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 0.03, torch.bfloat16: 0.15}
"""Largest rms difference to float32 of a network of some fifty random layers, in its output's standard deviations."""
WAYS = ["autocast bf16", "autocast fp16", "half", "bfloat16", "double"]
LARGE = 30
"""Deviation of features: those of `vqcnir-s` reach 260 on a photograph."""
LOW = {"bf16": torch.bfloat16, "fp16": torch.float16, "half": torch.float16, "bfloat16": torch.bfloat16}


def in_precision(module, way, *inputs):
    """Call a module in one of WAYS, without gradients."""
    dtype = LOW.get(way.split()[-1], torch.float64)
    with torch.no_grad():
        if way.startswith("autocast"):
            with torch.autocast("cpu", dtype=dtype):
                return module(*inputs), dtype
        result = copy.deepcopy(module).to(dtype)(*(None if x is None else x.to(dtype) for x in inputs))
    return result, dtype


def error(low, exact):
    assert low.isfinite().all()
    return ((low.double() - exact.double()).square().mean().sqrt() / exact.double().std()).item()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_network(make_tiny, name, way):
    """The codes are held, as another code is another image."""
    net, x = make_tiny(name).eval(), random_images(name, 1)
    chosen, outputs = {}, {}
    for label, quantizer in find_quantizers(net).items():
        quantizer.register_forward_hook(lambda _, inputs, codes, label=label: chosen.setdefault(label, codes))
        quantizer.register_forward_hook(
            lambda _, inputs, codes, label=label: codes._replace(output=outputs[label].to(inputs[0].dtype))
            if label in outputs else None
        )  # fmt: skip
    with torch.no_grad():
        exact = net(x)
    outputs.update({label: codes.output for label, codes in chosen.items()})
    low, dtype = in_precision(net, way, x)
    assert error(low, exact) < MOST[dtype]
    assert way.startswith("autocast") or low.dtype == dtype


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", names(QUANTIZER_REGISTRY))
def test_quantizer(name, way):
    transformer = {"depth": 1, "num_heads": 2} if name not in ("NearestCode", "VectorRegression") else {}
    quantizer = build(QUANTIZER_REGISTRY, {"type": name, **transformer}, codebook_size=16, code_dim=16).eval()
    quantizer.codebook.data.normal_()
    z = LARGE * torch.randn(1, 16, 12, 16)
    with torch.no_grad():
        exact = quantizer(z)
    codes, dtype = in_precision(quantizer, way, z)
    if exact.indices is None:
        assert error(codes.output, exact.output) < MOST[dtype]
    else:
        assert (codes.indices != exact.indices).float().mean() < 0.05
        same = (codes.indices == exact.indices)[:, None].expand_as(codes.output)
        assert error(codes.output[same], exact.output[same]) < 1e-2
    assert exact.logits is None or codes.logits.dtype in (torch.float32, torch.float64)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fusion", [*names(FUSION_REGISTRY), "DBCA paper"])
def test_fusion(fusion, way):
    """Their sums over all pixels exceed float16 at 32 x 32 already."""
    name, *paper = fusion.split()
    options = {"type": name, **dict.fromkeys(["attention", "offset"] if paper else [], "paper")}
    module = build(FUSION_REGISTRY, options, channels=8, coarser_channels=0, norm_groups=4).eval()
    for name, parameter in module.named_parameters():
        if name.endswith((".beta", ".gamma")):
            parameter.data.uniform_(0.5, 1)
    x_d, x_g = (LARGE * torch.randn(1, 8, 32, 32) for _ in range(2))
    with torch.no_grad():
        exact = module(x_d, x_g, None)[:2]
    low, dtype = in_precision(module, way, x_d, x_g, None)
    for ours, expected in zip(low[:2], exact, strict=True):
        assert error(ours, expected) < MOST[dtype]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", names(ENHANCER_REGISTRY))
def test_enhancer(name, way):
    """With inner features of some hundreds, whose product of three has no room in float16."""
    block = build(ENHANCER_REGISTRY, {"type": name}, channels=16, index=0).eval()
    with torch.no_grad():
        for label, parameter in block.named_parameters():
            if label.endswith(("beta", "gamma")):
                parameter.fill_(1e-4)  # as the residual stays of the features' size
            if label.startswith("expand1"):
                parameter.mul_(80)
    x = LARGE * torch.randn(1, 16, 24, 24)
    with torch.no_grad():
        exact = block(x)
        if name in ("AIEM", "NAFBlock"):
            u = block.depthwise(block.expand1(block.norm1(x)))
            assert (u.square().amax() * u.abs().amax()) > torch.finfo(torch.float16).max
    low, dtype = in_precision(block, way, x)
    assert error(low, exact) < MOST[dtype]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [None, torch.ones(2, 1, 1)], ids=["paper", "published"])
def test_attention_map_at_512(scale, dtype):
    query, key = (LARGE * torch.randn(1, 4, 512, 512) for _ in range(2))
    query, key = query.to(dtype), (query + key).to(dtype)
    exact = channel_attention(query.float(), key.float(), scale)
    with torch.autocast("cpu", dtype=dtype):
        low = channel_attention(query, key, scale)
    assert (low - exact).abs().max() < 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients(dtype):
    """Of the attention between channels, whose sums over all pixels exceed float16."""
    module = build(FUSION_REGISTRY, {"type": "CrossAttention"}, channels=8, coarser_channels=0, norm_groups=4)
    module.beta.data.fill_(1)
    x_d, x_g = (LARGE * torch.randn(1, 8, 32, 32) for _ in range(2))
    wanted = {}
    for low in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=low):
            module(x_d, x_g, None)[1].float().abs().mean().backward()
        wanted[low] = {name: parameter.grad.clone() for name, parameter in module.named_parameters()}
    for name, gradient in wanted[True].items():
        assert gradient.isfinite().all(), name
    assert error(wanted[True]["value.weight"], wanted[False]["value.weight"]) < MOST[dtype]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_restored_at_256(make_tiny, precision):
    """The size from which `--precision fp16` gave black."""
    net, x = make_tiny("VQCNIR", channels=[8, 8, 8, 8], code_dim=8).eval(), torch.rand(1, 3, 256, 256)
    exact, low = restore_tensor(net, x), restore_tensor(net, x, precision)
    assert error(low, exact) < MOST[LOW[precision]]


def test_in_float32():
    layer, x = torch.nn.Conv2d(2, 2, 1), torch.full((1, 2, 2, 2), 300.0)
    expected = layer(x * x)
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.equal(in_float32(layer, x * x), expected)
    half = copy.deepcopy(layer).half()
    assert in_float32(half, x.half()).dtype == torch.float32
    assert half.weight.dtype == torch.float16
    assert in_float32(layer.double(), x.double()).dtype == torch.float64
    assert adaptive_avg_pool2d(x.half() * 10, 1).isfinite().all()  # torch sums in float32: AIEM and SKFF count on it
