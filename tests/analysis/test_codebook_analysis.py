"""The parts of the codebook analysis against plain formulas."""

import numpy as np
import pytest
import torch
from torch import nn

from vqcnir_arch import UserError
from vqcnir_arch.analysis.attention_maps import AttentionMaps, attention_inputs, head_mean_maps
from vqcnir_arch.analysis.choice import FULL, Choice
from vqcnir_arch.analysis.fusion_off import fusion_variants
from vqcnir_arch.analysis.probe import Probe, check_prior, truth_run
from vqcnir_arch.analysis.reconstruction import Features, LeastSquares
from vqcnir_arch.analysis.regression_weights import RegressionWeights, sparsity
from vqcnir_arch.analysis.usage import Usage
from vqcnir_arch.analysis.views import View
from vqcnir_arch.archs import NearestCode, SinCAAttention
from vqcnir_arch.archs.network import VQNetwork

SIZE = (37, 50)  # no multiples of 8: 5 × 7 cells


@pytest.fixture
def pair(make_tiny):
    """Return a function that makes a restoration network, its prior, both as probes."""

    def make(**options):
        net, prior = make_tiny("VQCNIR", **options).eval(), make_tiny("VQGANPrior").eval()
        prior.quantizer.codebook.data.copy_(net.quantizer.codebook.data)
        return Probe(net, "net"), Probe(prior, "prior")

    return make


def make_views(net, prior, count=2):
    random = np.random.default_rng(0)
    return [
        View(str(i), *(random.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(2)), net, prior)
        for i in range(count)
    ]


def features_of(probe, image):
    """The features before quantising, [N, d] float64, by the network's own layers; [5, 7] cells of [8, 8]."""
    net = probe.net
    padded = np.pad(image, ((0, 3), (0, 6), (0, 0)), mode="symmetric")[..., ::-1]
    x = torch.from_numpy(padded.transpose(2, 0, 1).copy()).float().div(255)[None]
    with torch.no_grad():
        feature = net.encoder(x)
        feature = net.before_quant(net.enhancer(feature) if hasattr(net, "enhancer") else feature)
    return feature[0].flatten(1).t().double().numpy()


def brute_force(probe, image):
    codebook = probe.net.quantizer.codebook.detach().double().numpy()
    distance = np.square(features_of(probe, image)[:, None] - codebook[None]).sum(axis=2)
    return distance.argmin(axis=1)


def test_usage_is_that_of_numpy(pair):
    net, prior = pair()
    part = Usage(net, prior)
    views = make_views(net, prior)
    for view in views:
        part.add(view)
    rows = {row["source"]: row for row in part.result()["usage"]}
    sources = {"input": (net, "lq"), "clean": (net, "gt"), "truth": (prior, "gt"), "prior_on_input": (prior, "lq")}
    assert rows.keys() == sources.keys()
    for source, (probe, side) in sources.items():
        counts = sum(np.bincount(brute_force(probe, getattr(view, side)), minlength=32) for view in views)
        share = counts[counts > 0] / counts.sum()
        assert rows[source]["counts"] == counts.tolist() and counts.sum() == 2 * 5 * 7
        assert rows[source]["codebook_usage"] == np.count_nonzero(counts) / 32
        assert rows[source]["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))


def test_accuracy_is_that_of_brute_force(pair):
    net, prior = pair()
    with torch.no_grad():  # the network's encoder near to the prior's: some codes agree
        net.net.load_state_dict(
            {
                **net.net.state_dict(),
                **{k: v for k, v in prior.net.state_dict().items() if k.startswith(("encoder.", "before_quant."))},
            }
        )
    part = Choice(net, prior)
    views = make_views(net, prior)
    right = {"input": [], "clean": []}
    truths = []
    for view in views:
        part.add(view)
        truth = brute_force(prior, view.gt)
        truths.append(truth)
        right["input"].append(brute_force(net, view.lq) == truth)
        right["clean"].append(brute_force(net, view.gt) == truth)
    choice = part.result()["choice"]
    for source, hits in right.items():
        assert choice["codes"][source]["accuracy"] == {"quantizer": np.mean(hits)}
    assert 0 < np.mean(right["clean"]) < 1
    most = np.bincount(np.concatenate(truths)).max() / sum(map(len, truths))
    assert choice["most_frequent_code_accuracy"] == {"quantizer": pytest.approx(most)}


@pytest.mark.parametrize("quantizer", ["NearestCode", "SinCA", "VectorRegression"])
def test_imposing_what_the_network_gave_changes_nothing(pair, quantizer):
    net, _ = pair(quantizer={"type": quantizer})
    x = torch.rand(1, 3, *SIZE)
    run = net.run(x)
    with torch.no_grad():
        assert torch.equal(run.image, net.net(x))
    assert torch.equal(net.run(x, [run.codes[0].output]).image, run.image)
    if quantizer == "NearestCode":
        chosen = net.net.quantizer.lookup(run.codes[0].indices)
        torch.testing.assert_close(net.run(x, [chosen]).image, run.image, atol=1e-5, rtol=1e-4)
    other = net.run(x, [torch.randn_like(run.codes[0].output)]).image
    assert not torch.allclose(other, run.image, atol=1e-3)
    assert not net.net.quantizer._forward_hooks  # nothing stays behind


def test_ground_truth_codes_reach_both_decoders(pair):
    net, prior = pair()
    view = make_views(net, prior)[0]
    truth = view.truth.codes[0].quantized
    x, truth = view.lq_tensor[..., :32, :48], truth[..., :4, :6]  # without padding
    with torch.no_grad():
        enhanced = net.net.enhancer(net.net.encoder(x))
        guide = net.net.after_quant(truth)
        guides = [guide, *net.net.generator(guide)]
        literal = net.net.out_conv(guides[-1] + net.net.decoder(enhanced, guides))
    torch.testing.assert_close(net.run(x, [truth]).image, literal)


def test_fusion_off_is_what_is_documented(pair):
    net, _ = pair()
    bare = net.net
    x = torch.rand(1, 3, 32, 48)
    variants = fusion_variants(bare)
    images = {title: net.run(x, edits=edits).image for title, edits in variants.items()}
    with torch.no_grad():
        enhanced = bare.enhancer(bare.encoder(x))
        codes = bare.quantizer(bare.before_quant(enhanced))
        guide = bare.after_quant(codes.output)
        guides = [guide, *bare.generator(guide)]
        literal = {"without D": bare.decode_indices(codes.indices)}
        zeros = [torch.zeros_like(g) for g in guides]
        literal["without G"] = bare.out_conv(bare.decoder(enhanced, zeros))
        d = enhanced
        for level in ("f4", "f2", "f1"):  # at f8 the fusion's output is x_d itself
            d = bare.decoder.upsamples[level](d)
            d = bare.decoder.blocks[level](torch.cat((d, d), dim=1))
        literal["fusion modules off"] = bare.out_conv(guides[-1] + d)
    assert images.keys() == literal.keys()
    for title, image in images.items():
        torch.testing.assert_close(image, literal[title], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(image, bare(x), atol=1e-3)


def test_least_squares_against_numpy():
    random = np.random.default_rng(0)
    low_rank = random.normal(size=(20, 3)) @ random.normal(size=(3, 8))
    for codebook in (random.normal(size=(20, 8)), random.normal(size=(5, 8)), low_rank):
        solver = LeastSquares(torch.from_numpy(codebook))
        assert solver.rank == np.linalg.matrix_rank(codebook)
        inside = random.normal(size=(4, len(codebook))) @ codebook
        np.testing.assert_allclose(solver.combine(torch.from_numpy(inside)), inside, atol=1e-9)
        rows = random.normal(size=(4, 8))
        weights = solver.weights(torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(weights, np.linalg.lstsq(codebook.T, rows.T, rcond=None)[0].T, atol=1e-8)


def test_features_of_a_small_codebook(pair):
    _, prior = pair()
    prior.net.quantizer.codebook.data[3:] = prior.net.quantizer.codebook.data[0]  # three different codes
    part = Features(prior)
    part.add(make_views(None, prior)[0])
    result = part.result()["features"]
    errors = [result[kind]["relative_error"] for kind in ("unquantised", "least_squares", "nearest")]
    assert errors[0] == 0 and errors[0] < errors[1] < errors[2]
    assert result["codebook_rank"] == {"quantizer": 3}
    assert "does not span" in "\n".join(part.lines())


def test_attention_map_is_the_formula():
    layer = SinCAAttention(8, num_heads=2)
    x, c = torch.randn(1, 6, 8), torch.randn(5, 8)
    both = np.concatenate([x[0].numpy(), c.numpy()])
    query, key = (w.weight.detach().numpy().T for w in (layer.query, layer.key))
    scores = np.stack([(x[0].numpy() @ query)[:, h] @ (both @ key)[:, h].T / 2 for h in (slice(0, 4), slice(4, 8))])
    literal = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    with torch.no_grad():
        weights = layer.attention_map(x, c)
        rows = layer.attention_map(x, c, torch.tensor([4, 1]))
        _, same = layer(x, c, need_weights=True)
    np.testing.assert_allclose(weights[0], literal, atol=1e-6)
    np.testing.assert_allclose(weights.sum(dim=-1), 1, atol=1e-6)
    torch.testing.assert_close(rows, weights[:, :, [4, 1]])
    assert torch.equal(weights, same)


@pytest.mark.parametrize(("kind", "low", "high"), [("SinCA", 0, 1), ("CrossAttention", 1, 1), ("SelfAttention", 0, 0)])
def test_share_of_the_codes(pair, monkeypatch, kind, low, high):
    net, prior = pair(quantizer={"type": kind, "depth": 2, "num_heads": 2})
    monkeypatch.setattr("vqcnir_arch.analysis.attention_maps.MAP_VALUES", 300)  # many pieces
    part = AttentionMaps(net, [(0, 0), (49, 36)])
    view = make_views(net, prior)[0]
    view.shown = True
    part.add(view)
    quantizer = net.net.quantizer
    layers = part.result()["attention"]["layers"]
    for result, (layer, features) in zip(
        layers, attention_inputs(quantizer, view.restored.codes[0].features), strict=True
    ):
        with torch.no_grad():
            _, weights = layer(features, quantizer.codebook, need_weights=True)
        codes = weights[..., -32:] if kind != "SelfAttention" else weights[..., :0]
        assert result["code_share"] == pytest.approx(float(codes.sum(-1).mean()), abs=1e-6)
        assert low - 1e-6 <= result["code_share"] <= high + 1e-6
        assert result["even_share"] == pytest.approx({"SinCA": 32 / (35 + 32)}.get(kind, low))
        if kind != "SelfAttention":
            largest = codes.mean(dim=1)[0].argmax(dim=1).unique()
            assert result["argmax_usage"] == len(largest) / 32
    assert len(part.lines()) == 4
    assert part.pictures[0]["queries"] == [(0, 0), (49, 36)]
    own, on_codes = part.pictures[0]["layers"][0]
    total = on_codes.sum(axis=1) + (own.sum(axis=(1, 2)) if own is not None else 0)
    np.testing.assert_allclose(total, 1, atol=1e-5)
    with pytest.raises(UserError, match="--query 50,0 is outside of '0', 50 x 37"):
        AttentionMaps(net, [(50, 0)]).queries_of(view)


def test_pieces_are_the_whole_map(monkeypatch):
    layer = SinCAAttention(8, num_heads=2)
    x, c, rows = torch.randn(1, 6, 8), torch.randn(5, 8), torch.tensor([5, 0, 3])
    monkeypatch.setattr("vqcnir_arch.analysis.attention_maps.MAP_VALUES", 2 * 11)
    pieces = list(head_mean_maps(layer, x, c, rows))
    assert len(pieces) == 3
    torch.testing.assert_close(torch.cat(pieces), layer.attention_map(x, c)[0].mean(dim=0)[rows].detach())


def test_sparsity_of_known_weights():
    equal, single, half = torch.full((1, 200), -0.5), torch.zeros(1, 200), torch.zeros(1, 200)
    single[0, 7] = 3
    half[0, :2] = torch.tensor([1.0, -1.0])
    found = sparsity(torch.cat([equal, single, half]))
    for measure in ("participation", "perplexity"):
        torch.testing.assert_close(found[measure], torch.tensor([200.0, 1, 2]).double())
    torch.testing.assert_close(found["top_1"], torch.tensor([1 / 200, 1, 0.5]).double())
    torch.testing.assert_close(found["top_100"], torch.tensor([0.5, 1, 1]).double())
    torch.testing.assert_close(found["negative"], torch.tensor([1.0, 0, 0.5]).double())


def test_weights_are_those_that_make_the_output(pair):
    net, prior = pair(quantizer={"type": "VectorRegression"})
    view = make_views(net, prior)[0]
    part = RegressionWeights(net, seed=0)
    part.add(view)
    kept = torch.cat(part.kept["quantizer"])
    outputs = view.restored.rows(0, view.restored.codes[0].output)
    assert kept.shape == (35, 32)  # fewer positions than are kept at most: all of them
    torch.testing.assert_close(kept @ net.net.quantizer.codebook.detach(), outputs, atol=1e-4, rtol=1e-4)
    summary = part.result()["regression"][0]
    assert summary["participation"] == pytest.approx(float(sparsity(kept)["participation"].mean()))


class TwoCodebooks(VQNetwork):
    """A host that the analysis knows nothing of: two mixed codebooks, and may magnify."""

    def __init__(self, scale):
        super().__init__()
        self.padding, self.scale, self.size_multiple = "exact", scale, 8 // scale
        self.encoder = nn.Conv2d(3, 4, self.size_multiple, stride=self.size_multiple)
        self.first, self.second = NearestCode(6, 4), NearestCode(9, 4)
        self.decode = nn.ConvTranspose2d(4, 3, 8, stride=8)

    def compute(self, x):
        feature = self.encoder(x)
        return self.decode(self.first(feature).output + 0.5 * self.second(-feature).output)


def test_a_host_with_two_codebooks_that_magnifies():
    net, prior = Probe(TwoCodebooks(2).eval(), "net"), Probe(TwoCodebooks(1).eval(), "prior")
    with pytest.raises(UserError, match="prior is not the prior of net: their codebooks differ"):
        check_prior(prior, net)
    for theirs, ours in zip(prior.quantizers.values(), net.quantizers.values(), strict=True):
        theirs.codebook.data.copy_(ours.codebook.data)
    check_prior(prior, net)
    random = np.random.default_rng(0)
    lq, gt = (random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((21, 34), (42, 68)))
    view = View("0", lq, gt, net, prior)
    assert view.restored.image.shape == view.truth.image.shape == (1, 3, 42, 68)
    assert view.restored.cells == view.truth.cells == [(6, 9), (6, 9)]
    assert view.restored_clean.codes[0].features.shape == view.truth.codes[0].features.shape
    usage, choice = Usage(net, prior), Choice(net, prior)
    usage.add(view)
    choice.add(view)
    rows = [row for row in usage.result()["usage"] if row["source"] == "input"]
    assert [row["codebook"] for row in rows] == ["first", "second", "all"]
    assert rows[2]["counts"] == rows[0]["counts"] + rows[1]["counts"] and len(rows[2]["counts"]) == 15
    accuracy = choice.result()["choice"]["codes"]["input"]["accuracy"]
    assert accuracy["all"] == pytest.approx((accuracy["first"] + accuracy["second"]) / 2)
    assert list(choice.result()["choice"]["codes"]["truth"]["scores"]) == [FULL]  # no variant is known for it


def test_what_cannot_be_looked_into(make_tiny):
    with pytest.raises(UserError, match="conv: Conv2d has no codebook"):
        Probe(nn.Conv2d(1, 1, 1), "conv")
    prior = make_tiny("VQGANPrior").eval()
    probe = Probe(prior, "prior")
    with pytest.raises(UserError, match=r"the imposed feature is \[1, 16, 4, 4\], quantizer 'quantizer' gives"):
        probe.run(torch.rand(1, 3, 40, 40), [torch.zeros(1, 16, 4, 4)])
    compute = prior.compute
    prior.compute = lambda x: compute(compute(x))
    with pytest.raises(UserError, match="quantizer 'quantizer' is called more than once"):
        probe.run(torch.rand(1, 3, 16, 16))
    prior.compute = lambda x: x
    with pytest.raises(UserError, match="does not call quantizer 'quantizer'"):
        truth_run(probe, torch.rand(1, 3, 16, 16), None)
