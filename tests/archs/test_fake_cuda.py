"""Every network and loss on a GPU that is not there: no tensor on the CPU, no type that the others do not have."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
import torch.nn.functional as F
from ablation_variants import ENHANCERS, FUSIONS, MORE_FUSIONS, MORE_QUANTIZERS, QUANTIZERS, SMALL
from conftest import TINY_OPTIONS, random_images
from fake_device import PRECISIONS, FakeDevice, pretended_gpu
from model_experiments import built, prior_experiment, restoration_experiment, with_gan
from network_facts import NETWORKS, SINGLE
from torch import nn

from vqcnir_arch import losses
from vqcnir_arch.archs.quantizers import Codes
from vqcnir_arch.registry import ARCH_REGISTRY, LOSS_REGISTRY, build

BUILT_OF = [
    *((quantizer, "AIEM", "DBCA") for quantizer in {**QUANTIZERS, **MORE_QUANTIZERS}),
    *(("NearestCode", enhancer, "DBCA") for enhancer in ENHANCERS if enhancer != "AIEM"),
    *(("NearestCode", "AIEM", fusion) for fusion in {**FUSIONS, **MORE_FUSIONS} if fusion != "DBCA"),
]
"""Every quantizer, enhancer and fusion once."""


@pytest.fixture(autouse=True)
def gpu():
    with pretended_gpu():
        yield


def made(name: str, **options) -> nn.Module:
    return build(ARCH_REGISTRY, {"type": name, **copy.deepcopy({**TINY_OPTIONS[name], **options})})


def variant(quantizer: str, enhancer: str, fusion: str) -> nn.Module:
    blocks = {
        "quantizer": {**QUANTIZERS, **MORE_QUANTIZERS}[quantizer],
        "enhancer": ENHANCERS[enhancer],
        "fusion": {**FUSIONS, **MORE_FUSIONS}[fusion],
    }
    return made("VQCNIR", **SMALL, **blocks)


def check_forward(net: nn.Module, shape, precision: str) -> None:
    """The image is on the GPU and in float32, or the precision in which the network computes."""
    device = FakeDevice("cuda")
    device.move(net.eval())
    x = device.empty(*shape)
    if precision == "bf16":
        x = x.to(memory_format=torch.channels_last)
    with device.computing(precision), torch.no_grad():
        out = net(x)
    for image in out if isinstance(out, tuple) else (out,):
        assert image.device.type == "cuda" and image.dtype in (torch.float32, PRECISIONS[precision])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_of_every_network(name, precision):
    check_forward(made(name), random_images(name).shape, precision)


@pytest.mark.parametrize("parts", BUILT_OF, ids="-".join)
def test_forward_of_every_part(parts):
    check_forward(variant(*parts), (1, 3, 21, 30), "fp16")


def check_backward(net: nn.Module, shape) -> None:
    """Every parameter that trains gets a gradient of its own device and type."""
    device = FakeDevice("meta")
    device.move(net.train())
    with device.computing():
        image, codes = net(device.empty(*shape), return_codes=True)
        loss = F.l1_loss(image, torch.empty_like(image)) if image is not None else 0
        for of_codebook in codes.per_codebook:
            for tensor in (of_codebook.features, of_codebook.output, of_codebook.quantized, of_codebook.logits):
                loss = loss if tensor is None else loss + tensor.square().mean()
        loss.backward()
    trained = [p for p in net.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None and p.grad.device == p.device for p in trained)


@pytest.mark.parametrize("name", SINGLE)
def test_backward_of_every_network(name):
    check_backward(made(name), random_images(name).shape)


@pytest.mark.parametrize("parts", BUILT_OF, ids="-".join)
def test_backward_of_every_part(parts):
    check_backward(variant(*parts), (2, 3, 16, 24))


FEATURE, IMAGE = (2, 16, 4, 6), (2, 3, 32, 48)
LOSSES = {
    "AssociationLoss": (FEATURE, FEATURE, ()),
    "CodeAlignmentLoss": (FEATURE, FEATURE),
    "CodebookLoss": (FEATURE, FEATURE),
    "ContrastLoss": (FEATURE, FEATURE),
    "FeatureMatchingLoss": (FEATURE, FEATURE, FEATURE),
    "LPIPSLoss": (IMAGE, IMAGE),
    "PSNRLoss": (IMAGE, IMAGE),
    "SSIMLoss": (IMAGE, IMAGE),
    "SemanticGuidedLoss": ((2, 512, 4, 6), IMAGE),
    "TokenCrossEntropyLoss": (FEATURE, (2, 4, 6)),
    "VGG19PerceptualLoss": (IMAGE, IMAGE),
}
"""Shapes of what each loss takes; VGG16's differs from VGG19's in its layers alone."""


def test_all_losses_are_here():
    assert {*LOSSES, "VGG16PerceptualLoss"} == set(losses.__all__)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name, vgg19_file, lpips_files, use_hub):
    use_hub(lpips_files)
    weights = {"weights": str(vgg19_file)} if "weights" in inspect.signature(LOSS_REGISTRY.get(name)).parameters else {}
    for device, precision in (("cuda", "fp16"), ("cuda", "bf16"), ("meta", "fp32")):
        fake = FakeDevice(device)
        loss = fake.move(build(LOSS_REGISTRY, {"type": name, **weights}))
        given = [fake.empty(*shape) for shape in LOSSES[name]]
        if name == "TokenCrossEntropyLoss":
            given[1] = fake.empty(*LOSSES[name][1], dtype=torch.int64)
        given[0].requires_grad_()
        with fake.computing(precision):
            value = loss(*given)
            assert value.device.type == device and value.dtype == torch.float32 and value.shape == ()
            if device == "meta":
                value.backward()
                assert given[0].grad.device.type == device


@pytest.mark.parametrize("stage", ["I", "II"])
def test_training_step(stage, prior_file):
    """With teacher, discriminator, EMA and optimisers; what reads numbers back to the CPU is left out."""
    options = with_gan(prior_experiment() if stage == "I" else restoration_experiment(prior_file))
    options["train"]["ema_decay"] = 0.9
    model, device = built(options), FakeDevice("meta")
    for part in vars(model).values():
        if isinstance(part, nn.Module):
            device.move(part)
    model.device, model.may_step, model.reduce_loss_dict = torch.device("meta"), lambda *_: True, dict
    for usage in model.code_usage.values():
        usage.add = lambda indices: None
    with device.mode:
        model.optimizers.clear()
        model.setup_optimizers()
        model.feed_data({"lq": device.empty(2, 3, 32, 32), "gt": device.empty(2, 3, 32, 32)})
        model.optimize_parameters(1)
    assert {"l_pix", "l_g_gan", "l_d_real", "l_d_fake"} <= set(model.log_dict)
    assert all(loss.device.type == "meta" for loss in model.log_dict.values())
    assert all(state["exp_avg"].device.type == "meta" for state in model.optimizer_g.state.values())


class Faulty(nn.Module):
    """A layer with one fault of those that only a GPU, or half precision, shows."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.left_behind = torch.ones(1, 3, 1, 1)
        self.fault = fault

    def forward(self, x, return_codes=False):
        x = self.conv(x)
        if self.fault == "a tensor made on the CPU":
            x = x + torch.zeros(x.shape[-1])
        elif self.fault == "a buffer left behind":
            x = x * self.left_behind
        elif self.fault == "a float64 constant":
            x = x * torch.ones(3, 1, 1, dtype=torch.float64, device=x.device)
        return (x, Codes(x, x)) if return_codes else x


FAULTS = ("a tensor made on the CPU", "a buffer left behind", "a float64 constant")


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault):
    check_forward(Faulty("none"), (1, 3, 8, 8), "bf16")
    check_backward(Faulty("none"), (1, 3, 8, 8))
    with pytest.raises((RuntimeError, AssertionError)):
        check_forward(Faulty(fault), (1, 3, 8, 8), "bf16")


class FaultyBackward(torch.autograd.Function):
    """Twice x, with a gradient that brings a tensor of the CPU."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.full(gradient.shape[-1:], 2.0)


def test_a_fault_in_a_backward_pass_is_caught():
    net = Faulty("none")
    net.conv.register_forward_hook(lambda module, given, x: FaultyBackward.apply(x))
    check_forward(net, (1, 3, 8, 8), "fp32")
    with pytest.raises(RuntimeError, match="same device"):
        check_backward(net, (1, 3, 8, 8))
