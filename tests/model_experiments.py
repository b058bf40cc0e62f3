"""Small models of both stages, and what a test asks of a training step."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import TINY_OPTIONS

SIZE = 32
DISCRIMINATOR = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
ADAM = {"type": "Adam", "lr": 1e-3, "betas": [0.9, 0.99]}
PIXEL = {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}
ALIGNMENT = {"type": "CodeAlignmentLoss", "alignment": "l2", "loss_weight": 1.0}
GAN = {"type": "GANLoss", "gan_type": "hinge", "loss_weight": 0.1}


def experiment(model, network, losses, **train):
    """The content of an option file for training."""
    return {
        "name": "tiny",
        "model_type": model,
        "scale": 1,
        "num_gpu": 0,
        "manual_seed": 0,
        "datasets": {"train": {"name": "x", "type": "LOLBlurDataset", "dataroot": "x", "gt_size": SIZE}},
        "network_g": network,
        "path": {},
        "train": {
            "total_iter": 10,
            "optim_g": dict(ADAM),
            "scheduler": {"type": "MultiStepLR", "milestones": [5], "gamma": 0.5},
            **copy.deepcopy(losses),
            **train,
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 10, "use_tb_logger": False},
    }


def prior_experiment(**losses):
    losses = {"pixel_opt": PIXEL, "codebook_opt": {"type": "CodebookLoss"}, **losses}
    return experiment("VQPriorModel", {"type": "VQGANPrior", **copy.deepcopy(TINY_OPTIONS["VQGANPrior"])}, losses)


def restoration_experiment(prior=None, **losses):
    network = {"type": "VQCNIR", **copy.deepcopy(TINY_OPTIONS["VQCNIR"])}
    if prior:
        network.update(prior=str(prior), freeze_prior=True)
        losses = {"alignment_opt": ALIGNMENT, **losses}
    return experiment("VQRestorationModel", network, {"pixel_opt": PIXEL, **losses})


def with_gan(options):
    options["network_d"] = dict(DISCRIMINATOR)
    options["train"].update(gan_opt=dict(GAN), optim_d={**ADAM, "lr": 4e-3})
    return options


def built(options, is_train=True):
    """The model as BasicSR's pipeline builds it."""
    options = copy.deepcopy(options)
    options.update(is_train=is_train, dist=False, rank=0, world_size=1)
    from basicsr.models import build_model

    return build_model(options)


def batch(count=2, size=SIZE):
    gt = torch.rand(count, 3, size // 8, size // 8).repeat_interleave(8, -1).repeat_interleave(8, -2)
    return {"lq": 0.1 * gt + 0.05 * torch.rand_like(gt), "gt": gt}


def own_values(log):
    """Names in the log but for those of every training: learning rates and gradient norms."""
    return {name for name in log if not name.startswith(("lr_", "grad_norm_"))}


def step(model, iteration=1, data=None):
    model.feed_data(data or batch())
    model.optimize_parameters(iteration)
    return model.get_current_log()


def snapshot(net):
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def moved(net, before):
    return {name for name, parameter in net.named_parameters() if not torch.equal(parameter, before[name])}


@pytest.fixture
def prior_file(make_tiny, tmp_path):
    path = tmp_path / "prior.pth"
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, path)
    return path
