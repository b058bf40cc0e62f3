"""DAEFR's association: two priors in one network, its loss, its model."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_OPTIONS
from model_experiments import built, experiment

import vqcnir_arch
from vqcnir_arch.errors import UserError
from vqcnir_arch.losses import AssociationLoss

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")
LOSSES = {
    "pixel_opt": {"type": "L1Loss"},
    "codebook_opt": {"type": "CodebookLoss", "beta_on": "codebook"},
    "association_opt": {"type": "AssociationLoss"},
}


def test_loss_is_symmetric_info_nce():
    """Against a sum written out over all pairs of positions."""
    first, second = torch.randn(2, 2, 5, 2, 3)
    scale = torch.tensor(7.0)
    a, b = (x.permute(0, 2, 3, 1).reshape(12, 5) for x in (first, second))
    expected = 0.0
    for i in range(12):
        cosines = [F.cosine_similarity(a[i], b[j], dim=0).item() for j in range(12)]
        others = [F.cosine_similarity(a[j], b[i], dim=0).item() for j in range(12)]
        for row in (cosines, others):
            expected -= 7 * row[i] - math.log(sum(math.exp(7 * c) for c in row))
    assert AssociationLoss()(first, second, scale).item() == pytest.approx(expected / 24, rel=1e-5)
    assert AssociationLoss()(first, second, torch.tensor(1e6)) == AssociationLoss()(first, second, torch.tensor(100.0))
    assert AssociationLoss(0.5)(first, second, scale).item() == pytest.approx(expected / 48, rel=1e-5)


@pytest.fixture
def model(make_tiny, tmp_path):
    """Return a function that builds the model from two saved priors."""

    def build(gan=True, train_scale=None, **train):
        for name in ("hq", "lq"):
            state = make_tiny("FaceVQGANPrior", flavour="daefr").state_dict()
            torch.save({"params": state}, tmp_path / f"{name}.pth")
        network = {"type": "AssociatedPriors", **copy.deepcopy(TINY_OPTIONS["AssociatedPriors"])}
        network |= {f"{name}_prior": str(tmp_path / f"{name}.pth") for name in ("hq", "lq")}
        losses = copy.deepcopy(LOSSES)
        if gan:
            losses["gan_opt"] = {"type": "GANLoss", "gan_type": "hinge", "loss_weight": 0.8}
        options = experiment(
            "VQAssociationModel", {**network, **({} if train_scale is None else {"train_scale": train_scale})}, losses
        )
        options["network_d"] = {"type": "PatchDiscriminator", "num_feat": 4, "num_layers": 2}
        options["train"]["optim_d"] = dict(options["train"]["optim_g"])
        options["train"].update(train)
        options["path"] = {"models": str(tmp_path), "training_states": str(tmp_path)}
        return built(options)

    return build


def step(model, iteration):
    model.feed_data({"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 16, 16)})
    model.optimize_parameters(iteration)
    return model.get_current_log()


def test_training(model, tmp_path):
    """Both priors, both discriminators and the scale train; the GAN begins when it is told to."""
    made = model(train_scale=True, adaptive_gan_weight=1e4, gan_start_iter=1)
    hq = torch.load(tmp_path / "hq.pth")["params"]["quantizer.codebook"]
    assert torch.equal(made.net_g.hq.quantizer.codebook, hq)
    before = {n: p.detach().clone() for net in (made.net_g, made.net_d) for n, p in net.named_parameters()}
    assert "l_g_gan" not in step(made, 1)
    assert all(torch.equal(p, before[n]) for n, p in made.net_d.named_parameters())
    log = step(made, 2)
    assert {"l_pix", "l_codebook", "l_associate", "l_g_gan", "l_d_real", "l_d_fake"} <= set(log)
    still = {n for net in (made.net_g, made.net_d) for n, p in net.named_parameters() if torch.equal(p, before[n])}
    assert all(".query_norm." in name for name in still if name.endswith("weight"))  # biases of keys have no gradient

    made.save(0, 2)
    loaded = vqcnir_arch.load_network(tmp_path / "net_g_2.pth")
    assert torch.equal(loaded.logit_scale, made.net_g.logit_scale)
    assert all(torch.equal(t, made.net_g.state_dict()[n]) for n, t in loaded.state_dict().items())


def test_scale_as_published(model):
    made = model(gan=False)
    before = made.net_g.logit_scale.item()
    step(made, 1)
    assert before == made.net_g.logit_scale.item() == pytest.approx(math.log(1 / 0.07))


def test_contradictions(model):
    with pytest.raises(UserError, match="grad_accumulation: the association compares all faces"):
        model(grad_accumulation=2)
    with pytest.raises(UserError, match="association_opt is missing"):
        model(association_opt=None)
    with pytest.raises(UserError, match="adaptive_gan_weight: there is no gan_opt"):
        model(gan=False, adaptive_gan_weight=1.0)
