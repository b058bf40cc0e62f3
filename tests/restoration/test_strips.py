"""Tiled inference: strips through every layer give what the whole image gives."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vqcnir_arch.archs.autoencoder import VQAutoencoder
from vqcnir_arch.archs.depthwise import DilatedDepthwiseConv2d
from vqcnir_arch.archs.layers import LayerNorm2d, Upsample
from vqcnir_arch.archs.maps import local, total
from vqcnir_arch.archs.quantizers import NearestCode
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ENHANCER_REGISTRY, FUSION_REGISTRY, QUANTIZER_REGISTRY
from vqcnir_arch.restoration.strips.maps import Plan, stored_map, whole
from vqcnir_arch.restoration.strips.network import check_supported, parts, restore_in_strips, strip_support
from vqcnir_arch.restoration.strips.store import Scratch


def scratch_of(tmp_path, strip_memory=20_000, memory=0):
    return Scratch(tmp_path, memory, strip_memory)


@pytest.mark.parametrize("memory", [0, 10**9])
@pytest.mark.parametrize(
    ("module", "margin"),
    [
        (nn.ReLU(), 0),
        (nn.Conv2d(3, 4, 3, padding=1), 1),
        (nn.Sequential(nn.Conv2d(3, 4, 4, padding=1), nn.Conv2d(4, 5, 3, padding=1, stride=2)), 1),
        (nn.Conv2d(3, 3, 7, padding=9, dilation=3, groups=3), 9),
        (nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(3, 2, 3, padding=1)), 2),
        (nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 2, 3, padding=1)), 2),
        (nn.Sequential(LayerNorm2d(3), nn.Conv2d(3, 6, 5, padding=2), nn.GELU(), nn.Conv2d(6, 1, 3, padding=1)), 3),
        (nn.Conv2d(3, 2, 51, padding=25), 25),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else value.__class__.__name__,
)
def test_local_operators(tmp_path, module, margin, memory):
    x = torch.randn(1, 3, 40, 13)
    with torch.no_grad():
        expected, result = module(x), module(stored_map(x, scratch_of(tmp_path, 3000, memory)))
        assert result.shape == expected.shape and result.feature is None  # nothing has been computed
        assert Plan([result]).margin == margin
        torch.testing.assert_close(whole(result), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("module", [Upsample(3, 2), DilatedDepthwiseConv2d(3, 7, 3)], ids=lambda m: type(m).__name__)
def test_modules_with_forms_of_their_own(tmp_path, module):
    x = torch.randn(1, 3, 40, 13)
    with torch.no_grad():
        result = local(module, stored_map(x, scratch_of(tmp_path, 3000)))
        torch.testing.assert_close(whole(result), module(x), atol=1e-5, rtol=1e-5)


def products(a, b):
    return ((a * b).sum((2, 3)),)


def test_statistics_of_the_whole_image(tmp_path):
    x = 5 + torch.randn(1, 8, 31, 11) * torch.arange(1, 9).view(1, -1, 1, 1)
    norm = nn.GroupNorm(4, 8, eps=1e-6)
    nn.init.normal_(norm.weight)
    scratch = scratch_of(tmp_path, 3000)
    with torch.no_grad():
        one, pair = stored_map(x, scratch), [stored_map(part, scratch) for part in (x[:, :4], x[:, 4:])]
        joined = torch.cat(pair, dim=1)
        torch.testing.assert_close(whole(norm(one)), norm(x), atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(whole(norm(joined)), norm(x), atol=2e-6, rtol=1e-5)
        for mean in (lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: x.mean((2, 3)), lambda x: x.mean((-2, -1), True)):
            torch.testing.assert_close(mean(one), mean(x))
        torch.testing.assert_close(F.adaptive_avg_pool2d(one, 4), F.adaptive_avg_pool2d(x, 4))
        torch.testing.assert_close(whole(one + one.mean(1, keepdim=True)), x + x.mean(1, keepdim=True))
        torch.testing.assert_close(total(products, one, 2 * one), products(x, 2 * x))


def test_what_has_no_rule_is_not_computed_in_parts(tmp_path):
    x = stored_map(torch.rand(1, 3, 40, 8), scratch_of(tmp_path))
    with pytest.raises(UserError, match=r"looks at the whole image: .*softmax"):
        whole(x * x.softmax(2))
    with pytest.raises(UserError, match="maps of 40 rows give 39"):
        whole(F.conv2d(x, torch.rand(1, 3, 2, 2), padding=(0, 1)))


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
    """Draw the layers again that start at zero."""
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


ATTENDING = {"SinCA", "SelfAttention", "CodePrediction"}
QUANTIZERS = sorted(set(QUANTIZER_REGISTRY.keys()) - ATTENDING)
ENHANCERS = ["none", *sorted(set(ENHANCER_REGISTRY.keys()) - {"SwinBlock"})]
FUSIONS = {name: {"type": name} for name in ["none", *FUSION_REGISTRY.keys()]}
FUSIONS["paper"] = {"type": "DBCA", "attention": "paper", "offset": "paper"}


@pytest.mark.parametrize("enhancer", ENHANCERS)
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_every_quantizer_fusion_and_enhancer(make_tiny, tmp_path, quantizer, fusion, enhancer):
    blocks = {"quantizer": {"type": quantizer}, "fusion": FUSIONS[fusion], "enhancer": {"type": enhancer, "depth": 1}}
    if quantizer == "CrossAttention":
        blocks["quantizer"] |= {"depth": 1, "num_heads": 2}
    net, image = make_tiny("VQCNIR", **blocks).eval(), torch.rand(1, 3, 40, 16)
    with torch.no_grad():
        expected, codes = net(image, return_codes=True)
    result = restore_in_strips(net, image, scratch_of(tmp_path), codes.indices)
    assert (result.image - expected).abs().max() < 2e-4 * expected.std()
    assert (result.indices is None) == (quantizer != "NearestCode")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        *[("VQCNIR", {"quantizer": {"type": each, "depth": 1}}, f"over the image .quantizer: {each}")
          for each in sorted(ATTENDING)],
        ("VQCNIR", {"enhancer": {"type": "SwinBlock", "depth": 1, "num_heads": 2}}, "in windows .enhancer: SwinBlock"),
        ("FeMaSR", {}, "in windows .encoder: SwinBlock"),
        ("AdaCode", {}, "in windows .encoder: SwinBlock"),
        ("CodeFormer", {}, "images of 16 x 16 pixels alone"),
    ],
)  # fmt: skip
def test_attention_over_the_image_is_refused(make_tiny, name, options, message):
    net = make_tiny(name, **options).eval()
    assert strip_support(make_tiny("VQCNIR").eval()) is None
    with pytest.raises(UserError, match=message):
        check_supported(net)


class Block(nn.Module):
    """An enhancer of somebody else."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: 2 * F.hardtanh(x) + x.mean(dim=(2, 3), keepdim=True), None),
        (lambda x: x + x.amax(dim=(2, 3), keepdim=True), "looks at the whole image: .*amax"),
        (lambda x: x + x.shape[2] * torch.linspace(0, 1, x.shape[2]).view(-1, 1), "does not know|strips do not know"),
        (lambda x: x + F.pad(x, (0, 0, 0, -x.shape[2] % 3)).unfold(2, 3, 3).mean(-1).repeat_interleave(3, 2)
         [:, :, : x.shape[2]], "strips do not know|gives something else"),
    ],
)  # fmt: skip
def test_blocks_of_somebody_else_are_tried(make_tiny, tmp_path, function, message):
    net = make_tiny("VQCNIR").eval()
    net.enhancer = nn.Sequential(Block(function))
    reason = strip_support(net)
    if message is not None:
        with pytest.raises(UserError, match=message):
            check_supported(net)
        return
    assert reason is None
    image = torch.rand(1, 3, 40, 16)
    with torch.no_grad():
        expected, codes = net(image, return_codes=True)
    result = restore_in_strips(net, image, scratch_of(tmp_path), codes.indices)
    assert (result.image - expected).abs().max() < 2e-4 * expected.std()


def test_a_host_of_somebody_else(tmp_path):
    class Host(VQAutoencoder):
        def __init__(self, channels=(16, 16, 32), padding="exact"):
            super().__init__()
            self.remember_options(locals())
            self.build_autoencoder(list(channels), NearestCode(32, 16), 16, 1, 8)
            self.detail = nn.Conv2d(3, 16, 5, padding=2)
            self.draw_weights()

        def compute(self, x, return_codes=False):
            codes = self.encode(x)
            image = self.out_conv(self.generator(self.after_quant(codes.output))[-1] + self.detail(x))
            return (image, codes) if return_codes else image

    net, image = Host().eval(), torch.rand(1, 3, 42, 16)
    assert strip_support(net) is None
    with torch.no_grad():
        expected, codes = net(image, return_codes=True)
    result = restore_in_strips(net, image, scratch_of(tmp_path), codes.indices)
    assert (result.image - expected).abs().max() < 2e-4 * expected.std()


def test_the_network_is_left_as_it_was(make_tiny, tmp_path):
    net, image = make_tiny("VQCNIR").eval(), torch.rand(1, 3, 24, 16)
    restore_in_strips(net, image, scratch_of(tmp_path))
    assert not any("forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks
                   for module in net.modules())  # fmt: skip


def test_no_room_on_disk(tmp_path):
    with pytest.raises(UserError, match=r"GB free, 256000.0 GB more are needed"):
        Scratch(tmp_path, 0, 1000).feature(64, 10**6, 10**6)
    with pytest.raises(UserError, match=r"absent"):
        Scratch(tmp_path / "absent", 0, 1000).feature(1, 1, 1)
