"""The speed switches of `train:`: with each of them the loss curve stays that of float32, and nothing else changes."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from model_experiments import built, prior_experiment, restoration_experiment, with_gan
from training_runs import checkpoint, differences, make_images, options, sr_options, train_here

from vqcnir_arch import UserError, load_network
from vqcnir_arch.archs.deform_conv import DeformConv2d
from vqcnir_arch.archs.quantizers.nearest_code import nearest_indices
from vqcnir_arch.losses.codebook_loss import gram_matrix
from vqcnir_arch.models.compilation import Compilation
from vqcnir_arch.models.precision import Precision
from vqcnir_arch.options import check, check_options

STEPS = 16
FLOAT_NOISE = 5e-3  # of the largest deviation of a loss: Adam's first steps are signs, and a flipped one is noise too

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


@pytest.fixture(autouse=True)
def quick_compiler(monkeypatch):
    """Inductor takes a minute to compile even these networks; the same graphs also run as they are."""
    monkeypatch.setattr(Compilation, "backend", "aot_eager")
    yield
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


def model_with(made, **train):
    torch.manual_seed(1)  # with 0 one of Adam's first signs hangs on the last bit
    made = copy.deepcopy(made)
    made["train"].update(train)
    return built(made)


def train_on(model, steps=STEPS, first=1):
    """Train on batches of 4 that depend on the iteration alone; return the losses, [steps, losses]."""
    curve = []
    for iteration in range(first, first + steps):
        generator = torch.Generator().manual_seed(iteration)
        gt = torch.rand(4, 3, 4, 4, generator=generator).repeat_interleave(8, -1).repeat_interleave(8, -2)
        model.feed_data({"lq": 0.1 * gt + 0.05 * torch.rand(gt.shape, generator=generator), "gt": gt})
        model.optimize_parameters(iteration)
        curve.append({name: float(value) for name, value in model.log_dict.items() if name.startswith("l_")})
    return {name: torch.tensor([losses[name] for losses in curve]) for name in curve[0]}


def deviations(made, **switches):
    """Largest and mean deviation of each loss from float32's, over that loss's mean size."""
    reference, switched = train_on(model_with(made)), train_on(model_with(made, **switches))
    size = {name: values.abs().mean() for name, values in reference.items()}
    difference = {name: (switched[name] - values).abs() / size[name] for name, values in reference.items()}
    return {n: d.max().item() for n, d in difference.items()}, {n: d.mean().item() for n, d in difference.items()}


def experiments(prior_file):
    return {"prior": with_gan(prior_experiment()), "restoration": restoration_experiment(prior_file)}


# equal but for float noise


@pytest.mark.parametrize("stage", ["prior", "restoration"])
@pytest.mark.parametrize(
    "switches",
    [{"channels_last": True}, {"grad_accumulation": 2}, {"grad_accumulation": 4}, {"checkpoint_blocks": True}],
    ids=str,
)
def test_same_curve(prior_file, stage, switches):
    largest, _ = deviations(experiments(prior_file)[stage], **switches)
    assert largest
    assert max(value for name, value in largest.items() if name != "l_g_gan") < FLOAT_NOISE, largest
    assert largest.get("l_g_gan", 0) < 10 * FLOAT_NOISE, largest  # a mean near zero


def test_discriminators_gradients_do_not_depend_on_the_split():
    """Also with spectral norm, which estimates norms again in every forward pass."""
    gradients = []
    for parts in (1, 4):
        model = model_with(with_gan(prior_experiment()), grad_accumulation=parts)
        train_on(model, 1)
        gradients.append({n: p.grad.clone() for n, p in [*model.net_d.named_parameters()]})
        assert all(module.training for module in model.net_d.modules())
        assert model.gt.shape[0] == model.output.shape[0] == 4
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_micro_batches_must_be_equal():
    with pytest.raises(UserError, match="a batch of 4 does not split into 3 parts"):
        train_on(model_with(prior_experiment(), grad_accumulation=3), 1)


def test_blocks_are_computed_twice_in_training_alone(prior_file):
    model = model_with(restoration_experiment(prior_file), checkpoint_blocks=True)
    calls = []
    block = model.net_g.enhancer[0].norm1
    block.register_forward_hook(lambda *arguments: calls.append(1))
    train_on(model, 1)
    assert len(calls) == 2
    model.lq = model.lq[:1]
    model.test()
    assert len(calls) == 3
    plain = model_with(restoration_experiment(prior_file))
    assert list(model.net_g.state_dict()) == list(plain.net_g.state_dict())
    assert torch.equal(model.net_g.get_extra_state(), plain.net_g.get_extra_state())


def test_memory_format():
    model = model_with(with_gan(prior_experiment()), channels_last=True)
    seen = []
    model.net_g.register_forward_pre_hook(lambda net, images: seen.append(images[0]))
    train_on(model, 1)
    for tensor in (seen[0], model.net_g.encoder.in_conv.weight, model.net_d.conv0.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


# compilation


@pytest.mark.parametrize(
    ("stage", "more"), [("restoration", {}), ("prior", {"checkpoint_blocks": True, "grad_accumulation": 2})]
)
def test_compile(prior_file, stage, more):
    largest, _ = deviations(experiments(prior_file)[stage], compile=True, **more)
    largest.pop("l_g_gan", None)  # a mean near zero
    assert max(largest.values()) < FLOAT_NOISE, largest


def test_compiled_network_is_saved_and_validated(tmp_path):
    make_images(tmp_path / "images")
    made = options(tmp_path, train__compile=True, train__total_iter=4, train__gan_opt=None)
    train_here(made, tmp_path)
    saved = checkpoint(tmp_path, 4)["net_g_4.pth"]
    plain = model_with(prior_experiment()).net_g.state_dict()
    assert list(saved["params"]) == list(saved["params_ema"]) == list(plain)
    load_network(tmp_path / "experiments/run/models/net_g_4.pth")


def test_failing_compiler_is_one_line(monkeypatch):
    def broken(graph, inputs):
        raise OSError("no compiler here")

    monkeypatch.setattr(Compilation, "backend", staticmethod(broken))
    with pytest.raises(UserError, match=r"train: compile: .*no compiler here") as caught:
        train_on(model_with(prior_experiment(), compile=True), 1)
    assert "\n" not in str(caught.value)


# mixed precision


@pytest.mark.parametrize(("amp", "stage"), [("bf16", "prior"), ("bf16", "restoration"), ("fp16", "prior")])
def test_mixed_precision(prior_file, monkeypatch, amp, stage):
    """On average within 2 % in the pixel loss, 20 % in the losses of the codes, as some are chosen differently."""
    monkeypatch.setattr(Precision, "first_scale", 1024.0)  # the first step of the usual one overflows
    made = {"prior": prior_experiment(), "restoration": restoration_experiment(prior_file)}[stage]
    _, mean = deviations(made, amp=amp)
    assert 0 < mean.pop("l_pix") < 0.02
    assert len(mean) == 1
    assert max(mean.values()) < 0.2, mean


def test_discriminator_in_bf16():
    _, mean = deviations(with_gan(prior_experiment()), amp="bf16")
    assert max(mean["l_pix"], mean["l_d_real"], mean["l_d_fake"]) < 0.02, mean


def test_code_search_is_float32():
    features, codebook = torch.randn(512, 16), torch.randn(256, 16)
    exact = nearest_indices(features.double(), codebook.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (features @ codebook.t()).dtype == torch.bfloat16
        assert torch.equal(nearest_indices(features, codebook), exact)


def test_parts_that_keep_out_of_autocast():
    x = 100 * torch.rand(1, 8, 64, 64)
    layer = DeformConv2d(8, 2)
    gram = gram_matrix(x)
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.equal(gram_matrix(x), gram)  # 10^7 before the division
        assert layer(x, x).dtype == torch.float32
        assert layer(x.half(), x.half()).dtype == torch.float16


def test_loss_scale_falls_after_an_overflow_and_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "float16_on_cpu", lambda options: [])  # refused as it is slow there
    make_images(tmp_path / "images")
    monkeypatch.setattr(Precision, "first_scale", 2.0**40)  # too large: the first steps overflow
    made = options(tmp_path, train__amp="fp16", logger__save_checkpoint_freq=2, train__gan_opt=None)
    train_here(made, tmp_path / "whole")
    scales = {i: checkpoint(tmp_path / "whole", i)["state"]["vqcnir"]["model"][0]["scaler"]["scale"] for i in (2, 8)}
    assert scales[8] < scales[2] < 2.0**40
    short = copy.deepcopy(made)
    short["train"]["total_iter"] = 4
    train_here(short, tmp_path / "parts")
    train_here(made, tmp_path / "parts", "--auto_resume")
    assert differences(checkpoint(tmp_path / "whole", 8), checkpoint(tmp_path / "parts", 8)) == []


def test_clipping_sees_unscaled_gradients(monkeypatch):
    monkeypatch.setattr(Precision, "first_scale", 1024.0)
    norms = []
    for amp in ("none", "fp16"):
        model = model_with(prior_experiment(), amp=amp, grad_clip=1e-3)
        train_on(model, 1)
        norms.append(model.step_guard.norms["grad_norm_g"])
        clipped = torch.nn.utils.get_total_norm([p.grad for p in model.net_g.parameters()])
        assert clipped.item() == pytest.approx(1e-3, rel=1e-2)
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


# all at once, and exact resume with all of them


def test_all_at_once_resume_exactly(tmp_path):
    make_images(tmp_path / "images")
    switches = {
        "amp": "bf16",
        "channels_last": True,
        "compile": True,
        "grad_accumulation": 2,
        "checkpoint_blocks": True,
    }
    made = options(tmp_path, **{f"train__{name}": value for name, value in switches.items()})
    train_here(made, tmp_path / "whole")
    made["train"]["total_iter"] = 4
    train_here(made, tmp_path / "parts")
    made["train"]["total_iter"] = 8
    train_here(made, tmp_path / "parts", "--auto_resume")
    assert differences(checkpoint(tmp_path / "whole", 8), checkpoint(tmp_path / "parts", 8)) == []


# findings


@pytest.mark.parametrize(
    ("switches", "finding"),
    [
        ({"amp": "bf32"}, "train: amp: "),
        ({"grad_accumulation": 0}, "train: grad_accumulation: "),
        ({"grad_accumulation": 3}, "batch_size_per_gpu 2 does not split into 3 equal parts"),
        ({"compile": "inductor"}, "train: compile: "),
        ({"channel_last": True}, "did you mean 'channels_last'"),
    ],
)
def test_findings(tmp_path, switches, finding):
    with pytest.raises(UserError, match=finding):
        check_options(options(tmp_path, **{f"train__{name}": value for name, value in switches.items()}), True)


@pytest.mark.parametrize(("num_gpu", "gpu_there"), [("auto", False), (0, False), (0, True)])
def test_float16_on_a_cpu_is_refused(tmp_path, monkeypatch, num_gpu, gpu_there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu_there)
    content = options(tmp_path, train__amp="fp16", num_gpu=num_gpu)
    with pytest.raises(UserError, match=r"^train: amp: fp16 is for GPUs: .*: use none or bf16$"):
        check_options(content, True)
    check_options(content, False)
    content["train"]["amp"] = "bf16"
    check_options(content, True)


def test_float16_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_options(options(tmp_path, train__amp="fp16", num_gpu="auto"), True)


def test_models_that_are_not_ours_have_no_switches(tmp_path):
    check_options(sr_options(tmp_path, train__amp="none"), True)
    with pytest.raises(UserError, match="train: amp: SRModel does not have it"):
        check_options(sr_options(tmp_path, train__amp="bf16"), True)


# the figures


def test_script(capsys, load_script):
    """The script as on a GPU, but small; only that it runs is tested, as 2 iterations say nothing."""
    small = ["--batch", "1", "--size", "32", "--steps", "1", "--iterations", "2", "--variants", "bf16"]
    load_script("gpu_speed").main(["--device", "cpu", *small])
    printed = capsys.readouterr().out
    assert "| bf16 |" in printed
    assert "follow" in printed
