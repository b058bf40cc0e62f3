"""The GAN of the face networks' stages: its discriminator, its start and its adaptive weight."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import TINY_OPTIONS
from model_experiments import built, experiment

from vqcnir_arch.archs.patch_discriminator_arch import PatchDiscriminator
from vqcnir_arch.errors import UserError
from vqcnir_arch.models.gan import gradient_ratio

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


def test_gradient_ratio():
    weight, a, b = torch.nn.Parameter(torch.randn(4, 3)), torch.randn(4, 3), torch.randn(4, 3)
    others, gan = 3 * (weight * a).sum(), (weight * b).sum()
    expected = 3 * a.norm() / (b.norm() + 1e-4)
    torch.testing.assert_close(gradient_ratio(others, gan, weight, 1e4), expected)
    assert gradient_ratio(others, gan, weight, 0.01) == pytest.approx(0.01)
    assert weight.grad is None


def test_patch_discriminator():
    """Every score sees a patch alone, and the layers are as many as asked for."""
    net = PatchDiscriminator(num_feat=8).eval()
    assert [m.stride[0] for m in net if isinstance(m, torch.nn.Conv2d)] == [2, 2, 2, 2, 1, 1]
    assert [m.out_channels for m in net if isinstance(m, torch.nn.Conv2d)] == [8, 16, 32, 64, 64, 1]
    x = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        before = net(x)
        x[..., -1, -1] += 1
        changed = net(x) != before
    assert before.shape == (1, 1, 14, 14)
    assert changed[..., -1, -1] and not changed[..., :5, :5].any()


@pytest.fixture
def model(make_tiny, tmp_path):
    """Return a function that builds stage III of CodeFormer, or stage I, with a GAN."""

    def build(stage, **train):
        torch.save({"params": make_tiny("FaceVQGANPrior").state_dict()}, tmp_path / "prior.pth")
        losses = {"pixel_opt": {"type": "L1Loss"}, "gan_opt": {"type": "GANLoss", "gan_type": "hinge"}}
        if stage == 1:
            network = {"type": "FaceVQGANPrior", **copy.deepcopy(TINY_OPTIONS["FaceVQGANPrior"])}
            losses["codebook_opt"] = {"type": "CodebookLoss"}
        else:
            network = {"type": "CodeFormer", **copy.deepcopy(TINY_OPTIONS["CodeFormer"])}
            network["prior"] = str(tmp_path / "prior.pth")
            losses["token_opt"] = {"type": "TokenCrossEntropyLoss"}
        options = experiment("VQPriorModel" if stage == 1 else "VQRestorationModel", network, losses, **train)
        options["network_d"] = {"type": "PatchDiscriminator", "num_feat": 4, "num_layers": 2}
        options["train"]["optim_d"] = dict(options["train"]["optim_g"])
        return built(options)

    return build


def gan_loss(model, iteration):
    torch.manual_seed(1)
    model.feed_data({"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 16, 16)})
    model.optimize_parameters(iteration)
    loss = model.log_dict.get("l_g_gan")
    return None if loss is None else float(loss)


@pytest.mark.parametrize("stage", [1, 3])
def test_start(model, stage):
    made = model(stage, gan_start_iter=1)
    before = {name: p.detach().clone() for name, p in made.net_d.named_parameters()}
    assert gan_loss(made, 1) is None
    assert all(torch.equal(p, before[name]) for name, p in made.net_d.named_parameters())
    assert gan_loss(made, 2) is not None
    assert any(not torch.equal(p, before[name]) for name, p in made.net_d.named_parameters())


@pytest.mark.parametrize("stage", [1, 3])
def test_adaptive_weight(model, stage):
    """The GAN loss is the plain one times the ratio, which is the same whatever its own weight is."""
    torch.manual_seed(0)
    plain = gan_loss(model(stage), 1)
    torch.manual_seed(0)
    adaptive = gan_loss(model(stage, adaptive_gan_weight=1e4), 1)
    torch.manual_seed(0)
    limited = gan_loss(model(stage, adaptive_gan_weight=1e-3), 1)
    assert limited == pytest.approx(1e-3 * plain, rel=1e-4)
    assert adaptive / plain > 1e-2 and adaptive != pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize("residual", [False, True])
def test_frozen_layer_is_refused(make_tiny, tmp_path, residual):
    """The prior's output layer is frozen with the prior; with `residual` the image has a layer of its own."""
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, tmp_path / "prior.pth")
    network = {"type": "VQCNIR", **copy.deepcopy(TINY_OPTIONS["VQCNIR"]), "residual": residual}
    network |= {"prior": str(tmp_path / "prior.pth"), "freeze_prior": True}
    losses = {"pixel_opt": {"type": "L1Loss"}, "gan_opt": {"type": "GANLoss", "gan_type": "hinge"}}
    options = experiment("VQRestorationModel", network, losses, adaptive_gan_weight=1.0)
    options["network_d"] = {"type": "PatchDiscriminator", "num_feat": 4, "num_layers": 2}
    options["train"]["optim_d"] = dict(options["train"]["optim_g"])
    if residual:
        assert gan_loss(built(options), 1) is not None
        return
    with pytest.raises(UserError, match=r"adaptive_gan_weight compares gradients at out_conv, which .* is frozen"):
        built(options)


def test_needs_a_loss_to_compare_with(model):
    with pytest.raises(UserError, match="adaptive_gan_weight needs pixel_opt or perceptual_opt"):
        model(1, adaptive_gan_weight=1.0, pixel_opt=None)
