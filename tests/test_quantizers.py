"""What replaces the code choice, against the papers' equations: SinCA, its rivals, code prediction and VR."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from test_networks import count

from vqcnir_arch.archs import (
    CodePrediction,
    CrossAttention,
    NearestCode,
    SelfAttention,
    SinCA,
    SinCAAttention,
    VectorRegression,
)
from vqcnir_arch.archs.quantizers.attention import CodebookCrossAttention, FeatureSelfAttention
from vqcnir_arch.archs.quantizers.transformer import GDFN, TransformerLayer
from vqcnir_arch.errors import UserError
from vqcnir_arch.losses import CodeAlignmentLoss, FeatureMatchingLoss, TokenCrossEntropyLoss

B, N, K, D = 3, 10, 14, 16
TRANSFORMERS = {
    "SinCA": lambda **options: SinCA(K, D, **{"depth": 2, **options}),
    "CrossAttention": lambda **options: CrossAttention(K, D, **{"depth": 2, **options}),
    "SelfAttention": lambda **options: SelfAttention(K, D, **{"depth": 2, **options}),
}
QUANTIZERS = {
    **TRANSFORMERS,
    "NearestCode": lambda: NearestCode(K, D),
    "CodePrediction SinCA": lambda: CodePrediction(K, D, depth=1),
    "CodePrediction SelfAttention": lambda: CodePrediction(K, D, attention="SelfAttention", depth=1),
    "VR": lambda: VectorRegression(K, D),
    "VR softmax": lambda: VectorRegression(K, D, weights="softmax"),
    "VR conv": lambda: VectorRegression(K, D, head="conv", hidden=24),
    "VR linear": lambda: VectorRegression(K, D, head="linear"),
}


def make(name: str):
    quantizer = QUANTIZERS[name]()
    quantizer.codebook.data.normal_()
    return quantizer.requires_grad_(True)


# --- the attention against equations (3) and (4) ---------------------------------------------------------------------


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


def test_vr_is_light():
    """Under 10 % of every host: (parameters of the host, one head's K and d for each of its codebooks)."""
    hosts = {
        "VQCNIR": (47_854_222, [(1024, 512)]),
        "FeMaSR": (34_059_971, [(1024, 512)]),
        "AdaCode": (57_321_352, [(512, 256), (256, 256), (512, 256), (256, 256), (256, 256)]),
        "CodeFormer": (94_112_707, [(1024, 256)]),
        "DAEFR": (152_151_235, [(1024, 256)]),
    }
    with torch.device("meta"):
        for host, (parameters, codebooks) in hosts.items():
            added = sum(count(VectorRegression(k, d).head.parameters()) for k, d in codebooks)
            assert added < 0.1 * parameters, host
        assert count(VectorRegression(1024, 512).head.parameters()) == 788_992


def test_fresh_vr_is_as_large_as_its_codes():
    quantizer = VectorRegression(1024, 64)
    quantizer.codebook.data.normal_()
    with torch.no_grad():
        assert 0.02 < quantizer(torch.randn(1, 64, 8, 8)).output.std() < 2


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
@pytest.mark.parametrize("name", QUANTIZERS)
def test_interface(name, size):
    codes = make(name)(torch.randn(2, D, *size))
    assert codes.output.shape == codes.features.shape == (2, D, *size)
    assert codes.output.isfinite().all()


@pytest.mark.parametrize("name", QUANTIZERS)
def test_bf16_autocast_against_float32(name):
    quantizer, features = make(name).eval(), torch.randn(2, D, 6, 7)
    with torch.no_grad():
        expected = quantizer(features)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            codes = quantizer(features)
    if name == "NearestCode":
        assert torch.equal(codes.indices, expected.indices)  # the search runs in float32
    if expected.logits is not None:
        assert codes.logits.dtype == torch.float32
        assert (codes.logits - expected.logits).abs().max() < 0.05 * expected.logits.std()
        assert (codes.indices == expected.indices).float().mean() > 0.9
    else:
        assert (codes.output - expected.output).abs().max() < 0.05 * expected.output.std()
