"""FaceVQGANPrior in both flavours: published outputs and files, sizes, codes."""

from __future__ import annotations

import pytest
import torch
from face_goldens import (
    check_codes,
    check_image,
    check_inner,
    check_names,
    keep_outputs,
    save_lightning,
    stored_part,
)
from golden_fill import golden_input, golden_state_dict, golden_tensor
from host_goldens import load_golden
from network_facts import check_same, count

import vqcnir_arch
from vqcnir_arch.archs import FaceVQGANPrior
from vqcnir_arch.archs.loading import detect
from vqcnir_arch.errors import UserError
from vqcnir_arch.safe_pickles import LIGHTNING_CALLBACKS

SMALL = {"channels": [32, 32, 64], "codebook_size": 24, "code_dim": 8}
SIZES = {"codeformer": 63_740_099, "daefr": 72_680_003}


@pytest.fixture(scope="module")
def published():
    """The prior with CodeFormer's golden weights."""
    net = FaceVQGANPrior().eval()
    net.load_state_dict(golden_state_dict(net))
    return net


def test_codeformer_golden(published):
    golden = load_golden("codeformer")
    with torch.no_grad():
        image, codes = published(golden_input(0, (1, 3, 128, 64)), return_codes=True)
    check_image(golden, "vqgan_forward_128x64", image, 1e-4)
    check_codes(golden.arrays["vqgan_forward_128x64/indices"], codes.indices)


def test_codeformer_golden_512(published):
    golden, case = load_golden("codeformer"), "vqgan_forward_512"
    places = {f"enc.{i}": part for i, part in enumerate(published.encoder)}
    places |= {f"gen.{i}": part for i, part in enumerate(published.generator)}
    places = {name: part for name, part in places.items() if f"{case}/{name}" in golden.arrays}
    assert len(places) == 16
    with torch.no_grad(), keep_outputs(places) as seen:
        image, codes = published(golden_input(0, (1, 3, 512, 512)), return_codes=True)
    check_image(golden, case, image, 1e-4)
    check_inner(golden, case, seen)
    check_codes(golden.arrays[f"{case}/indices"], codes.indices)
    # β on the codebook's term: 0.25 of the one and 1 of the other are the same without gradients
    loss = 1.25 * (codes.quantized - codes.features).square().mean().item()
    assert loss == pytest.approx(golden.meta["cases"][case]["codebook_loss"], rel=1e-5)


def test_daefr_golden():
    golden, case = load_golden("daefr"), "stage1_forward_128x64"
    net = FaceVQGANPrior(flavour="daefr").eval()
    # the recipe's weights depend on the names, which have no prefix in the goldens of this stage
    state = {name: golden_tensor(name.removeprefix("vqvae."), t.shape) for name, t in golden_state_dict(net).items()}
    net.load_state_dict(state)
    with torch.no_grad():
        image, codes = net(golden_input(0, (1, 3, 128, 64)), return_codes=True)
    check_image(golden, case, image, 1e-4)
    assert stored_part(golden, f"{case}/h", codes.features) < 1e-4
    check_codes(golden.arrays[f"{case}/indices"], codes.indices)


@pytest.mark.parametrize("flavour", SIZES)
def test_parameters_and_names(published_keys, flavour):
    with torch.device("meta"):
        net = FaceVQGANPrior(flavour=flavour)
    assert count(net.parameters()) == SIZES[flavour]
    if flavour == "codeformer":
        check_names(net, published_keys("codeformer")["vqgan"])
    else:
        check_names(net, published_keys("daefr")["vqvaegan_stage1"], prefix="vqvae.")


@pytest.mark.parametrize("flavour", SIZES)
def test_published_file(tmp_path, monkeypatch, flavour):
    net = FaceVQGANPrior(flavour=flavour, **SMALL).eval()
    state = golden_state_dict(net)
    if flavour == "daefr":
        state["loss.discriminator.main.0.weight"] = torch.zeros(3)
    assert detect(state)[0] is FaceVQGANPrior
    path = tmp_path / "published.ckpt"
    if flavour == "codeformer":
        torch.save({"params_ema": state}, path)
    else:
        save_lightning(path, state, LIGHTNING_CALLBACKS, monkeypatch)
    loaded = vqcnir_arch.load_network(path)
    net.load_state_dict(state)
    x = torch.rand(1, 3, 9, 21)
    assert check_same(net, loaded, x).shape == x.shape


def test_other_classes_in_a_file_stay_refused(tmp_path, monkeypatch):
    state = golden_state_dict(FaceVQGANPrior(**SMALL))
    path = tmp_path / "bad.ckpt"
    save_lightning(path, state, ["pytorch_lightning.callbacks.base.Callback"], monkeypatch)
    with pytest.raises(UserError, match=r"bad\.ckpt' is not a file of tensors"):
        vqcnir_arch.load_network(path)


def test_flavours_refuse_each_other():
    state = golden_state_dict(FaceVQGANPrior(flavour="daefr", **SMALL))
    with pytest.raises(RuntimeError, match="conv_in"):
        FaceVQGANPrior(**SMALL).load_state_dict(state)
    with pytest.raises(UserError, match="flavour 'deafr' is unknown"):
        FaceVQGANPrior(flavour="deafr", **SMALL)


@pytest.mark.parametrize("flavour", SIZES)
def test_decodes_its_own_codes(make_tiny, flavour):
    prior = make_tiny("FaceVQGANPrior", flavour=flavour).eval()
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        image, codes = prior(x, return_codes=True)
        assert torch.allclose(prior.decode_indices(codes.indices), image, atol=1e-4 * image.std().item())
        nothing, same = prior(x, decode=False)
    assert nothing is None and torch.equal(same.indices, codes.indices)
    assert codes.indices.shape == (1, 2, 3)
