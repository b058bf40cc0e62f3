"""VQPriorModel and VQRestorationModel: one training step with every loss, what moves, what is logged and written."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.models import build_model
from conftest import SMALL_PUBLISHED_OPTIONS, TINY_OPTIONS, write_night_pairs
from torch import nn

from vqcnir_arch import UserError, load_network
from vqcnir_arch.models.code_usage import CodeUsage
from vqcnir_arch.options import check_options

SIZE = 32
DISCRIMINATOR = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
ADAM = {"type": "Adam", "lr": 1e-3, "betas": [0.9, 0.99]}
PIXEL = {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}
ALIGNMENT = {"type": "CodeAlignmentLoss", "alignment": "l2", "loss_weight": 1.0}
GAN = {"type": "GANLoss", "gan_type": "hinge", "loss_weight": 0.1}

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


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


# stage I


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
    assert not hasattr(model, "teacher")
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


# optimisers, EMA, discriminator


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
    model.discriminator_losses = dict
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


# contradictions


def no_semantic_head(options):
    options["train"]["semantic_opt"] = {"type": "SemanticGuidedLoss"}


def change(*keys, to):
    def apply(options):
        block = options
        for key in keys[:-1]:
            block = block[key]
        block[keys[-1]] = copy.deepcopy(to)

    return apply


CONTRADICTIONS = {
    "alignment without prior": (
        restoration_experiment, change("train", "alignment_opt", to=ALIGNMENT), "name network_g: prior"
    ),
    "semantic loss without head": (prior_experiment, no_semantic_head, "network_g: semantic_dim: 512"),
    "gan without discriminator": (
        lambda: with_gan(prior_experiment()), change("network_d", to=None), "network_d is missing"
    ),
    "gan without its optimiser": (
        lambda: with_gan(prior_experiment()), change("train", "optim_d", to=None), "train: optim_d is missing"
    ),
    "a loss of the other stage": (
        restoration_experiment, change("train", "codebook_opt", to={"type": "CodebookLoss"}),
        "VQRestorationModel has no loss 'codebook_opt'",
    ),
    "a misspelt loss": (
        prior_experiment, change("train", "percpetual_opt", to=PIXEL), "did you mean 'perceptual_opt'?",
    ),
    "nothing to freeze": (
        restoration_experiment, change("network_g", "freeze_prior", to=True), "freeze_prior would freeze random weights"
    ),
    "no codebook loss": (prior_experiment, change("train", "codebook_opt", to=None), "codebook does not train"),
    "no loss": (restoration_experiment, change("train", "pixel_opt", to=None), "no loss but a GAN's"),
    "only a gan": (
        lambda: with_gan(restoration_experiment()), change("train", "pixel_opt", to=None), "no loss but a GAN's"
    ),
    "a network without a codebook": (
        restoration_experiment, change("network_g", to={"type": "MSRResNet", "upscale": 2}),
        "VQRestorationModel cannot train MSRResNet",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions(case):
    make, breaking, expected = CONTRADICTIONS[case]
    options = make()
    check_options(options, is_train=True)
    breaking(options)
    with pytest.raises(UserError) as caught:
        check_options(options, is_train=True)
    assert expected in str(caught.value)
    with pytest.raises(UserError) as caught:
        built(options)
    assert expected in str(caught.value)


# validation


@pytest.fixture
def night_root(tmp_path):
    write_night_pairs(tmp_path / "night", "test")
    return tmp_path / "night"


def validated(model, root, current_iter, save_img=True, **dataset):
    block = {"name": "Night", "type": "LOLBlurDataset", "phase": "val", "dataroot": str(root), "scale": 1, **dataset}
    loader = build_dataloader(build_dataset(block), block)
    model.validation(loader, current_iter, None, save_img)
    folder = Path(model.opt["path"]["visualization"])
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def with_validation(options, tmp_path, **metrics):
    options["path"]["visualization"] = str(tmp_path / "visualization")
    options["val"] = {"val_freq": 1, "save_img": True, "suffix": None, "metrics": metrics}
    return options


def test_validation_names_in_training(night_root, tmp_path):
    options = with_validation(restoration_experiment(), tmp_path, psnr={"type": "calculate_psnr", "crop_border": 0})
    model = built(options)
    files = validated(model, night_root, 7)
    assert files == [f"Night/{v}/{f}/{f}_7.png" for v in ("0000", "0001") for f in ("0030", "0031")]
    assert model.best_metric_results["Night"]["psnr"]["iter"] == 7


@pytest.mark.parametrize(("suffix", "ending"), [(None, ""), ("ours", "_ours")])
def test_validation_names_in_test(night_root, tmp_path, suffix, ending):
    options = with_validation(restoration_experiment(), tmp_path)
    options["val"]["suffix"] = suffix
    files = validated(built(options, is_train=False), night_root, "tiny")
    assert files == [f"Night/{v}/{f}{ending}.png" for v in ("0000", "0001") for f in ("0030", "0031")]


def test_validation_image_and_metric(night_root, tmp_path):
    """The file holds the network's output, and the metric is the mean over the frames."""
    options = with_validation(restoration_experiment(), tmp_path, psnr={"type": "calculate_psnr", "crop_border": 0})
    model = built(options, is_train=False)
    validated(model, night_root, "tiny")
    values = []
    for video, frame in (("0000", "0030"), ("0000", "0031"), ("0001", "0030"), ("0001", "0031")):
        lq = cv2.imread(str(night_root / f"test/low_blur_noise/{video}/{frame}.png"))[..., ::-1].copy()
        gt = cv2.imread(str(night_root / f"test/high_sharp_scaled/{video}/{frame}.png")).astype(float)
        with torch.no_grad():
            output = model.net_g(torch.from_numpy(lq).permute(2, 0, 1).float().div(255)[None])[0]
        expected = output.clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()[..., ::-1]
        written = cv2.imread(str(tmp_path / f"visualization/Night/{video}/{frame}.png")).astype(float)
        assert abs(written - expected).max() <= 1
        values.append(10 * np.log10(255**2 / ((written - gt) ** 2).mean()))
    assert model.metric_results["psnr"] == pytest.approx(np.mean(values), rel=1e-6)


def test_validation_without_images(night_root, tmp_path):
    model = built(with_validation(restoration_experiment(), tmp_path), is_train=False)
    assert validated(model, night_root, "tiny", save_img=False) == []


@pytest.mark.parametrize("metric", ["calculate_psnr", "calculate_ssim"])
def test_metric_without_ground_truth(night_root, tmp_path, metric):
    options = with_validation(restoration_experiment(), tmp_path, value={"type": metric, "crop_border": 0})
    with pytest.raises(UserError, match=f"{metric} needs a ground truth, but data set 'Night' has none"):
        validated(built(options, is_train=False), night_root, "tiny", gt_folder=None)


def test_stage_one_validates_on_its_images(night_root, tmp_path):
    options = with_validation(prior_experiment(), tmp_path, psnr={"type": "calculate_psnr", "crop_border": 0})
    block = {
        "name": "sharp", "type": "SharpImageDataset", "phase": "val", "scale": 1,
        "dataroot": str(night_root / "test/high_sharp_scaled"),
    }  # fmt: skip
    model = built(options)
    model.validation(build_dataloader(build_dataset(block), block), 3, None, True)
    assert (tmp_path / "visualization/sharp/0001/0031/0031_3.png").is_file()
    assert model.metric_results["psnr"] > 0


def test_saved_networks(tmp_path):
    options = with_gan(prior_experiment())
    options["train"]["ema_decay"] = 0.9
    options["path"].update(models=str(tmp_path), training_states=str(tmp_path))
    model = built(options)
    step(model)
    model.save(0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.state", "net_d_1.pth", "net_g_1.pth"]
    content = torch.load(tmp_path / "net_g_1.pth", weights_only=True)
    assert set(content) == {"params", "params_ema"}
    loaded = load_network(tmp_path / "net_g_1.pth")
    assert torch.equal(loaded.out_conv.weight, model.net_g_ema.out_conv.weight)
