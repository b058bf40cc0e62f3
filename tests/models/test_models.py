"""VQPriorModel and VQRestorationModel: one training step with every loss, what moves, what a stage starts from."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import SMALL_PUBLISHED_OPTIONS
from model_experiments import (
    SIZE,
    batch,
    built,
    moved,
    own_values,
    prior_experiment,
    restoration_experiment,
    snapshot,
    step,
    with_gan,
)
from torch import nn

from vqcnir_arch import load_network
from vqcnir_arch.options import check_options

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


def test_prior_step_with_all_losses(vgg19_file):
    options = with_gan(
        prior_experiment(
            perceptual_opt={"type": "VGG19PerceptualLoss", "layers": ["relu2_2"], "weights": str(vgg19_file)},
            semantic_opt={"type": "SemanticGuidedLoss", "loss_weight": 0.1, "weights": str(vgg19_file)},
        )
    )
    options["network_g"]["semantic_dim"] = 512
    check_options(options, is_train=True)
    model = built(options)
    before_g, before_d = snapshot(model.net_g), snapshot(model.net_d)
    log = step(model)
    losses = {"l_pix", "l_codebook", "l_percep", "l_semantic", "l_g_gan", "l_d_real", "l_d_fake"}
    assert own_values(log) == losses | {"out_d_real", "out_d_fake", "codebook_usage", "perplexity"}
    assert all(np.isfinite(value) for value in log.values())
    assert moved(model.net_g, before_g) == set(before_g)  # the codebook too
    assert moved(model.net_d, before_d) >= set(before_d) - {"conv9.bias"}  # inside the hinge its gradients cancel
    # VGG and the losses hold nothing that trains
    assert not [name for name, p in model.losses.named_parameters() if p.requires_grad]


def test_codebook_rows_move_only_where_used():
    model = built(prior_experiment())
    before = model.net_g.quantizer.codebook.detach().clone()
    data = batch()
    used = torch.unique(model.net_g(data["gt"], return_codes=True)[1].indices)
    step(model, data=data)
    rows = (model.net_g.quantizer.codebook != before).any(1).nonzero().flatten()
    assert rows.tolist() == used.tolist()
    assert len(used) < len(before)


def test_prior_takes_ground_truth_or_the_only_image():
    model = built(prior_experiment())
    data = batch()
    model.feed_data(data)
    assert torch.equal(model.lq, data["gt"])
    assert torch.equal(model.gt, data["gt"])
    model.feed_data({"lq": data["lq"]})
    assert torch.equal(model.gt, data["lq"])


def test_codebook_loss_is_of_features_and_rows():
    model = built(prior_experiment())
    data = batch()
    codes = model.net_g(data["gt"], return_codes=True)[1]
    log = step(model, data=data)
    assert log["l_codebook"] == pytest.approx(1.25 * ((codes.features - codes.quantized) ** 2).mean().item(), rel=1e-5)


# stage II


def test_restoration_step_with_all_losses(prior_file, vgg19_file):
    options = with_gan(
        restoration_experiment(
            prior_file,
            perceptual_opt={"type": "VGG19PerceptualLoss", "layers": ["relu2_2"], "weights": str(vgg19_file)},
        )
    )
    check_options(options, is_train=True)
    model = built(options)
    before_g, before_d, before_t = snapshot(model.net_g), snapshot(model.net_d), snapshot(model.teacher)
    log = step(model)
    losses = {"l_pix", "l_align", "l_percep", "l_g_gan", "l_d_real", "l_d_fake"}
    assert own_values(log) == losses | {"out_d_real", "out_d_fake", "codebook_usage", "perplexity"}
    changed = moved(model.net_g, before_g)
    frozen = {n for n in before_g if n.split(".")[0] in ("generator", "after_quant", "out_conv", "quantizer")}
    assert not changed & frozen
    assert {n.split(".")[0] for n in changed} == {"encoder", "before_quant", "enhancer", "decoder"}
    # fresh scales are zero, and hold back the gradient of what stands before them for one step
    assert changed >= {n for n in before_g if n.split(".")[0] in ("encoder", "before_quant", "decoder")} - {
        n for n in before_g if ".attention." in n or ".conv_offset" in n or ".warp." in n
    }
    assert moved(model.net_d, before_d) >= set(before_d) - {"conv9.bias"}
    assert not moved(model.teacher, before_t)
    for iteration in (2, 3):
        step(model, iteration)
    assert moved(model.net_g, before_g) == set(before_g) - frozen
    assert not moved(model.teacher, before_t)


@pytest.mark.parametrize("block", ["alignment_opt", "perceptual_opt", "gan_opt", "pixel_opt"])
def test_each_loss_is_switched_by_its_block(prior_file, vgg19_file, block):
    options = with_gan(
        restoration_experiment(
            prior_file,
            perceptual_opt={"type": "VGG19PerceptualLoss", "layers": ["relu1_1"], "weights": str(vgg19_file)},
        )
    )
    keys = {"alignment_opt": "l_align", "perceptual_opt": "l_percep", "pixel_opt": "l_pix", "gan_opt": "l_g_gan"}
    options["train"][block] = None
    log = step(built(options))
    assert {key for key in log if key.startswith("l_") and "_d_" not in key} == set(keys.values()) - {keys[block]}
    assert ("l_d_real" in log) == (block != "gan_opt")


@pytest.mark.parametrize("block", ["codebook_opt", "pixel_opt"])
def test_loss_weights_reach_the_step(block):
    """A weight of zero for all losses but one leaves that one's gradient alone."""
    options = prior_experiment()
    for other in {"codebook_opt", "pixel_opt"} - {block}:
        options["train"][other]["loss_weight"] = 0.0
    model = built(options)
    before = snapshot(model.net_g)
    step(model)
    assert ("out_conv.weight" in moved(model.net_g, before)) == (block == "pixel_opt")
    assert ("quantizer.codebook" in moved(model.net_g, before)) == (block == "codebook_opt")


def test_alignment_target_is_the_priors_codes(prior_file):
    model = built(restoration_experiment(prior_file))
    seen = {}

    class Recorder(nn.Module):
        def forward(self, features, target):
            seen.update(features=features, target=target)
            return features.mean()

    model.losses["alignment_opt"] = Recorder()
    data = batch()
    prior = load_network(prior_file)
    with torch.no_grad():
        z = prior.before_quant(prior.encoder(data["gt"]))
        own = model.net_g.before_quant(model.net_g.enhancer(model.net_g.encoder(data["lq"])))
    book = prior.quantizer.codebook.detach().double()
    rows = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]).double()
    nearest = ((rows[:, None] - book[None]) ** 2).sum(-1).argmin(1)
    expected = book[nearest].view(2, SIZE // 8, SIZE // 8, -1).permute(0, 3, 1, 2).float()
    step(model, data=data)
    assert torch.equal(seen["target"], expected)
    assert not seen["target"].requires_grad
    torch.testing.assert_close(seen["features"], own)


def test_teacher_computes_codes_alone(prior_file):
    model = built(restoration_experiment(prior_file))
    called = []
    for name in ("encoder", "before_quant", "quantizer", "after_quant", "generator", "out_conv"):
        model.teacher.get_submodule(name).register_forward_hook(lambda *args, name=name: called.append(name))
    step(model)
    assert called == ["encoder", "before_quant", "quantizer"]
    assert not model.teacher.training


def test_published_checkpoint(small_published, tmp_path):
    torch.save({"params": small_published.state}, tmp_path / "published.pth")
    options = restoration_experiment()
    options["network_g"] = {"type": "VQCNIR", **copy.deepcopy(SMALL_PUBLISHED_OPTIONS), "freeze_prior": True}
    options["path"] = {"pretrain_network_g": str(tmp_path / "published.pth"), "strict_load_g": True}
    options["train"]["ema_decay"] = 0.9
    check_options(options, is_train=True)
    model = built(options)
    reference = load_network(tmp_path / "published.pth")
    for net in (model.net_g, model.net_g_ema):
        for name, parameter in net.named_parameters():
            assert torch.equal(parameter, reference.get_parameter(name)), name
    assert model.teacher is None
    log = step(model)
    assert own_values(log) == {"l_pix", "codebook_usage", "perplexity"}
    assert torch.equal(model.net_g.generator[0][0][1].weight, reference.generator[0][0][1].weight)
    assert not torch.equal(model.net_g.encoder.in_conv.weight, reference.encoder.in_conv.weight)


def test_checkpoint_beside_a_prior(make_tiny, prior_file, tmp_path):
    """The checkpoint is the network, the prior's encoder is the teacher."""
    torch.manual_seed(5)
    trained = make_tiny("VQCNIR")
    torch.save({"params": trained.state_dict()}, tmp_path / "net_g.pth")
    options = restoration_experiment(prior_file)
    options["path"] = {"pretrain_network_g": str(tmp_path / "net_g.pth")}
    model = built(options)
    prior = load_network(prior_file)
    assert torch.equal(model.net_g.encoder.in_conv.weight, trained.encoder.in_conv.weight)
    assert torch.equal(model.teacher.encoder.in_conv.weight, prior.encoder.in_conv.weight)
    assert not torch.equal(prior.encoder.in_conv.weight, trained.encoder.in_conv.weight)
    assert "l_align" in step(model)


def test_network_starts_from_its_prior(prior_file):
    model = built(restoration_experiment(prior_file))
    prior = load_network(prior_file)
    for name, parameter in prior.named_parameters():
        assert torch.equal(model.net_g.get_parameter(name), parameter), name
