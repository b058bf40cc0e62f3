"""VQCNIR's ablations: every enhancer and fusion against its definition, every combination trained, saved and loaded."""

from __future__ import annotations

import copy
import itertools
import re

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_OPTIONS
from test_networks import count, frozen_names

import vqcnir_arch
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.archs.dbca import DBCA, BidirectionalCrossAttention, PaperWarp
from vqcnir_arch.archs.enhancers import NAFBlock, ResBlock
from vqcnir_arch.archs.fusions import SKFF, Add, Concat, CrossAttention
from vqcnir_arch.archs.layers import ResidualBlock
from vqcnir_arch.archs.swin import SwinBlock
from vqcnir_arch.errors import UserError
from vqcnir_arch.models import VQRestorationModel
from vqcnir_arch.options.check import check_options
from vqcnir_arch.options.read import read_options

SHALLOW = {"depth": 1, "num_heads": 4}
QUANTIZERS = {
    "NearestCode": {"type": "NearestCode"},
    "SinCA": {"type": "SinCA", **SHALLOW},
    "CrossAttention": {"type": "CrossAttention", **SHALLOW},
    "SelfAttention": {"type": "SelfAttention", **SHALLOW},
    "CodePrediction": {"type": "CodePrediction", **SHALLOW},
    "VectorRegression": {"type": "VectorRegression"},
}
MORE_QUANTIZERS = {
    "SinCA one head": {"type": "SinCA", "depth": 2, "num_heads": 1, "expansion": 2.0, "fusion": "none"},
    "CodePrediction SelfAttention": {"type": "CodePrediction", "attention": "SelfAttention", **SHALLOW},
    "VectorRegression softmax": {"type": "VectorRegression", "weights": "softmax", "head": "conv", "hidden": 24},
}
ENHANCERS = {
    "AIEM": {"type": "AIEM", "depth": 1},
    "ResBlock": {"type": "ResBlock", "depth": 1},
    "NAFBlock": {"type": "NAFBlock", "depth": 1},
    "SwinBlock": {"type": "SwinBlock", "depth": 2, "window": 2, "num_heads": 2},
    "none": {"type": "none"},
}
FUSIONS = {
    "DBCA": {"type": "DBCA", "heads": [2, 2, 1, 1], "offset_groups": 2},
    "Add": {"type": "Add"},
    "Concat": {"type": "Concat"},
    "SKFF": {"type": "SKFF", "reduction": 1},
    "CrossAttention": {"type": "CrossAttention", "heads": [2, 2, 1, 1]},
    "none": {"type": "none"},
}
MORE_FUSIONS = {
    "DBCA paper attention": {"type": "DBCA", "attention": "paper", "offset_groups": 2},
    "DBCA paper offset": {"type": "DBCA", "heads": [2, 2, 1, 1], "offset": "paper", "offset_groups": 2},
    "DBCA as printed": {"type": "DBCA", "attention": "paper", "offset": "paper", "offset_groups": 2},
    "CrossAttention paper": {"type": "CrossAttention", "attention": "paper"},
}
VARIANTS = {
    **{f"quantizer {name}": {"quantizer": block} for name, block in {**QUANTIZERS, **MORE_QUANTIZERS}.items()},
    **{f"enhancer {name}": {"enhancer": block} for name, block in ENHANCERS.items()},
    **{f"fusion {name}": {"fusion": block} for name, block in {**FUSIONS, **MORE_FUSIONS}.items()},
    "upsample bilinear": {"upsample": "bilinear"},
}
SMALL = {"channels": [8, 8, 16, 32], "norm_groups": 4, "res_blocks": 1}


def small(make_tiny, randomize=True, quantizer="NearestCode", enhancer="AIEM", fusion="DBCA", **options):
    blocks = {
        "quantizer": {**QUANTIZERS, **MORE_QUANTIZERS}[quantizer],
        "enhancer": ENHANCERS[enhancer],
        "fusion": {**FUSIONS, **MORE_FUSIONS}[fusion],
    }
    return make_tiny("VQCNIR", randomize, **SMALL, **blocks, **options)


# --- gradients -------------------------------------------------------------------------------------------------------


def train_once(net):
    """One backward pass through the losses of a training step; the target's scale is far from the output's."""
    net.train()
    image, codes = net(torch.rand(2, 3, 32, 32), return_codes=True)
    loss = F.mse_loss(image, torch.rand_like(image)) + F.mse_loss(codes.output, torch.randn_like(codes.output))
    if codes.logits is not None:
        loss = loss + F.cross_entropy(codes.logits, torch.randint(codes.logits.shape[1], codes.indices.shape))
    loss.backward()
    assert loss.isfinite()
    return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def trainable(net):
    return {name for name, parameter in net.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("enhancer", ENHANCERS)
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_gradient_reaches_every_parameter_that_trains(make_tiny, quantizer, enhancer):
    """For every quantizer × enhancer × fusion, zero scales and offset layers being filled with random values."""
    for fusion in FUSIONS:
        net = small(make_tiny, True, quantizer, enhancer, fusion, freeze_prior=True)
        assert train_once(net) == trainable(net), fusion
        assert all(p.grad is None for n, p in net.named_parameters() if n in frozen_names(net)), fusion
        assert "quantizer.codebook" in frozen_names(net)


@pytest.mark.parametrize(
    ("quantizer", "fusion"), [*((q, "Add") for q in MORE_QUANTIZERS), *(("NearestCode", f) for f in MORE_FUSIONS)]
)
def test_gradient_reaches_every_parameter_of_the_other_variants(make_tiny, quantizer, fusion):
    net = small(make_tiny, quantizer=quantizer, fusion=fusion)
    assert train_once(net) == trainable(net)


# what stands behind a scale, or an offset layer, that starts at zero
BEHIND_ZERO = {
    "AIEM": (
        r"enhancer\.\d+\.(norm1|expand1|depthwise|channel|large_kernel|project1)\.",  # β
        r"enhancer\.\d+\.(norm2|expand2|ima|project2)\.",  # γ
    ),
    "NAFBlock": (
        r"enhancer\.\d+\.(norm1|expand1|depthwise|attention|project1)\.",  # β
        r"enhancer\.\d+\.(norm2|expand2|project2)\.",  # γ
    ),
    "DBCA": (
        r"decoder\.fusions\.f\d\.attention\.(scale|norm_d|norm_g|query|key|value_d|value_g)\b",  # β and γ
        r"decoder\.fusions\.f\d\.attention\.gamma",  # the offset layer: G's side enters the offsets alone
        r"decoder\.fusions\.f\d\.warp\.(estimate|merge)\.",  # the offset layer
    ),
    "CrossAttention": (r"decoder\.fusions\.f\d\.(scale|norm_d|norm_g|query|key|value)\b",),  # β
}


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_what_has_no_gradient_in_a_fresh_network(make_tiny, quantizer):
    for enhancer, fusion in itertools.product(ENHANCERS, FUSIONS):
        net = small(make_tiny, False, quantizer, enhancer, fusion)
        patterns = BEHIND_ZERO.get(enhancer, ()) + BEHIND_ZERO.get(fusion, ())
        behind_zero = {name for name in trainable(net) if any(re.match(p, name) for p in patterns)}
        assert trainable(net) - train_once(net) == behind_zero, (enhancer, fusion)
        assert bool(behind_zero) == bool(patterns)


# --- enhancers -------------------------------------------------------------------------------------------------------


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


# --- fusions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def both():
    return torch.randn(2, 8, 5, 7), torch.randn(2, 8, 5, 7)


def randomised(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def test_add_and_concat(both):
    x_d, x_g = both
    same, added, carry = Add()(x_d, x_g, None)
    assert same is x_d and carry is None
    assert torch.equal(added, x_d + x_g)
    concat = Concat(8)
    expected = torch.einsum("oc,bchw->bohw", concat.merge.weight[:, :, 0, 0], torch.cat((x_d, x_g), 1))
    fused = concat(x_d, x_g, None)[1]
    assert torch.allclose(fused, expected + concat.merge.bias[:, None, None], atol=1e-5)


def test_skff_against_mirnets_definition(both):
    x_d, x_g = both
    skff = randomised(SKFF(8, reduction=2))
    pooled = (x_d + x_g).mean((2, 3))
    z = F.prelu(pooled @ skff.squeeze[0].weight[:, :, 0, 0].T, skff.squeeze[1].weight)
    v_d, v_g = (z @ layer.weight[:, :, 0, 0].T for layer in skff.select)
    s_d = (v_d.exp() / (v_d.exp() + v_g.exp()))[:, :, None, None]
    assert torch.allclose(skff(x_d, x_g, None)[1], s_d * x_d + (1 - s_d) * x_g, atol=1e-5)
    same = skff(x_d, x_d, None)[1]
    assert torch.allclose(same, x_d, atol=1e-6)  # the weights of both sum to one
    assert SKFF(256).squeeze[0].out_channels == 32 and SKFF(16).squeeze[0].out_channels == 4


def printed_map(attention, x_d, x_g):
    """softmax(Q_D Q_Gᵀ/√C) of eq. 8 and 9, [B, C, C]."""
    query = attention.query(attention.norm_d(x_d)).flatten(2)
    key = attention.key(attention.norm_g(x_g)).flatten(2)
    logits = torch.einsum("bcp,bep->bce", query, key) / x_d.shape[1] ** 0.5
    return logits.exp() / logits.exp().sum(2, keepdim=True)


def test_dbca_attention_as_printed(both):
    x_d, x_g = both
    attention = randomised(BidirectionalCrossAttention(8, 1, "paper"))
    weights = printed_map(attention, x_d, x_g)
    a_d = torch.einsum("bce,bep->bcp", weights, attention.value_d(x_d).flatten(2)).view_as(x_d)  # eq. 8
    a_g = torch.einsum("bce,bep->bcp", weights, attention.value_g(x_g).flatten(2)).view_as(x_g)  # eq. 9
    out_d, out_g = attention(x_d, x_g)
    assert torch.allclose(out_d, x_d + attention.beta * a_g, atol=1e-4)  # eq. 10
    assert torch.allclose(out_g, x_g + attention.gamma * a_d, atol=1e-4)  # eq. 11
    assert attention.scale is None
    with pytest.raises(UserError, match=r"attention 'paper' has one head \(VQCNIR eq. 8-9\), got heads 2"):
        BidirectionalCrossAttention(8, 2, "paper")
    with pytest.raises(UserError, match="attention 'printed' is unknown"):
        BidirectionalCrossAttention(8, 1, "printed")


def test_dbca_offset_as_printed(both):
    """Eq. 12: one 7×7 convolution of concat[F_D, F_G] gives the offsets; nothing goes on to the next level."""
    x_d, x_g = both
    warp = randomised(PaperWarp(8, 2))
    seen = []
    warp.deform.conv_offset.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    warped, carry = warp(x_d, x_g, None)
    assert carry is None
    assert torch.equal(seen[0], torch.cat((x_d, x_g), 1))
    assert warp.deform.conv_offset.kernel_size == (7, 7)
    assert {name for name, _ in warp.named_parameters()} == {
        f"deform.{name}" for name in ("weight", "bias", "conv_offset.weight", "conv_offset.bias")
    }
    assert warped.shape == x_d.shape

    fresh = PaperWarp(8, 2)  # offsets zero, mask one half: a plain convolution
    expected = F.conv2d(x_d, fresh.deform.weight / 2, fresh.deform.bias, padding=1)
    assert torch.allclose(fresh(x_d, x_g, None)[0], expected, atol=1e-5)
    with pytest.raises(UserError, match="offset 'printed' is unknown"):
        DBCA(8, 0, 4, offset="printed", offset_groups=2)


@pytest.mark.parametrize(("attention", "heads"), [("published", 1), ("published", 4), ("paper", 1)])
def test_cross_attention_is_one_direction_of_dbca(both, attention, heads):
    x_d, x_g = both
    dbca = randomised(BidirectionalCrossAttention(8, heads, attention))
    fusion = CrossAttention(8, heads, attention)
    state = dbca.state_dict()
    for name in ("gamma", "value_d.weight", "value_d.bias"):
        del state[name]
    fusion.load_state_dict({name.replace("value_g", "value"): tensor for name, tensor in state.items()})
    same, fused, carry = fusion(x_d, x_g, None)
    assert same is x_d and carry is None
    assert torch.allclose(fused, dbca(x_d, x_g)[0], atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_place_of_the_fusion_in_the_decoder(make_tiny, fusion):
    """D's residual block takes concat[x_d, fusion's output]; at f8, which has none, the output is x_d."""
    net = small(make_tiny, fusion=fusion)
    decoder = net.decoder
    widths = {level: block.conv1.in_channels for level, block in decoder.blocks.items()}
    factor = 1 if fusion == "none" else 2
    assert widths == {"f4": 16 * factor, "f2": 8 * factor, "f1": 8 * factor}
    outputs, block_inputs, up_inputs = {}, {}, {}
    for level, module in decoder.fusions.items():
        module.register_forward_hook(lambda _, __, out, level=level: outputs.update({level: out}))
    for level, module in decoder.blocks.items():
        module.register_forward_pre_hook(lambda _, i, level=level: block_inputs.update({level: i[0]}))
    for level, module in decoder.upsamples.items():
        module.register_forward_pre_hook(lambda _, i, level=level: up_inputs.update({level: i[0]}))
    guides = [torch.randn(1, c, 2 * s, 2 * s) for c, s in ((32, 1), (16, 2), (8, 4), (8, 8))]
    x = torch.randn(1, 32, 2, 2)
    with torch.no_grad():
        result = decoder(x, guides)
        others = decoder(x, [torch.randn_like(guide) for guide in guides])
    assert torch.equal(result, others) == (fusion == "none")  # then G enters through the final sum alone
    if fusion == "none":
        assert not decoder.fusions and up_inputs["f4"] is x
        return
    decoder(x, guides)
    assert up_inputs["f4"] is outputs["f8"][1]
    for level in ("f4", "f2", "f1"):
        x_d, fused, _ = outputs[level]
        assert torch.equal(block_inputs[level], torch.cat((x_d, fused), 1))


def test_g_reaches_the_image_with_every_fusion(make_tiny):
    for fusion in FUSIONS:
        net = small(make_tiny, fusion=fusion).eval()
        x = torch.rand(1, 3, 16, 16)
        with torch.no_grad():
            before = net(x)
            net.generator[-1][0][1].bias += 1
            assert (net(x) - before).abs().max() > 1e-3, fusion


def test_bilinear_upsampling_is_for_d_alone(make_tiny):
    net = make_tiny("VQCNIR", upsample="bilinear")
    assert {stage[0].mode for stage in net.decoder.upsamples.values()} == {"bilinear"}
    assert {stage[0][0].mode for stage in net.generator} == {"nearest"}
    x = torch.randn(1, 2, 4, 5)
    expected = F.interpolate(x, size=(8, 10), mode="bilinear", align_corners=False)
    assert torch.allclose(net.decoder.upsamples["f4"][0](x), expected)
    with pytest.raises(UserError, match=r"upsample 'cubic' is unknown .known: nearest, bilinear"):
        make_tiny("VQCNIR", upsample="cubic")


def test_residual_block_is_the_same_in_all_fusions(make_tiny):
    shapes = [
        {name: p.shape for name, p in small(make_tiny, fusion=f).decoder.blocks.named_parameters()}
        for f in [*FUSIONS, *MORE_FUSIONS]
        if f != "none"
    ]
    assert all(other == shapes[0] for other in shapes[1:])
    assert all(isinstance(b, ResidualBlock) and b.norm1 is not None for b in small(make_tiny).decoder.blocks.values())


# --- sizes -----------------------------------------------------------------------------------------------------------

COUNTS = {
    "published": ({}, 47_854_222),
    "ResBlock": ({"enhancer": {"type": "ResBlock"}}, 35_277_310),
    "NAFBlock": ({"enhancer": {"type": "NAFBlock"}}, 26_721_790),
    "SwinBlock": ({"enhancer": {"type": "SwinBlock"}}, 30_614_110),
    "no enhancer": ({"enhancer": {"type": "none"}}, 21_115_390),
    "Add": ({"fusion": {"type": "Add"}}, 42_372_947),
    "Concat": ({"fusion": {"type": "Concat"}}, 42_676_755),
    "SKFF": ({"fusion": {"type": "SKFF"}}, 42_429_783),
    "CrossAttention": ({"fusion": {"type": "CrossAttention"}}, 42_833_246),
    "no fusion": ({"fusion": {"type": "none"}}, 41_425_427),
    "paper attention": ({"fusion": {"type": "DBCA", "attention": "paper"}}, 47_854_222 - 11),
    "paper offset": ({"fusion": {"type": "DBCA", "offset": "paper"}}, 51_802_446),
    "bilinear": ({"upsample": "bilinear"}, 47_854_222),
    "SinCA": ({"quantizer": {"type": "SinCA"}}, 47_854_222 + 29_014_850),
    "CodePrediction": ({"quantizer": {"type": "CodePrediction"}}, 47_854_222 + 29_539_138),
    "VectorRegression": ({"quantizer": {"type": "VectorRegression"}}, 47_854_222 + 788_992),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    options, expected = COUNTS[name]
    with torch.device("meta"):
        assert count(VQCNIR(**options).parameters()) == expected


# --- training, saving, loading ---------------------------------------------------------------------------------------


def losses_for(quantizer: str) -> dict:
    losses = {"pixel_opt": {"type": "L1Loss"}, "alignment_opt": {"type": "CodeAlignmentLoss"}}
    if quantizer == "CodePrediction":
        losses["token_opt"] = {"type": "TokenCrossEntropyLoss"}
    elif quantizer != "NearestCode":
        losses["matching_opt"] = {"type": "FeatureMatchingLoss"}
    return losses


@pytest.fixture
def make_model(make_tiny, tmp_path):
    """Return a function that builds a `VQRestorationModel` for a variant of the tiny VQCNIR, and its first batch."""
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, tmp_path / "prior.pth")

    def make(network: dict, train: dict | None = None):
        network = {"type": "VQCNIR", **copy.deepcopy({**TINY_OPTIONS["VQCNIR"], **network})}
        network.update(prior=str(tmp_path / "prior.pth"), freeze_prior=True)
        kind = network.get("quantizer", {}).get("type", "NearestCode")
        options = {
            "is_train": True,
            "num_gpu": 0,
            "dist": False,
            "scale": 1,
            "network_g": network,
            "path": {"models": str(tmp_path), "training_states": str(tmp_path)},
            "logger": {"print_freq": 1, "save_checkpoint_freq": 1, "use_tb_logger": False},
            "train": {
                "total_iter": 10,
                "optim_g": {"type": "Adam", "lr": 1e-3},
                "scheduler": {"type": "MultiStepLR", "milestones": [5], "gamma": 0.5},
                **(train or losses_for(kind)),
            },
        }
        model = VQRestorationModel(options)
        model.feed_data({"lq": torch.rand(2, 3, 16, 24), "gt": torch.rand(2, 3, 16, 24)})
        return model

    return make


@pytest.mark.parametrize("name", VARIANTS)
def test_training_step_and_round_trip(make_model, tmp_path, name):
    model = make_model(VARIANTS[name])
    net = model.net_g
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    for step in (1, 2):
        model.optimize_parameters(step)
    assert all(torch.as_tensor(value).isfinite() for value in model.get_current_log().values())
    changed = {n for n, p in net.named_parameters() if not torch.equal(p, before[n])}
    assert changed and not changed & frozen_names(net)
    assert any(n.startswith("encoder.") for n in changed)
    assert all(p.isfinite().all() for p in net.parameters())

    model.save(0, 2)
    loaded = vqcnir_arch.load_network(tmp_path / "net_g_2.pth")
    assert loaded.options == net.options
    expected = net.state_dict()
    assert set(loaded.state_dict()) == set(expected)
    assert all(torch.equal(tensor, expected[n]) for n, tensor in loaded.state_dict().items())
    x = torch.rand(1, 3, 19, 27)
    with torch.no_grad():
        assert torch.equal(loaded(x), net.eval()(x))


@pytest.mark.parametrize("name", VARIANTS)
def test_checkpoint_of_another_variant_is_refused(make_tiny, name):
    state = make_tiny("VQCNIR", **VARIANTS[name]).state_dict()
    plain = make_tiny("VQCNIR")
    if vqcnir_arch.load_network(state).options == plain.options:
        plain.load_state_dict(state)
        return
    with pytest.raises(RuntimeError, match="the file was made with"):
        plain.load_state_dict(state)


@pytest.mark.parametrize("name", VARIANTS)
def test_published_layout_is_not_taken_for_a_variant(small_published, name):
    """A published file fits the published network alone; a variant says what it misses."""
    variant = VQCNIR(**{**copy.deepcopy(small_published.options), **VARIANTS[name]})
    if variant.options == small_published.net.options or name == "upsample bilinear":
        variant.load_state_dict(small_published.state)
        return
    with pytest.raises(RuntimeError, match=r"Missing|Unexpected|size mismatch"):
        variant.load_state_dict(small_published.state)


def bf16_error(module, *inputs):
    """Return the rms difference between bf16 autocast and float32, in standard deviations of the float32 output."""
    with torch.no_grad():
        expected = module(*inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = module(*inputs)
    return ((low.float() - expected).square().mean().sqrt() / expected.std()).item()


@pytest.mark.parametrize("name", [name for name in ENHANCERS if name != "none"])
def test_enhancer_in_bf16(make_tiny, name):
    assert bf16_error(make_tiny("VQCNIR", enhancer=ENHANCERS[name]).enhancer, torch.randn(1, 32, 6, 8)) < 0.02


@pytest.mark.parametrize("name", [name for name in (*FUSIONS, *MORE_FUSIONS) if name != "none"])
def test_fusion_in_bf16(make_tiny, name):
    decoder = make_tiny("VQCNIR", fusion={**FUSIONS, **MORE_FUSIONS}[name]).decoder
    x_d, x_g = torch.randn(1, 32, 6, 8), torch.randn(1, 32, 6, 8)
    assert bf16_error(lambda *inputs: decoder.fusions["f8"](*inputs, None)[1], x_d, x_g) < 0.05


@pytest.mark.parametrize("name", VARIANTS)
def test_network_in_bf16(make_tiny, name):
    """Rounding adds up over some fifty random layers; the codes are held, as other codes are another image."""
    net = make_tiny("VQCNIR", **VARIANTS[name]).eval()
    x = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        codes = net(x, return_codes=True)[1]
    if net.quantizer.gives != "features":
        net.quantizer.forward = lambda _: codes
    assert bf16_error(net, x) < 0.1


# --- combinations that make no sense ---------------------------------------------------------------------------------

FEATURES_ONLY = ("SinCA", "CrossAttention", "SelfAttention", "VectorRegression")
PIXEL, MATCHING, TOKEN = {"type": "L1Loss"}, {"type": "FeatureMatchingLoss"}, {"type": "TokenCrossEntropyLoss"}


def contradictions(quantizer: str | None, **train) -> list[str]:
    network = {"type": "VQCNIR", "prior": "prior.pth", **({"quantizer": {"type": quantizer}} if quantizer else {})}
    return VQRestorationModel.contradictions({"network_g": network, "train": {"pixel_opt": PIXEL, **train}})


def test_losses_that_fit():
    alignment = {"type": "CodeAlignmentLoss", "alignment": "l2_gram"}
    for quantizer in (None, "NearestCode", *FEATURES_ONLY):
        assert contradictions(quantizer, alignment_opt=alignment) == []
    for quantizer in FEATURES_ONLY:
        assert contradictions(quantizer) == []
        assert contradictions(quantizer, matching_opt=MATCHING, alignment_opt=alignment) == []
    assert contradictions("CodePrediction", token_opt=TOKEN, alignment_opt=alignment) == []


@pytest.mark.parametrize(
    ("quantizer", "train", "message"),
    [
        (None, {"matching_opt": MATCHING}, "matching_opt does not fit NearestCode, .* alignment_opt pulls"),
        ("NearestCode", {"matching_opt": MATCHING}, "matching_opt does not fit NearestCode"),
        ("CodePrediction", {"matching_opt": MATCHING, "token_opt": TOKEN}, "matching_opt .*token_opt teaches"),
        ("CodePrediction", {}, "token_opt is missing: CodePrediction learns from nothing else"),
        *((q, {"token_opt": TOKEN}, f"token_opt does not fit {q}, which") for q in ("NearestCode", *FEATURES_ONLY)),
        ("SinCA", {"codebook_opt": {"type": "CodebookLoss"}}, "VQRestorationModel has no loss 'codebook_opt'"),
    ],
)
def test_losses_that_do_not_fit(quantizer, train, message):
    found = contradictions(quantizer, **train)
    assert len(found) == 1 and re.search(message, found[0]), found
    assert "\n" not in found[0]


@pytest.mark.parametrize("loss", ["alignment_opt", "matching_opt", "token_opt"])
def test_loss_without_a_prior(loss):
    quantizer = {"type": "CodePrediction" if loss == "token_opt" else "SinCA"}
    options = {
        "network_g": {"type": "VQCNIR", "quantizer": quantizer},
        "train": {"pixel_opt": PIXEL, loss: {"type": 0}},
    }
    found = VQRestorationModel.contradictions(options)
    assert len(found) == 1 and re.search(f"{loss} needs the ground truth's codes from a prior", found[0])


def test_model_refuses_what_the_check_refuses(make_model):
    with pytest.raises(UserError, match="matching_opt does not fit NearestCode"):
        make_model({}, {"pixel_opt": PIXEL, "matching_opt": MATCHING})


@pytest.mark.parametrize(
    ("quantizer", "given", "expected"),
    [
        ("SinCA", None, "quantized"),
        ("CrossAttention", None, "quantized"),
        ("SelfAttention", None, "quantized"),
        ("VectorRegression", None, "hq_feature"),
        ("SinCA", "hq_feature", "hq_feature"),
        ("VectorRegression", "quantized", "quantized"),
    ],
)
def test_target_of_the_matching(make_model, quantizer, given, expected):
    """Unless the loss says otherwise the target is that of the quantizer's source; both come from the prior alone."""
    matching = {**MATCHING, **({"target": given} if given else {})}
    model = make_model({"quantizer": QUANTIZERS[quantizer]}, {"pixel_opt": PIXEL, "matching_opt": matching})
    assert model.losses["matching_opt"].target == expected
    prior = model.teacher
    with torch.no_grad():
        z = prior.before_quant(prior.encoder(model.gt))
        rows = z.permute(0, 2, 3, 1).flatten(0, 2)
        chosen = prior.quantizer.codebook[torch.cdist(rows, prior.quantizer.codebook).argmin(1)]
        target = z if expected == "hq_feature" else chosen.view(2, 2, 3, -1).permute(0, 3, 1, 2)
        output = model.net_g(model.lq, return_codes=True)[1].output
    _, _, losses = model.generator_forward()
    assert losses["l_match"].item() == pytest.approx((output - target).square().mean().item(), rel=1e-3)


# --- option files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper_file():
    return read_options("options/vqcnir/train_vqcnir_lolblur.yml")


@pytest.mark.parametrize("name", VARIANTS)
def test_option_file_with_a_variant(paper_file, name):
    options = copy.deepcopy(paper_file)
    options["network_g"].update(copy.deepcopy(VARIANTS[name]))
    train = losses_for(options["network_g"]["quantizer"]["type"])
    options["train"].update({loss: block for loss, block in train.items() if loss != "pixel_opt"})
    check_options(options, is_train=True)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"fusion": {"type": "DBCA", "attention": "printed"}}, "attention"),
        ({"fusion": {"type": "Add", "heads": 2}}, "heads"),
        ({"enhancer": {"type": "SwinBlock", "depth": 2, "index": 1}}, "index"),
        ({"enhancer": {"type": "ResBlok"}}, "did you mean 'ResBlock'"),
        ({"quantizer": {"type": "SinCA", "heads": 4}}, "did you mean 'num_heads'"),
        ({"quantizer": {"type": "VectorRegression", "weights": "soft"}}, "weights"),
        ({"upsample": "cubic"}, "upsample"),
    ],
)
def test_option_file_with_a_mistake(paper_file, network, message):
    options = copy.deepcopy(paper_file)
    options["network_g"].update(network)
    with pytest.raises(UserError, match=message):
        check_options(options, is_train=True)
