"""DAEFR: published outputs and files, what restoring does not compute, the three priors."""

from __future__ import annotations

import pytest
import torch
from face_goldens import check_codes, check_image, check_inner, check_names, face_gmacs, keep_outputs, save_lightning
from golden_fill import golden_blocky_input, golden_state_dict
from host_goldens import load_golden
from network_facts import check_same, count, frozen_names

import vqcnir_arch
from vqcnir_arch.archs import DAEFR, AssociatedPriors, FaceVQGANPrior
from vqcnir_arch.archs.loading import detect
from vqcnir_arch.archs.published.layout import published_names
from vqcnir_arch.errors import UserError
from vqcnir_arch.safe_pickles import LIGHTNING_CALLBACKS

SMALL = {"channels": [32, 32, 64], "codebook_size": 24, "code_dim": 32, "image_size": 32}


def test_golden():
    golden, case = load_golden("daefr"), "forward_512"
    net = DAEFR().eval()
    net.load_state_dict(golden_state_dict(net))
    places = {"cross": net.fusion, "z_h": net.before_quant, "z_h_HQ": net.hq_before_quant}
    with torch.no_grad(), keep_outputs(places) as seen:
        image, codes = net(golden_blocky_input(4, (1, 3, 512, 512)), return_codes=True)
    check_image(golden, case, image, 1e-4)
    check_inner(golden, case, seen)
    check_codes(golden.arrays[f"{case}/indices"], codes.indices)
    logits = codes.logits.flatten(2).transpose(1, 2)[:, ::8, ::8]
    torch.testing.assert_close(logits, torch.from_numpy(golden.arrays[f"{case}/logits_stride"]), atol=5e-5, rtol=0)


def test_parameters_and_names(published_keys):
    with torch.device("meta"):
        net = DAEFR(freeze_prior=True)
    assert count(net.parameters()) == 152_151_235
    check_names(net, published_keys("daefr")["daefr"])


def test_published_file(tmp_path, monkeypatch):
    net = DAEFR(**SMALL).eval()
    state = golden_state_dict(net)
    assert detect(state)[0] is DAEFR
    save_lightning(tmp_path / "published.ckpt", state, LIGHTNING_CALLBACKS, monkeypatch)
    loaded = vqcnir_arch.load_network(tmp_path / "published.ckpt")
    net.load_state_dict(state)
    check_same(net, loaded, torch.rand(1, 3, 32, 32))


def test_restoring_leaves_out_what_it_does_not_need(make_tiny):
    net = make_tiny("DAEFR").eval()
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        image = net(x)
        for name in ("fixed_encoder", "fixed_before_quant"):
            for parameter in net.get_submodule(name).parameters():
                parameter.fill_(float("nan"))
        net.hq_codebook.fill_(float("nan"))
        net.lq_codebook.fill_(float("nan"))
        assert torch.equal(net(x), image)


def test_cost():
    """Of two encoders and the decoder: the third encoder does not run."""
    assert face_gmacs(DAEFR) == pytest.approx(453.4, abs=0.3)


@pytest.fixture
def priors(make_tiny, tmp_path):
    made = {name: make_tiny("FaceVQGANPrior", flavour="daefr") for name in ("clean", "hq", "lq")}
    for name, prior in made.items():
        torch.save({"params": prior.state_dict()}, tmp_path / f"{name}.pth")
    return made


def check_start(net, priors):
    own = net.state_dict()

    def same(mine, prior, theirs):
        found = {n: t for n, t in priors[prior].state_dict().items() if n.startswith(theirs)}
        assert found and all(torch.equal(own[mine + n.removeprefix(theirs)], t) for n, t in found.items())

    for part in ("generator.", "after_quant.", "quantizer."):
        same(part, "clean", part)
    for part in ("encoder.", "before_quant."):
        same(f"fixed_{part}", "clean", part)
        same(f"hq_{part}", "hq", part)
        same(part, "lq", part)
    same("hq_codebook", "hq", "quantizer.codebook")
    same("lq_codebook", "lq", "quantizer.codebook")


def test_three_priors(make_tiny, priors, tmp_path):
    paths = {"prior": "clean", "hq_prior": "hq", "lq_prior": "lq"}
    net = make_tiny("DAEFR", randomize=False, **{key: str(tmp_path / f"{name}.pth") for key, name in paths.items()})
    check_start(net, priors)
    frozen = ("generator.", "after_quant.", "fixed_")
    unused = {n for n in net.state_dict() if ".query_norm." in n and not n.startswith("fusion.")}
    codebooks = {"quantizer.codebook", "hq_codebook", "lq_codebook"}
    assert frozen_names(net) == {n for n in net.state_dict() if n.startswith(frozen)} | codebooks | unused
    assert not any("prior" in name for name in net.options)

    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(net.target_codes(x).indices, priors["clean"](x, decode=False)[1].indices)


def test_published_association_file(tmp_path, monkeypatch):
    """One file holds both associated priors."""
    sizes = {key: value for key, value in SMALL.items() if key != "image_size"}
    priors = {name: FaceVQGANPrior(flavour="daefr", **sizes) for name in ("clean", "hq", "lq")}
    torch.save({"params": priors["clean"].state_dict()}, tmp_path / "clean.pth")
    state = {"logit_scale": torch.zeros(()), "loss.logvar": torch.zeros(()), "loss_LQ.logvar": torch.zeros(())}
    for beginning, prior in (("vqvae.", priors["hq"]), ("vqvae_LQ.", priors["lq"])):
        own = prior.state_dict()
        tensors = {published: own[name] for name, published in published_names(prior).items()}
        state |= {beginning + n.removeprefix("vqvae."): t for n, t in tensors.items()}
    path = str(tmp_path / "Association_stage.ckpt")
    save_lightning(path, state, LIGHTNING_CALLBACKS, monkeypatch)
    check_start(DAEFR(**SMALL, prior=str(tmp_path / "clean.pth"), hq_prior=path, lq_prior=path), priors)
    both = vqcnir_arch.load_network(path)
    assert isinstance(both, AssociatedPriors) and both.logit_scale == 0
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(both(x, lq=x), torch.cat([priors["hq"].eval()(x), priors["lq"].eval()(x)]))


def test_size(make_tiny):
    with pytest.raises(UserError, match="DAEFR takes images of 16x16 pixels alone, got 32x16"):
        make_tiny("DAEFR")(torch.rand(1, 3, 16, 32))
