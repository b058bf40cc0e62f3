"""Optimisers, EMA, discriminator and log of the models."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from model_experiments import (
    batch,
    built,
    moved,
    prior_experiment,
    restoration_experiment,
    snapshot,
    step,
    with_gan,
)
from torch import nn

from vqcnir_arch import UserError
from vqcnir_arch.models.code_usage import CodeUsage
from vqcnir_arch.options import check_options

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD", "RMSprop"])
def test_other_optimizers(optimizer):
    options = prior_experiment()
    options["train"]["optim_g"] = {"type": optimizer, "lr": 1e-3}
    check_options(options, is_train=True)
    model = built(options)
    assert type(model.optimizer_g) is getattr(torch.optim, optimizer)
    before = snapshot(model.net_g)
    step(model)
    assert "out_conv.weight" in moved(model.net_g, before)


def test_unknown_optimizer():
    options = prior_experiment()
    options["train"]["optim_g"]["type"] = "AdamV"
    with pytest.raises(UserError, match=r"unknown optimizer type 'AdamV' \(did you mean 'Adam"):
        built(options)


def test_learning_rates_follow_their_schedule():
    model = built(with_gan(prior_experiment()))
    for iteration in range(1, 8):
        model.update_learning_rate(iteration)
        if iteration == 1:
            model.optimizer_g.step(), model.optimizer_d.step()
    assert [optimizer.param_groups[0]["lr"] for optimizer in model.optimizers] == [5e-4, 2e-3]


def test_only_what_trains_is_in_the_optimizer(prior_file):
    model = built(restoration_experiment(prior_file))
    held = {id(p) for group in model.optimizer_g.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.net_g.parameters() if p.requires_grad}


def test_ema_follows_parameters_and_buffers():
    options = prior_experiment()
    options["train"]["ema_decay"] = 0.9
    model = built(options)
    for net in (model.net_g, model.net_g_ema):
        net.encoder.stages[0].append(nn.BatchNorm2d(16))
    first = snapshot(model.net_g)
    step(model)
    norm, averaged = model.net_g.encoder.stages[0][-1], model.net_g_ema.encoder.stages[0][-1]
    assert norm.running_mean.abs().sum() > 0
    assert torch.equal(averaged.running_mean, norm.running_mean)
    assert torch.equal(averaged.running_var, norm.running_var)
    assert averaged.num_batches_tracked.item() == 1
    expected = 0.9 * first["out_conv.weight"] + 0.1 * model.net_g.out_conv.weight.detach()
    torch.testing.assert_close(model.net_g_ema.out_conv.weight.detach(), expected)

    # validation takes the average
    model.feed_data(batch(1))
    model.test()
    with torch.no_grad():
        assert torch.equal(model.output, model.net_g_ema(model.lq))
        assert not torch.equal(model.output, model.net_g.eval()(model.lq))


def test_validation_leaves_the_training_mode(prior_file):
    model = built(restoration_experiment(prior_file))
    assert model.net_g.training
    model.feed_data(batch(1))
    model.test()
    assert model.net_g.training


def test_discriminator_losses_are_hinge():
    model = built(with_gan(prior_experiment()))
    data = batch()
    discriminator = copy.deepcopy(model.net_d)
    model.feed_data(data)
    with torch.no_grad():
        fake = copy.deepcopy(model.net_g)(data["gt"])
        # the order of the calls matters: every one moves the spectral norm's vectors
        of_generator = discriminator(fake).mean().item()
        real = torch.relu(1 - discriminator(data["gt"])).mean().item()
        fooled = torch.relu(1 + discriminator(fake)).mean().item()
    model.optimize_parameters(1)
    assert model.log_dict["l_g_gan"] == pytest.approx(-0.1 * of_generator, rel=1e-3, abs=1e-5)
    assert model.log_dict["l_d_real"] == pytest.approx(real, rel=1e-3)
    assert model.log_dict["l_d_fake"] == pytest.approx(fooled, rel=1e-3)


def test_generator_step_leaves_the_discriminator_without_gradient():
    model = built(with_gan(prior_experiment()))
    model.gan.discriminator_losses = lambda real, restored: {}
    model.optimizer_d.step = lambda: None
    step(model)
    assert all(p.grad is None for p in model.net_d.parameters())


def test_discriminator_trains_alone_at_first():
    options = with_gan(prior_experiment())
    options["train"]["net_d_init_iters"] = 2
    model = built(options)
    before_g, before_d = snapshot(model.net_g), snapshot(model.net_d)
    step(model, 1)
    assert not moved(model.net_g, before_g)
    assert moved(model.net_d, before_d)
    step(model, 3)
    assert moved(model.net_g, before_g)


def test_pretrained_discriminator(tmp_path):
    options = with_gan(prior_experiment())
    first = built(options)
    torch.save({"params": first.net_d.state_dict()}, tmp_path / "net_d.pth")
    options["path"]["pretrain_network_d"] = str(tmp_path / "net_d.pth")
    torch.manual_seed(7)
    second = built(options)
    for name, tensor in second.net_d.state_dict().items():
        assert torch.equal(tensor, first.net_d.state_dict()[name]), name


# the log


def test_code_usage():
    usage = CodeUsage(8)
    assert usage.read() == {}
    rng = np.random.default_rng(0)
    batches = [rng.choice(5, size=(2, 3, 4), p=[0.5, 0.2, 0.1, 0.1, 0.1]) for _ in range(3)]
    for indices in batches:
        usage.add(torch.from_numpy(indices))
    share = np.bincount(np.concatenate([indices.ravel() for indices in batches]), minlength=8) / 72
    used = share[share > 0]
    result = usage.read()
    assert result["codebook_usage"] == pytest.approx(len(used) / 8)
    assert result["perplexity"] == pytest.approx(np.exp(-(used * np.log(used)).sum()), rel=1e-9)
    assert usage.read() == {}

    usage.add(torch.arange(8))
    assert usage.read() == {"codebook_usage": 1.0, "perplexity": pytest.approx(8)}
    usage.add(torch.full((5,), 3))
    assert usage.read() == {"codebook_usage": 1 / 8, "perplexity": pytest.approx(1)}


def test_logged_usage_is_of_the_steps_since_the_last_log():
    model = built(prior_experiment())
    model.net_g.quantizer.codebook.data.normal_()
    seen = []
    for iteration in (1, 2):
        data = batch()
        seen.append(model.net_g(data["gt"], return_codes=True)[1].indices.flatten())
        model.feed_data(data)
        model.optimize_parameters(iteration)
    counts = np.bincount(torch.cat(seen).numpy(), minlength=32)
    share = counts[counts > 0] / counts.sum()
    log = model.get_current_log()
    assert log["codebook_usage"] == pytest.approx((counts > 0).mean())
    assert log["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)


def test_log_says_what_trains(prior_file, basicsr_log):
    model = built(restoration_experiment(prior_file))
    text = next(message for message in basicsr_log if "what trains" in message)
    rows = {line.split()[0]: line.split() for line in text.splitlines()[1:]}

    def count(net):
        return f"{sum(p.numel() for p in net.parameters()):,d}"

    net = model.net_g
    assert rows["encoder"] == ["encoder", "trains", count(net.encoder), "frozen", "0"]
    assert rows["generator"] == ["generator", "trains", "0", "frozen", count(net.generator)]
    assert rows["quantizer"] == ["quantizer", "trains", "0", "frozen", f"{32 * 16:,d}"]
    trains, frozen = (sum(p.numel() for p in net.parameters() if p.requires_grad is r) for r in (True, False))
    assert rows["in"] == ["in", "all", "trains", f"{trains:,d}", "frozen", f"{frozen:,d}"]
