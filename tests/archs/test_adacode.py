"""AdaCode: published outputs and files, its codebooks and their weights, priors, and the quantizers."""

from __future__ import annotations

import pytest
import torch
from golden_fill import golden_state_dict
from host_goldens import check_case, load_golden
from network_facts import check_learns_and_reloads, check_same, count, frozen_names
from test_femasr import QUANTIZERS, SMALL, published_state

import vqcnir_arch
from vqcnir_arch.archs import AdaCode, find_quantizers
from vqcnir_arch.archs.adacode_arch import CATEGORIES
from vqcnir_arch.archs.loading import detect, load_prior_network
from vqcnir_arch.archs.published.layout import layouts_of, published_names
from vqcnir_arch.devices import precision_of
from vqcnir_arch.errors import UserError

SMALL_ADACODE = {**SMALL, "codebook_size": [24, 16, 24, 16, 16]}


@pytest.mark.parametrize("variant", ["stage2", "stage3_x2", "stage3_x4"])
def test_golden(variant):
    golden = load_golden("adacode")
    net = AdaCode(stage=int(variant[5]), scale=int(variant[-1])).eval()
    net.load_state_dict(golden_state_dict(net))
    cases = [case for case in golden.meta["cases"] if case.startswith(f"{variant}_")]
    assert len(cases) == (1 if variant == "stage3_x4" else 2)
    for case in cases:
        check_case(net, golden, case, tolerance=2e-4)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"stage": 2}, 35_438_088),
        ({"scale": 1}, 60_634_696),
        ({"scale": 2}, 59_972_616),
        ({"scale": 4}, 57_321_352),
    ],
)
def test_parameters(options, parameters):
    with torch.device("meta"):
        net = AdaCode(**options)
    assert count(net.parameters()) == parameters


def test_names_of_all_published_tensors(published_keys):
    layouts = published_keys("adacode")
    variants = {"stage2": {"stage": 2}, "stage3_x2": {"scale": 2}, "stage3_x4": {"scale": 4}, "stage3_inpaint_x1": {}}
    variants["stage3_inpaint_x1"] = {"scale": 1}
    for name, options in variants.items():
        keys, dead = layouts[name]["keys"], layouts[name]["not_filled"]
        with torch.device("meta"):
            net = AdaCode(**options)
        state = net.state_dict()
        own = {published: list(state[name].shape) for name, published in published_names(net).items()}
        assert own == {n: shape for n, shape in keys.items() if n not in dead and not n.startswith("contrast_cri.")}
        shapes = {n: torch.Size(shape) for n, shape in keys.items()}
        assert net.options == AdaCode.complete_options(layouts_of(net)[0].options(shapes))


def test_stage_1_is_a_prior(published_keys):
    """The published networks of stage 1, one per kind of image, are recognised as priors."""
    for size in (256, 512):
        layout = published_keys("adacode")[f"stage1_{size}"]["keys"]
        state = {name: torch.empty(shape, device="meta") for name, shape in layout.items()}
        cls, options = detect(state)
        assert (cls.__name__, options["codebook_size"], options["code_dim"]) == ("VQGANPrior", size, 256)


@pytest.mark.parametrize("options", [{"stage": 2}, {"scale": 1}, {"scale": 2}, {"scale": 4}], ids=str)
def test_published_file(options, tmp_path):
    net = AdaCode(**{**SMALL_ADACODE, **options}).eval()
    state = published_state(net)
    state["contrast_cri.temperature"] = torch.tensor(0.5)
    state["contrast_cri.negatives_mask"] = torch.zeros(16, 16)
    torch.save({"params": state}, tmp_path / "published.pth")
    loaded = vqcnir_arch.load_network(tmp_path / "published.pth")
    assert loaded.is_prior == (options.get("stage") == 2)
    net.load_state_dict(state)
    image = check_same(net, loaded, torch.rand(1, 3, 9, 21))
    assert image.shape == (1, 3, 9 * net.scale, 21 * net.scale)
    del state["after_quant_group.3.bias"]
    with pytest.raises(UserError, match=r"AdaCode.*street_views\.after_quant\.bias"):
        vqcnir_arch.load_network(state)


def test_merged_codes(make_tiny):
    """The decoder takes the sum of what the codebooks give, times the weights of the predictor."""
    net = make_tiny("AdaCode").eval()
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        image, codes = net(x, return_codes=True)
        features, *skips = net.encoder(x)
        weights = net.weight_predictor(features)
        parts = [branch.after_quant(c.output) for branch, c in zip(net.codebooks.values(), codes.per_codebook)]  # noqa: B905
        merged = torch.einsum("bkhw,kbchw->bchw", weights, torch.stack(parts))
        torch.testing.assert_close(codes.merged, merged)
        torch.testing.assert_close(image, net.out_conv(net.generator(merged, skips)[-1]))
        assert codes.weights.shape == (1, 2, 4, 6)
        assert not torch.allclose(codes.weights.sum(1), torch.ones(1, 4, 6))  # any real number
        positive = make_tiny("AdaCode", weight_softmax=True).eval()
        state = {**net.state_dict(), "_extra_state": positive.get_extra_state()}
        positive.load_state_dict(state)
        torch.testing.assert_close(positive.encode(x).weights, weights.softmax(1))
        plain = make_tiny("AdaCode", feature_fusion=False).eval()
        image, codes = plain(x, return_codes=True)
        chosen = [c.indices for c in codes.per_codebook]
        torch.testing.assert_close(plain.decode_indices(chosen, codes.weights), image)


def test_bf16_leaves_the_codes(make_tiny):
    net, image = make_tiny("AdaCode").eval(), torch.rand(1, 3, 24, 40)
    with torch.inference_mode():
        exact = net(image, return_codes=True)[1]
        with precision_of(net, "bf16"):
            low = net(image, return_codes=True)[1]
    assert not low.merged.equal(exact.merged)  # what comes behind them is in bf16
    for mine, theirs in zip(low.per_codebook, exact.per_codebook, strict=True):
        assert mine.indices.equal(theirs.indices)


def test_names_of_codebooks():
    with torch.device("meta"):
        net = AdaCode(quantizer={"type": "SinCA"})
    found = find_quantizers(net)
    assert tuple(found) == CATEGORIES
    assert [len(q.transformer.layers) for q in found.values()] == [5, 4, 3, 4, 4]
    assert [list(q.codebook.shape) for q in found.values()] == [[k, 256] for k in (512, 256, 512, 256, 256)]


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda q: q["type"])
def test_quantizers(make_tiny, quantizer):
    net = make_tiny("AdaCode", quantizer=quantizer)
    x, target = torch.rand(1, 3, 16, 24), torch.rand(1, 3, 32, 48)
    check_learns_and_reloads(net, x, target)


def test_options_per_codebook(make_tiny):
    net = make_tiny("AdaCode", quantizer={"type": "SinCA", "depth": [2, 1], "num_heads": 4})
    assert [len(q.transformer.layers) for q in find_quantizers(net).values()] == [2, 1]
    with pytest.raises(UserError, match="depth needs one value per codebook"):
        make_tiny("AdaCode", quantizer={"type": "SinCA", "depth": [2, 1, 1]})
    with pytest.raises(UserError, match="stage 1 is a VQGANPrior"):
        make_tiny("AdaCode", stage=1)


def save(net, path):
    torch.save({"params": net.state_dict()}, path)
    return str(path)


def test_priors_of_stage_2(make_tiny, tmp_path):
    """Stage 2 takes the codebooks of stage 1 alone; they stay as they are, the rest trains."""
    priors = [make_tiny("VQGANPrior", codebook_size=size) for size in (32, 24)]
    files = [save(prior, tmp_path / f"{k}.pth") for k, prior in enumerate(priors)]
    net = make_tiny("AdaCode", randomize=False, stage=2, prior=files)
    for prior, quantizer in zip(priors, find_quantizers(net).values(), strict=True):
        assert torch.equal(prior.quantizer.codebook, quantizer.codebook)
    assert not torch.equal(net.out_conv.weight, priors[0].out_conv.weight)
    assert frozen_names(net) == {f"codebooks.{k}.quantizer.codebook" for k in (0, 1)}
    with pytest.raises(UserError, match="stage 2 needs 2 checkpoints of stage 1"):
        make_tiny("AdaCode", stage=2, prior=files[:1])
    with pytest.raises(
        UserError, match=r"0\.pth' .* codebooks\.1\.quantizer\.codebook \[32, 16\] instead of \[24, 16\]"
    ):
        make_tiny("AdaCode", stage=2, prior=[files[0], files[0]])


@pytest.mark.parametrize(("scale", "prior_encoder"), [(1, "none"), (2, "none"), (2, "published")])
def test_prior_of_stage_3(make_tiny, tmp_path, scale, prior_encoder):
    prior = make_tiny("AdaCode", stage=2)
    for parameter in prior.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)  # no norm that is still as every new one
    path = save(prior, tmp_path / "stage2.pth")
    net = make_tiny("AdaCode", randomize=False, scale=scale, prior=path, prior_encoder=prior_encoder)
    theirs, ours = prior.state_dict(), net.state_dict()
    same = {n for n, t in ours.items() if n in theirs and torch.equal(t, theirs[n])}
    expected = {n for n in theirs if n != "_extra_state" and (scale == 1 or not n.startswith("encoder."))}
    if prior_encoder == "published":
        expected |= {n for n in theirs if n.startswith("encoder.") and n in ours and ours[n].shape == theirs[n].shape}
        assert any(n.startswith("encoder.") for n in expected)
    assert same == expected
    frozen = frozen_names(net)
    assert {n for n in ours if n.startswith(("generator.", "out_conv."))} < frozen
    assert {n for n in ours if ".after_quant." in n or n.endswith(".codebook")} < frozen
    assert not any("before_quant" in n or n.startswith(("weight_predictor.", "encoder.")) for n in frozen)
    with pytest.raises(UserError, match=r"AdaCode that is no prior, expected a AdaCode"):
        load_prior_network(save(net, tmp_path / "stage3.pth"), "AdaCode")
