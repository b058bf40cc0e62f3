"""What a network costs, found with fake tensors: multiplications, and the memory of a training step."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vqcnir_arch.archs.cpu import plain_operators
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.models.activation_checkpointing import checkpoint_blocks
from vqcnir_arch.models.vq_restoration_model import VQRestorationModel
from vqcnir_arch.options.preflight import named, section
from vqcnir_arch.options.unchecked import is_own_loss, model_class
from vqcnir_arch.registry import ARCH_REGISTRY, LOSS_REGISTRY, build, lookup, optimizers

BYTES = 4  # of float32
IMAGE_LOSSES = ("pixel_opt", "ssim_opt", "perceptual_opt")


@dataclass(frozen=True)
class Memory:
    """Bytes that a training step holds at its peak, in float32."""

    weights: int
    """Of all networks: generator, its EMA copy, discriminator, teacher, and those in losses."""
    gradients: int
    optimiser: int
    activations: int
    """What autograd saves of the forward passes for the backward pass."""

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimiser + self.activations


def fakes() -> AbstractContextManager:
    """Give tensors in this context a shape but no memory."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def fake_network(options: dict[str, Any], name: str) -> nn.Module:
    """Build `network_g` or another one of an option file without reading its prior."""
    block = dict(options[name])
    if block.pop("prior", None) is not None:
        block.setdefault("freeze_prior", True)
    for key in ("hq_prior", "lq_prior"):
        block.pop(key, None)
    return section(name, build, ARCH_REGISTRY, block)


def gmacs(options: dict[str, Any], size: int) -> float:
    """Return the 10^9 multiply-accumulates of `network_g` for one image of `size` × `size` pixels, under `fakes`."""
    net = fake_network(options, "network_g").eval()
    image = torch.rand(1, 3, size, size)
    with torch.no_grad():
        return multiply_adds(lambda: section("network_g", net, image)) / 1e9


def multiply_adds(work: Callable[[], Any]) -> float:
    """Count the multiply-adds of the convolutions and matrix products that a function computes in their plain form."""
    import torchvision  # noqa: F401  (it registers the operators)

    operators = torch.ops.torchvision
    deformable = {
        operators.deform_conv2d: lambda x, weight, *_, out_shape, **__: 2 * math.prod((*out_shape, *weight[1:])),
        operators._deform_conv2d_backward: lambda grad, x, weight, *_, **__: 4 * math.prod((*grad, *weight[1:])),
    }
    counter = FlopCounterMode(display=False, custom_mapping=deformable)
    # the counter has no formula for the fused attention of a CPU; its plain form is two matrix products
    with plain_operators(), sdpa_kernel(SDPBackend.MATH), counter:
        work()
    return counter.get_total_flops() / 2


def step_memory(options: dict[str, Any], crop: int, batch: int) -> tuple[Memory, list[str]]:
    """Estimate the memory of a training step: generator with image losses and discriminator, then discriminator.

    With `num_gpu: 0` that of a CPU, else that of a GPU; none is needed here.

    Args:
        options: a checked option file for training.
        crop: height and width of the ground truth.
        batch: images per step and process.

    Returns:
        The estimate, and what it leaves out because it could not be built (a finding of the check).
    """
    train, scale = options["train"], options.get("scale", 1)
    batch //= train.get("grad_accumulation", 1)
    losses, left_out = build_losses(options)
    shares = {key: state_share(key, train[key]) for key in ("optim_g", "optim_d") if train.get(key)}
    # a GPU's operators keep the same tensors as a CPU's own; fake ones of a GPU would need its driver in some versions
    forms = nullcontext() if options["num_gpu"] == 0 else plain_operators()
    with fakes(), forms:
        net_g = fake_network(options, "network_g").train()
        if train.get("checkpoint_blocks") and isinstance(net_g, VQNetwork):
            checkpoint_blocks(net_g)
        net_d = fake_network(options, "network_d") if train.get("gan_opt") and options.get("network_d") else None
        lq, gt = (torch.rand(batch, 3, crop // s, crop // s) for s in (scale, 1))
        copies = 2 if train.get("ema_decay") else 1
        weights = copies * size(net_g) + teacher_size(options, net_g) + sum(size(loss) for loss in losses.values())
        gradients = size(net_g, trainable=True)
        optimiser = gradients * shares["optim_g"]
        activations = 0
        if net_d is not None:
            weights += size(net_d)
            of_d = size(net_d, trainable=True)
            gradients += of_d
            optimiser += of_d * shares["optim_d"]
            activations = section("network_d", saved_for_backward, lambda: net_d(gt))
            net_d.requires_grad_(False)  # as in the generator's turn

        def generator_step() -> list[Tensor]:
            output = net_g(lq)
            values = [losses[key](output, gt) for key in IMAGE_LOSSES if key in losses]
            return [output, *values] if net_d is None else [output, *values, net_d(output)]

        activations = max(activations, section("network_g", saved_for_backward, generator_step))
    return Memory(weights, gradients, round(optimiser), activations), left_out


def build_losses(options: dict[str, Any]) -> tuple[dict[str, nn.Module], list[str]]:
    """Build the losses, whose weights may be large; also say which cannot be built."""
    losses, left_out = {}, []
    for key, block in options["train"].items():
        if key.endswith("_opt") and block and not is_own_loss(options, key, block):
            try:
                losses[key] = section(f"train: {key}", build, LOSS_REGISTRY, block)
            except UserError:
                left_out.append(f"train: {key}, which cannot be built")
    return losses, left_out


def size(net: nn.Module, trainable: bool = False) -> int:
    """Return the bytes of a network's parameters and buffers, or of the parameters that train."""
    if trainable:
        return sum(p.numel() * BYTES for p in net.parameters() if p.requires_grad)
    return sum(t.numel() * t.element_size() for t in (*net.parameters(), *net.buffers()))


def teacher_size(options: dict[str, Any], net: nn.Module) -> int:
    """Return the bytes of the prior that `VQRestorationModel` keeps beside a network, if its losses need one."""
    model = model_class(options)
    if not (model and issubclass(model, VQRestorationModel) and isinstance(net, VQNetwork)):
        return 0
    if not model.needs_teacher(net, options["train"]):
        return 0
    return size(lookup(ARCH_REGISTRY, net.prior_type)(**net.prior_options()))


def state_share(key: str, block: dict[str, Any]) -> float:
    """Return how many numbers an optimiser keeps per parameter (Adam: 2), found by a step on a few."""
    parameter = nn.Parameter(torch.zeros(16, 16))
    optimizer = section(f"train: {key}", named, optimizers(), block, [parameter])

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = parameter.sum()
        value.backward()
        return value

    section(f"train: {key}", optimizer.step, loss)
    state = [value for value in optimizer.state[parameter].values() if isinstance(value, Tensor) and value.dim()]
    return sum(value.numel() for value in state) / parameter.numel()


def saved_for_backward(forward: Callable[[], Any]) -> int:
    """Return the bytes that autograd keeps of a forward pass, parameters left out."""
    sizes: dict[int, int] = {}
    storages = []  # kept alive, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            storages.append(storage)
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    del result
    return sum(sizes.values())
