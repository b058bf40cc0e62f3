"""The fusions of VQCNIR's ablations against their definitions, and their place in the decoder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from ablation_variants import FUSIONS, MORE_FUSIONS, bf16_error, small

from vqcnir_arch.archs.dbca import DBCA, BidirectionalCrossAttention, PaperWarp
from vqcnir_arch.archs.fusions import SKFF, Add, Concat, CrossAttention
from vqcnir_arch.archs.layers import ResidualBlock
from vqcnir_arch.errors import UserError


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


@pytest.mark.parametrize("name", [name for name in (*FUSIONS, *MORE_FUSIONS) if name != "none"])
def test_fusion_in_bf16(make_tiny, name):
    decoder = make_tiny("VQCNIR", fusion={**FUSIONS, **MORE_FUSIONS}[name]).decoder
    x_d, x_g = torch.randn(1, 32, 6, 8), torch.randn(1, 32, 6, 8)
    assert bf16_error(lambda *inputs: decoder.fusions["f8"](*inputs, None)[1], x_d, x_g) < 0.05
