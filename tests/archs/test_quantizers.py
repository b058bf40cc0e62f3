"""What replaces the code choice, against the papers' equations: SinCA, its rivals, code prediction and VR."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from network_facts import count

from vqcnir_arch.archs import (
    CodePrediction,
    CrossAttention,
    SelfAttention,
    SinCA,
    SinCAAttention,
    VectorRegression,
)
from vqcnir_arch.archs.quantizers.transformer import GDFN, TransformerLayer
from vqcnir_arch.errors import UserError
from vqcnir_arch.losses import CodeAlignmentLoss, FeatureMatchingLoss, TokenCrossEntropyLoss
from vqcnir_arch.registry import QUANTIZER_REGISTRY, build
from vqcnir_arch.study.rows import ROWS as TABLE
from vqcnir_arch.study.rows import resized

B, N, K, D = 3, 10, 14, 16
TRANSFORMERS = {
    "SinCA": lambda **options: SinCA(K, D, **{"depth": 2, **options}),
    "CrossAttention": lambda **options: CrossAttention(K, D, **{"depth": 2, **options}),
    "SelfAttention": lambda **options: SelfAttention(K, D, **{"depth": 2, **options}),
}
QUANTIZERS = {
    **TRANSFORMERS,
    "CodePrediction SinCA": lambda: CodePrediction(K, D, depth=1),
    "CodePrediction SelfAttention": lambda: CodePrediction(K, D, attention="SelfAttention", depth=1),
    "VR": lambda: VectorRegression(K, D),
    "VR softmax": lambda: VectorRegression(K, D, weights="softmax"),
    "VR conv": lambda: VectorRegression(K, D, head="conv", hidden=24),
    "VR linear": lambda: VectorRegression(K, D, head="linear"),
}


ROWS = {
    name: resized(row.network, {"quantizer": {"depth": 2}})["quantizer"]
    for name, row in TABLE.items()
    if "quantizer" in row.network
}
ROWS["vqcnir"] = {"type": "NearestCode"}


def filled(quantizer):
    quantizer.codebook.data.normal_()
    return quantizer.requires_grad_(True)


def make(name: str):
    return filled(QUANTIZERS[name]())


def make_row(name: str):
    return filled(build(QUANTIZER_REGISTRY, ROWS[name], codebook_size=K, code_dim=D))


# --- the transformer -------------------------------------------------------------------------------------------------


def test_gdfn_against_restormers_equation():
    """W_p (GELU(W_d W_p X) ⊙ W_d W_p X), all convolutions without bias; hidden width γ·d."""
    layer, x = GDFN(D, 2.66), torch.randn(2, 5, 7, D)
    hidden = int(2.66 * D)
    u = x.permute(0, 3, 1, 2)
    u = F.conv2d(u, layer.expand.weight[:, :, None, None])
    u = F.conv2d(u, layer.depthwise.weight, padding=1, groups=2 * hidden)
    u = F.gelu(u[:, :hidden]) * u[:, hidden:]
    expected = F.conv2d(u, layer.project.weight[:, :, None, None]).permute(0, 2, 3, 1)
    assert torch.allclose(layer(x), expected, atol=1e-6)
    assert not any(name.endswith("bias") for name, _ in layer.named_parameters())


def test_layer_is_pre_normalised_and_residual():
    layer = TransformerLayer(SinCAAttention(D, 4), D, 2.0)
    x, codebook = torch.randn(2, 3, 5, D), torch.randn(K, D)
    attended = layer.attention(F.layer_norm(x, [D]).view(2, 15, D), codebook)  # the codebook enters raw
    y = x + attended.view(2, 3, 5, D)
    assert torch.allclose(layer(x, codebook), y + layer.feed_forward(F.layer_norm(y, [D])), atol=1e-5)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformer_fuses_its_input_with_its_output(name):
    quantizer = TRANSFORMERS[name](depth=3)
    features = torch.randn(2, D, 3, 5)
    first = x = features.permute(0, 2, 3, 1)
    for layer in quantizer.transformer.layers:
        x = layer(x, quantizer.codebook)
    expected = torch.cat((first, x), dim=-1) @ quantizer.transformer.fuse.weight.T
    codes = quantizer(features)
    assert torch.allclose(codes.output, expected.permute(0, 3, 1, 2), atol=1e-5)
    assert codes.features is features
    assert codes.indices is codes.quantized is codes.logits is None

    plain = TRANSFORMERS[name](depth=3, fusion="none")
    plain.load_state_dict(quantizer.state_dict(), strict=False)
    assert plain.transformer.fuse is None
    assert torch.allclose(plain(features).output, x.permute(0, 3, 1, 2), atol=1e-5)


def test_papers_defaults():
    with torch.device("meta"):
        built = {cls: cls(1024, 512) for cls in (SinCA, CrossAttention, SelfAttention, CodePrediction)}
    for cls, quantizer in built.items():
        layers = quantizer.transformer.layers
        assert len(layers) == 9
        assert {layer.attention.num_heads for layer in layers} == {8}
        assert {layer.feed_forward.project.in_features for layer in layers} == {1361}  # ⌊2.66 · 512⌋
        assert quantizer.transformer.fuse.weight.shape == (512, 1024)
        expected = 29_014_850 + (1024 * 512 if cls is CodePrediction else 0)
        assert count(quantizer.parameters()) - 1024 * 512 == expected


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_what_the_output_depends_on(name):
    quantizer, features = make(name), torch.randn(2, D, 3, 4, requires_grad=True)
    output = quantizer(features).output
    output.square().sum().backward()
    assert features.grad.abs().min() > 0
    assert (quantizer.codebook.grad is not None) == (name != "SelfAttention")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SinCA(K, D, num_heads=5), "num_heads 5 does not divide 16"),
        (lambda: SinCA(K, D, fusion="add"), "fusion 'add' is unknown .known: concat, none"),
        (lambda: CodePrediction(K, D, attention="SinkA"), "attention 'SinkA' .did you mean 'SinCA'"),
        (lambda: VectorRegression(K, D, weights="reel"), "weights 'reel' is unknown .known: real, softmax"),
        (lambda: VectorRegression(K, D, head="cnn"), "head 'cnn' is unknown .known: mlp, conv, linear"),
    ],
)
def test_wrong_options(build, message):
    with pytest.raises(UserError, match=message):
        build()


# --- code prediction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CodePrediction SinCA", "CodePrediction SelfAttention"])
def test_code_prediction(name):
    quantizer, features = make(name), torch.randn(2, D, 3, 4, requires_grad=True)
    codes = quantizer(features)
    assert codes.logits.shape == (2, K, 3, 4)
    assert torch.equal(codes.indices, codes.logits.softmax(1).argmax(1))
    assert codes.indices.unique().numel() > 3
    assert torch.equal(codes.quantized, quantizer.lookup(codes.indices))
    assert torch.allclose(codes.output, codes.quantized, atol=1e-6)

    upstream = torch.randn_like(codes.output)
    codes.output.backward(upstream, retain_graph=True)
    assert torch.equal(features.grad, upstream)  # straight through to z^l
    assert quantizer.classify.weight.grad is None
    TokenCrossEntropyLoss()(codes.logits, torch.randint(K, (2, 3, 4))).backward()
    for parameter_name, parameter in quantizer.named_parameters():
        if parameter_name != "codebook":
            assert parameter.grad.abs().max() > 0, parameter_name


# --- vector regression -----------------------------------------------------------------------------------------------


def solve_last_layer(quantizer: VectorRegression, features, target):
    """Set the head's last layer by least squares so that every position of `features` gives `target`."""
    *body, last = quantizer.head
    hidden = torch.nn.Sequential(*body)(features).permute(0, 2, 3, 1).flatten(0, 2).double()
    wanted = target.permute(0, 2, 3, 1).flatten(0, 2).double()
    weights = wanted @ torch.linalg.pinv(quantizer.codebook.detach().double())  # w with w C = z
    solution = torch.linalg.lstsq(hidden, weights, driver="gelsd").solution
    last.weight.data.copy_(solution.T[:, :, None, None])
    last.bias.data.zero_()


@pytest.mark.parametrize("name", ["VR", "VR conv", "VR linear"])
@pytest.mark.parametrize("rank", [6, D])
def test_vr_reproduces_any_vector_in_the_span(name, rank):
    quantizer = make(name)
    quantizer.codebook.data = torch.randn(K, rank) @ torch.randn(rank, D)
    features = torch.randn(1, D, 3, 4)
    inside = 30 * torch.randn(12, min(rank, K)) @ torch.linalg.svd(quantizer.codebook.detach())[2][:rank][:K]
    inside = inside.T.reshape(1, D, 3, 4)
    with torch.no_grad():
        solve_last_layer(quantizer, features, inside)
        weights = quantizer.regress(features)
        output = quantizer(features).output
    assert (output - inside).abs().max() < 2e-3 * inside.std()
    assert weights.min() < 0 < weights.max()
    assert (weights.sum(1) - 1).abs().max() > 0.1  # unconstrained
    assert torch.allclose(output, torch.einsum("bkhw,kd->bdhw", weights, quantizer.codebook), atol=1e-3)


def test_soft_assignment_stays_in_the_hull():
    quantizer = make("VR softmax")
    quantizer.head[-1].weight.data.mul_(50)
    features = torch.randn(2, D, 3, 4)
    weights = quantizer.regress(features)
    assert weights.min() >= 0
    assert torch.allclose(weights.sum(1), torch.ones(2, 3, 4), atol=1e-6)
    highest = quantizer.codebook.max(0).values[None, :, None, None]
    assert (quantizer(features).output <= highest + 1e-5).all()


def test_fresh_vr_is_as_large_as_its_codes():
    quantizer = VectorRegression(1024, 64)
    quantizer.codebook.data.normal_()
    with torch.no_grad():
        assert 0.02 < quantizer(torch.randn(1, 64, 8, 8)).output.std() < 2


def test_vr_starts_alike_inside_a_network(make_tiny):
    """A network draws all weights again."""
    last = make_tiny("VQCNIR", quantizer={"type": "VectorRegression"}).quantizer.head[-1]
    bound = (last.in_channels * last.out_channels) ** -0.5
    assert (last.bias == 0).all()
    assert 0.5 * bound < last.weight.abs().max() <= bound


# --- losses ----------------------------------------------------------------------------------------------------------


def test_feature_matching():
    output, features, quantized = (torch.randn(2, D, 3, 4, requires_grad=True) for _ in range(3))
    for target, tensor in (("hq_feature", features), ("quantized", quantized)):
        loss = FeatureMatchingLoss(target, loss_weight=3)(output, features, quantized)
        assert loss.item() == pytest.approx(3 * (output - tensor).square().mean().item(), rel=1e-5)
        loss.backward()
    assert output.grad is not None and features.grad is None and quantized.grad is None
    with pytest.raises(UserError, match="target 'codes' is unknown"):
        FeatureMatchingLoss("codes")


def test_equation_6():
    """‖ẑ - z^t‖² + ‖z^l - sg(ẑ)‖² is the sum of the two losses."""
    z_t, z_l, z_hat = (torch.randn(2, D, 3, 4) for _ in range(3))
    loss = FeatureMatchingLoss("quantized")(z_t, z_l, z_hat) + CodeAlignmentLoss()(z_l, z_hat)
    assert loss.item() == pytest.approx(((z_hat - z_t) ** 2 + (z_l - z_hat) ** 2).mean().item(), rel=1e-5)


def test_token_cross_entropy():
    logits, indices = torch.randn(2, K, 3, 4), torch.randint(K, (2, 3, 4))
    expected = -torch.stack(
        [logits[b, :, i, j].softmax(0)[indices[b, i, j]].log() for b in range(2) for i in range(3) for j in range(4)]
    ).mean()
    assert TokenCrossEntropyLoss(0.5)(logits, indices).item() == pytest.approx(0.5 * expected.item(), rel=1e-5)


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8)], ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_interface(name, size):
    codes = make_row(name)(torch.randn(2, D, *size))
    assert codes.output.shape == codes.features.shape == (2, D, *size)
    assert codes.output.isfinite().all()


@pytest.mark.parametrize("name", ROWS)
def test_bf16_autocast_against_float32(name):
    quantizer, features = make_row(name).eval(), torch.randn(2, D, 6, 7)
    with torch.no_grad():
        expected = quantizer(features)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            codes = quantizer(features)
    if quantizer.output_kind == "codes":
        assert torch.equal(codes.indices, expected.indices)  # the search runs in float32
    if expected.logits is not None:
        assert codes.logits.dtype == torch.float32
        assert (codes.logits - expected.logits).abs().max() < 0.05 * expected.logits.std()
        assert (codes.indices == expected.indices).float().mean() > 0.9
    else:
        assert (codes.output - expected.output).abs().max() < 0.05 * expected.output.std()
