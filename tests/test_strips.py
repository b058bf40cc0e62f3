"""Tiled inference: strips through every layer give what the whole image gives."""

import pytest
import torch
from torch import nn

from vqcnir_arch.archs.layers import LayerNorm2d
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.strips.layers import Affine, run
from vqcnir_arch.restoration.strips.network import parts, restore_in_strips
from vqcnir_arch.restoration.strips.store import Scratch, Strip


def scratch_of(tmp_path, strip_memory=20_000, memory=0):
    return Scratch(tmp_path, memory, strip_memory)


def stored(scratch, x):
    feature = scratch.feature(*x.shape[1:])
    feature.write(Strip(x, 0, x.shape[2]))
    return feature


@pytest.mark.parametrize("memory", [0, 10**9])
@pytest.mark.parametrize(
    "module",
    [
        nn.Identity(),
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(3, 4, 4, padding=1),
        nn.Conv2d(3, 5, 3, padding=1, stride=2),
        nn.Conv2d(3, 3, 7, padding=9, dilation=3, groups=3),
        nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(3, 2, 3, padding=1)),
        nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 2, 3, padding=1)),
        nn.Sequential(LayerNorm2d(3), nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 1, 3, padding=1)),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else value.__class__.__name__,
)
def test_local_layers(tmp_path, module, memory):
    x = torch.randn(1, 3, 29, 13)
    scratch = scratch_of(tmp_path, 3000, memory)
    with torch.no_grad():
        expected = module(x)
        factor = x.shape[2] / expected.shape[2] if expected.shape[2] > 40 else round(x.shape[2] / expected.shape[2])
        (result,) = scratch.sweep(
            lambda s: run(module, s), [stored(scratch, x)], [expected.shape[1]], *expected.shape[2:], 10, factor
        )
    torch.testing.assert_close(result.rows(0, result.height).x, expected, atol=1e-6, rtol=1e-5)


def test_known_statistics(tmp_path):
    x = 5 + torch.randn(1, 8, 31, 11) * torch.arange(1, 9).view(1, -1, 1, 1)
    norm = nn.GroupNorm(4, 8, eps=1e-6)
    nn.init.normal_(norm.weight)
    scratch = scratch_of(tmp_path)
    whole = stored(scratch, x)
    first, second = stored(scratch, x[:, :4]), stored(scratch, x[:, 4:])
    torch.testing.assert_close(Affine(norm, whole)(x), norm(x), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(Affine(norm, first, second)(x), norm(x), atol=2e-6, rtol=1e-5)


VARIANTS = {
    "published": {},
    "no enhancer": {"enhancer": {"type": "none"}},
    "no fusion": {"fusion": {"type": "none"}},
    "bilinear": {"upsample": "bilinear"},
    "paper attention": {"fusion": {"type": "DBCA", "attention": "paper"}},
    "add": {"fusion": {"type": "Add"}},
    "concat": {"fusion": {"type": "Concat"}},
    "cross attention": {"fusion": {"type": "CrossAttention", "heads": 2}},
    "SKFF": {"fusion": {"type": "SKFF"}},
    "a type per level": {"fusion": {"type": ["DBCA", "SKFF", "none", "Add"]}},
    "skips": {"skips": True},
    "residual": {"residual": True},
    "illumination": {"illumination": {"iterations": 4, "size": 16, "width": 4}},
    "f4": {"channels": [8, 8, 16], "fusion": {"type": "DBCA", "heads": [2, 1, 1], "offset_groups": 2}},
    "as the small network": {
        "channels": [8, 8, 16],
        "fusion": {"type": ["SKFF", "SKFF", "none"]},
        "illumination": {"iterations": 4, "size": 16, "width": 4, "full_lift": 0.9},
        "skips": True,
        "residual": True,
    },
    "no guide at all": {"fusion": {"type": "none"}, "residual": True, "skips": True, "upsample": "bilinear"},
}


def lively(net):
    """Draw the layers anew that start at zero."""
    if net.residual_conv is not None:
        nn.init.normal_(net.residual_conv.weight, std=0.1)
    if net.illumination is not None:
        nn.init.normal_(net.illumination.head[2].weight)
    return net.eval()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(64, 48), (61, 35), (8, 8)], ids=str)
def test_equals_the_whole_image(make_tiny, tmp_path, variant, size):
    net = lively(make_tiny("VQCNIR", **VARIANTS[variant]))
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        whole, codes = net(image, return_codes=True)
    calls = []
    result = restore_in_strips(net, image, scratch_of(tmp_path), progress=lambda: calls.append(1))
    assert len(calls) == parts(net)
    assert (result.indices != codes.indices).sum() <= result.near_ties
    imposed = restore_in_strips(net, image, scratch_of(tmp_path), codes.indices).image
    assert (imposed - whole).abs().max() < 2e-4 * whole.std()


@pytest.mark.parametrize("strip_memory", [2_000, 10**9])
def test_equals_the_whole_image_with_maps_in_memory(make_tiny, tmp_path, strip_memory):
    net = lively(make_tiny("VQCNIR", **VARIANTS["as the small network"]))
    image = torch.rand(1, 3, 61, 35)
    with torch.no_grad():
        whole, codes = net(image, return_codes=True)
    before = image.clone()
    result = restore_in_strips(net, image, Scratch(tmp_path, 10**9, strip_memory), codes.indices)
    assert (result.image - whole).abs().max() < 2e-4 * whole.std() and result.disk == 0
    assert torch.equal(image, before)


def test_published_padding(make_tiny, tmp_path):
    net = make_tiny("VQCNIR", padding="published").eval()
    image = torch.rand(1, 3, 20, 30)
    with torch.no_grad():
        whole, codes = net(image, return_codes=True)
    result = restore_in_strips(net, image, scratch_of(tmp_path), codes.indices)
    assert (result.image - whole).abs().max() < 2e-4 * whole.std()


def test_large_offsets(make_tiny, tmp_path):
    net = make_tiny("VQCNIR").eval()
    for fusion in net.decoder.fusions.values():
        nn.init.normal_(fusion.warp.deform.conv_offset.bias, std=20)
    image = torch.rand(1, 3, 64, 32)
    with torch.no_grad():
        whole, codes = net(image, return_codes=True)
    result = restore_in_strips(net, image, scratch_of(tmp_path), codes.indices)
    assert (result.image - whole).abs().max() < 1e-3 * whole.std()


def test_everything_is_given_back(make_tiny, tmp_path):
    scratch = Scratch(tmp_path, 100_000, 20_000)
    restore_in_strips(make_tiny("VQCNIR").eval(), torch.rand(1, 3, 64, 48), scratch)
    assert scratch.on_disk == 0 and scratch.memory == 100_000 and scratch.most_on_disk > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantizer": {"type": "SelfAttention", "depth": 1}}, "quantizer NearestCode, not SelfAttention"),
        ({"enhancer": {"type": "ResBlock", "depth": 1}}, "not ResBlock"),
        (
            {"fusion": {"type": "DBCA", "offset": "paper", "attention": "paper"}},
            "with published offsets, not DBCA",
        ),
    ],
)
def test_unknown_parts_are_refused(make_tiny, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        restore_in_strips(make_tiny("VQCNIR", **options).eval(), torch.rand(1, 3, 16, 16), scratch_of(tmp_path))


def test_no_room_on_disk(tmp_path):
    with pytest.raises(UserError, match=r"GB free, 256000.0 GB more are needed"):
        Scratch(tmp_path, 0, 1000).feature(64, 10**6, 10**6)
    with pytest.raises(UserError, match=r"absent"):
        Scratch(tmp_path / "absent", 0, 1000).feature(1, 1, 1)
