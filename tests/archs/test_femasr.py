"""FeMaSR: published outputs and files, quantizers, feature fusion, priors, and its training."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import TINY_OPTIONS
from golden_fill import golden_state_dict
from host_goldens import check_case, load_golden
from model_experiments import built, experiment, moved, snapshot
from network_facts import check_learns_and_reloads, check_same, count, frozen_names

import vqcnir_arch
from vqcnir_arch.archs import FeMaSR
from vqcnir_arch.archs.loading import detect
from vqcnir_arch.archs.published.layout import layouts_of, published_names
from vqcnir_arch.errors import UserError

SMALL = {"channels": [32, 32, 64, 64], "codebook_size": 24, "code_dim": 8, "swin_groups": 2, "swin_depth": 2,
         "swin_heads": 4, "window": 4}  # fmt: skip
SHALLOW = {"depth": 1, "num_heads": 4}
QUANTIZERS = [
    {"type": "NearestCode"},
    {"type": "SinCA", **SHALLOW},
    {"type": "CrossAttention", **SHALLOW},
    {"type": "SelfAttention", **SHALLOW},
    {"type": "CodePrediction", **SHALLOW},
    {"type": "VectorRegression"},
]
pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


def published_state(net):
    """Golden weights under their published names, with the tensors that a published file has beside them."""
    state = golden_state_dict(net)
    for name in [n for n in state if n.endswith("relative_position_bias_table")]:
        block = name.removesuffix(".attn.relative_position_bias_table")
        state[f"{block}.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.int64)
        if int(block.rsplit(".", 1)[1]) % 2:
            state[f"{block}.attn_mask"] = torch.zeros(4, 16, 16)
    return {**state, "conv_semantic.0.weight": torch.zeros(1), "vgg_feat_extractor.mean": torch.zeros(1)}


@pytest.mark.parametrize("scale", [2, 4])
def test_golden(scale):
    golden = load_golden("femasr")
    net = FeMaSR(scale=scale).eval()
    net.load_state_dict(golden_state_dict(net))
    cases = [case for case in golden.meta["cases"] if case.startswith(f"x{scale}_")]
    assert len(cases) == {2: 2, 4: 3}[scale]
    for case in cases:
        check_case(net, golden, case, tolerance=1e-4)


@pytest.mark.parametrize(("scale", "parameters"), [(2, 36_711_235), (4, 34_059_971)])
def test_parameters(scale, parameters):
    with torch.device("meta"):
        net = FeMaSR(scale=scale, freeze_prior=True)
    assert count(net.parameters()) == parameters
    assert count(p for p in net.parameters() if not p.requires_grad) == 5_766_787


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_published_file(scale, tmp_path):
    """A published file is recognised by itself; what follows from the window's size is dropped, the rest is strict."""
    net = FeMaSR(scale=scale, **SMALL).eval()
    state = published_state(net)
    cls, _ = detect(state)
    assert cls is FeMaSR
    torch.save({"params": state}, tmp_path / "published.pth")
    loaded = vqcnir_arch.load_network(tmp_path / "published.pth")
    net.load_state_dict(state)
    assert check_same(net, loaded, torch.rand(1, 3, 9, 21)).shape == (1, 3, 9 * scale, 21 * scale)

    del state["multiscale_encoder.in_conv.weight"]
    with pytest.raises(UserError, match=r"FeMaSR.*multiscale_encoder\.in_conv\.weight"):
        vqcnir_arch.load_network(state)


def test_names_of_all_published_tensors(published_keys):
    for scale in (2, 4):
        layout = published_keys("femasr")[f"lq_x{scale}"]
        with torch.device("meta"):
            net = FeMaSR(scale=scale)
        state = net.state_dict()
        own = {published: state[name] for name, published in published_names(net).items()}
        assert set(own) == set(layout["keys"]) - set(layout["not_filled"])
        assert all(list(tensor.shape) == layout["keys"][name] for name, tensor in own.items())
        shapes = {name: torch.Size(shape) for name, shape in layout["keys"].items()}
        assert net.options == FeMaSR.complete_options(layouts_of(net)[0].options(shapes))


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_sizes(make_tiny, scale):
    net = make_tiny("FeMaSR", scale=scale, window=4).eval()
    assert net.size_multiple == net.published_size_multiple == 32 // scale
    with torch.no_grad():
        image, codes = net(torch.rand(1, 3, 21, 33), return_codes=True)
    assert image.shape == (1, 3, 21 * scale, 33 * scale)
    height, width = (-(-n // net.size_multiple) * net.size_multiple * scale // 8 for n in (21, 33))
    assert codes.indices.shape == (1, height, width)


def test_wrong_scale(make_tiny):
    with pytest.raises(UserError, match=r"scale 3 does not fit 4 channels \(known: 1, 2, 4"):
        make_tiny("FeMaSR", scale=3)


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda q: q["type"])
def test_quantizers(make_tiny, quantizer):
    net = make_tiny("FeMaSR", quantizer=quantizer)
    x, target = torch.rand(1, 3, 16, 24), torch.rand(1, 3, 32, 48)
    check_learns_and_reloads(net, x, target)


def test_depth_of_sinca():
    with torch.device("meta"):
        net = FeMaSR(quantizer={"type": "SinCA"})
    assert len(net.quantizer.transformer.layers) == 9
    assert net.quantizer.codebook.shape == (1024, 512)


def test_feature_fusion(make_tiny):
    """Without it no layers are built for it; the attribute switches a network that was built with them."""
    fused, plain = make_tiny("FeMaSR").eval(), make_tiny("FeMaSR", feature_fusion=False).eval()
    assert len(fused.encoder.stages) == len(plain.encoder.stages) + 2
    state = {n: t for n, t in fused.state_dict().items() if n in plain.state_dict() and n != "_extra_state"}
    plain.load_state_dict({**state, "_extra_state": plain.get_extra_state()})
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        with_features = fused(x)
        fused.feature_fusion = False
        assert torch.equal(fused(x), plain(x))
        codes = plain.encode(x)
        torch.testing.assert_close(plain.decode_indices(codes.indices), plain(x))
    assert (with_features - plain(x)).abs().max() > 0.01 * with_features.std()
    assert not vqcnir_arch.load_network(plain.state_dict()).feature_fusion


@pytest.fixture
def saved_prior(make_tiny, tmp_path):
    prior = make_tiny("VQGANPrior")
    for parameter in prior.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)  # no norm that is still as every new one
    torch.save({"params": prior.state_dict()}, tmp_path / "prior.pth")
    return prior, str(tmp_path / "prior.pth")


@pytest.mark.parametrize("scale", [1, 2])
def test_prior(make_tiny, saved_prior, scale):
    prior, path = saved_prior
    net = make_tiny("FeMaSR", randomize=False, scale=scale, prior=path)
    same = {n for n, t in net.state_dict().items() if n in prior.state_dict() and torch.equal(t, prior.state_dict()[n])}
    expected = {n for n in prior.state_dict() if n != "_extra_state" and (scale == 1 or not n.startswith("encoder."))}
    assert same == expected
    parts = ("after_quant.", "generator.", "out_conv.")
    assert frozen_names(net) == {n for n in net.state_dict() if n.startswith(parts)} | {"quantizer.codebook"}


def test_trains_with_the_restoration_model(saved_prior):
    """Two steps of BasicSR's model with a ×2 pair, the code alignment against the frozen prior included."""
    network = {"type": "FeMaSR", **copy.deepcopy(TINY_OPTIONS["FeMaSR"]), "prior": saved_prior[1]}
    losses = {
        "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        "alignment_opt": {"type": "CodeAlignmentLoss", "alignment": "l2_gram", "loss_weight": 1.0},
    }
    options = experiment("VQRestorationModel", network, losses)
    options["scale"] = 2
    model = built(options)
    before = snapshot(model.net_g)
    model.feed_data({"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 32, 32)})
    found = []
    for iteration in (1, 2):
        model.optimize_parameters(iteration)
        found.append(model.log_dict["l_align"] + model.log_dict["l_pix"])
    assert found[1] < found[0]
    changed = moved(model.net_g, before)
    assert "encoder.stages.2.0.blocks.1.block.attn.qkv.weight" in changed
    assert not changed & frozen_names(model.net_g)
