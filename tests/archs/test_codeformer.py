"""CodeFormer: published outputs and files, fidelity weight, quantizers, prior."""

from __future__ import annotations

import pytest
import torch
from face_goldens import check_codes, check_image, check_inner, check_names, face_gmacs, keep_outputs, stored_part
from golden_fill import golden_blocky_input, golden_state_dict
from host_goldens import load_golden
from network_facts import check_learns_and_reloads, check_same, count, frozen_names

import vqcnir_arch
from vqcnir_arch.archs import CodeFormer
from vqcnir_arch.archs.codeformer_arch import adaptive_instance_norm
from vqcnir_arch.archs.loading import detect
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.inference import restore_tensor

SMALL = {"channels": [32, 32, 64], "codebook_size": 24, "code_dim": 32, "image_size": 32}
QUANTIZERS = [
    {"type": "CodePrediction", "attention": "CodeFormer", "depth": 1, "num_heads": 2},
    {"type": "CodePrediction", "attention": "SinCA", "depth": 1, "num_heads": 2},
    {"type": "SinCA", "depth": 1, "num_heads": 2},
    {"type": "CrossAttention", "depth": 1, "num_heads": 2},
    {"type": "SelfAttention", "depth": 1, "num_heads": 2},
    {"type": "VectorRegression"},
    {"type": "NearestCode"},
]
QUANTIZER_NAMES = [q.get("attention", "") + q["type"] for q in QUANTIZERS]
# fusion lets the features grow to 2e5, and the errors with them
CASES = {"cf_w0_512": (0, False, 1e-4), "cf_w1_512": (1, False, 2e-4), "cf_w0.5_adain_512": (0.5, True, 2e-4)}


def test_golden(monkeypatch):
    golden = load_golden("codeformer")
    net = CodeFormer().eval()
    net.load_state_dict(golden_state_dict(net))
    x = golden_blocky_input(0, (1, 3, 512, 512))
    with torch.no_grad():
        feature, levels = net.encoder(x * 2 - 1, return_levels=True)
        monkeypatch.setattr(net.encoder, "forward", lambda x, return_levels: (feature, levels))  # once for all cases
        for case, (w, adain, tolerance) in CASES.items():
            places = {f"fuse.{512 >> int(level)}": part for level, part in net.fusions.items()} if w == 1 else {}
            with keep_outputs(places) as seen:
                image, codes = net(x, w=w, adain=adain, return_codes=True)
            check_image(golden, case, image, tolerance)
            check_codes(golden.arrays["cf/indices"], codes.indices)
            check_inner(golden, case, seen)
    assert stored_part(golden, "cf/lq_feat", codes.features) < 1e-4
    logits = codes.logits.flatten(2).transpose(1, 2)[:, ::8, ::8]
    torch.testing.assert_close(logits, torch.from_numpy(golden.arrays["cf/logits_stride"]), atol=5e-5, rtol=0)


def test_parameters_and_names(published_keys):
    with torch.device("meta"):
        net = CodeFormer(freeze_prior=True)
    assert count(net.parameters()) == 94_112_707
    assert count(p for p in net.parameters() if not p.requires_grad) == 34_324_099
    check_names(net, published_keys("codeformer")["codeformer"])


def test_cost():
    assert face_gmacs(CodeFormer, w=0) == pytest.approx(295.8, abs=0.2)
    assert face_gmacs(CodeFormer, w=1) == pytest.approx(404.9, abs=0.2)


def test_published_file(tmp_path):
    net = CodeFormer(**SMALL).eval()
    state = golden_state_dict(net)
    assert detect(state)[0] is CodeFormer
    torch.save({"params": {n: torch.zeros_like(t) for n, t in state.items()}, "params_ema": state}, tmp_path / "p.pth")
    loaded = vqcnir_arch.load_network(tmp_path / "p.pth")
    net.load_state_dict(state)
    check_same(net, loaded, torch.rand(1, 3, 32, 32))
    del state["feat_emb.weight"]
    with pytest.raises(UserError, match=r"feat_emb\.weight|quantizer\.transformer\.embed\.weight"):
        vqcnir_arch.load_network(state)


@pytest.mark.parametrize("sizes", [[128, 64, 32], []], ids=["inpainting", "stage II"])
def test_published_files_with_fewer_fusions(sizes):
    """CodeFormer's inpainting has no fusion at 256, its stage II none at all: a file says so by its names."""
    small = {"channels": [32] * 6, "codebook_size": 24, "code_dim": 32, "image_size": 512}
    net = CodeFormer(**small, fusion_sizes=sizes).eval()
    state = golden_state_dict(net)
    assert {int(name.split(".")[1]) for name in state if name.startswith("fuse_convs_dict.")} == set(sizes)
    loaded = vqcnir_arch.load_network(state)
    assert loaded.options["fusion_sizes"] == sizes
    assert [512 >> int(level) for level in loaded.fusions] == sizes
    if sizes:
        assert loaded.adaptive_layer() is loaded.fusions["2"].shift[-1]
    else:
        with pytest.raises(UserError, match="fusion_sizes is empty"):
            loaded.adaptive_layer()


@pytest.mark.parametrize("sizes", [[16], [32, 32], [512], [100]])
def test_wrong_fusion_sizes_are_named(sizes):
    with pytest.raises(UserError, match=r"fusion_sizes: expected some of 256, 128, 64, 32, each once"):
        CodeFormer(channels=[32] * 6, codebook_size=24, code_dim=32, fusion_sizes=sizes)


def test_fidelity_weight(make_tiny):
    """A number and a tensor give the same; one weight per image; 0 leaves the fusion out."""
    net = make_tiny("CodeFormer", w=0.7).eval()
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        images = {w: net(x, w=w) for w in (0, 0.3, 0.7)}
        assert torch.equal(net(x), images[0.7])
        torch.testing.assert_close(net(x, w=torch.tensor(0.3)), images[0.3])
        torch.testing.assert_close(net(x, w=torch.tensor(0.0)), images[0])
        mixed = net(x, w=torch.tensor([0.3, 0.7]))
    torch.testing.assert_close(mixed, torch.stack([images[0.3][0], images[0.7][1]]))
    assert (images[0.3] - images[0]).abs().max() > 1e-3
    net.fusions["1"].register_forward_pre_hook(lambda *_: pytest.fail("w 0 must not compute the fusion"))
    net(x, w=0)


def test_adaptive_instance_norm(make_tiny):
    x, style = torch.rand(2, 4, 5, 5) * 3, torch.rand(2, 4, 5, 5)
    normed = adaptive_instance_norm(x, style)
    torch.testing.assert_close(normed.mean((2, 3)), style.mean((2, 3)))
    torch.testing.assert_close(normed.std((2, 3)), style.std((2, 3)), rtol=1e-3, atol=1e-4)
    net = make_tiny("CodeFormer").eval()
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(net(image), net(image, adain=True))  # the published inference
        assert torch.equal(net.train()(image), net(image, adain=False))  # and training


def test_size(make_tiny):
    with pytest.raises(UserError, match="CodeFormer takes images of 16x16 pixels alone, got 24x16"):
        make_tiny("CodeFormer")(torch.rand(1, 3, 16, 24))


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=QUANTIZER_NAMES)
@pytest.mark.parametrize("name", ["CodeFormer", "DAEFR"])
def test_quantizers(make_tiny, name, quantizer):
    net = make_tiny(name, quantizer=quantizer)
    x, target = torch.rand(2, 2, 3, 16, 16)
    check_learns_and_reloads(net, x, target)
    with torch.no_grad():
        _, codes = net(x, return_codes=True)
        nothing, same = net(x, return_codes=True, decode=False)
    assert nothing is None
    torch.testing.assert_close(same.output, codes.output)


def test_sizes_of_the_transformers():
    """SinCA's appendix A: nine layers at the codebook's width of 256, where the published transformer has 512."""
    with torch.device("meta"):
        nets = {kind: CodeFormer(quantizer={"type": kind}) for kind in ("CodePrediction", "SinCA")}
    published, sinca = nets["CodePrediction"].quantizer.transformer, nets["SinCA"].quantizer.transformer
    assert len(published.layers) == len(sinca.layers) == 9
    assert published.width == 512
    assert sinca.layers[0].attention.query.weight.shape == (256, 256)


def test_predicted_codes_pass_no_gradient(make_tiny):
    net = make_tiny("CodeFormer")
    net(torch.rand(1, 3, 16, 16), w=1.0).mean().backward()
    assert all(p.grad is None for n, p in net.named_parameters() if n.startswith(("encoder.", "quantizer.")))
    assert all(p.grad is not None for n, p in net.named_parameters() if n.startswith("fusions."))


def test_prior(make_tiny, tmp_path):
    prior, path = make_tiny("FaceVQGANPrior"), str(tmp_path / "prior.pth")
    torch.save({"params": prior.state_dict()}, path)
    net = make_tiny("CodeFormer", randomize=False, prior=path)
    own = net.state_dict()
    assert all(torch.equal(own[n], t) for n, t in prior.state_dict().items() if n != "_extra_state")
    frozen = {n for n in own if n.startswith("generator.")} | {"quantizer.codebook"}
    assert frozen_names(net) == frozen
    assert frozen_names(make_tiny("CodeFormer", prior=path, freeze_prior=False)) == {"quantizer.codebook"}

    with pytest.raises(UserError, match=r"prior\.pth' has other options .* flavour codeformer instead of daefr"):
        make_tiny("DAEFR", prior=path)
    with pytest.raises(UserError, match=r"quantizer\.codebook \[32, 16\] instead of \[16, 16\]"):
        make_tiny("CodeFormer", prior=path, codebook_size=16)
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, path)
    with pytest.raises(UserError, match="is a VQGANPrior, expected a FaceVQGANPrior"):
        make_tiny("CodeFormer", prior=path)


@pytest.mark.parametrize("name", ["CodeFormer", "DAEFR"])
def test_half_precision_keeps_the_codes(make_tiny, name):
    """What decides them stays in float32: logits and codes are the same bit for bit, the image is not."""
    net = make_tiny(name).eval()
    x, seen = torch.rand(4, 3, 16, 16), []
    net.quantizer.register_forward_hook(lambda module, inputs, codes: seen.append(codes))
    exact, half = restore_tensor(net, x), restore_tensor(net, x, "bf16")
    assert torch.equal(seen[0].logits, seen[1].logits) and torch.equal(seen[0].indices, seen[1].indices)
    assert 0 < (exact - half).abs().max() < 0.1
