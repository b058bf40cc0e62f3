"""What `vqcnir bench` measures: our networks, the reference that they are compared with, and other people's."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch import names, packaged
from vqcnir_arch.archs import AssociatedPriors, DeformConv2d, find_quantizers
from vqcnir_arch.archs.cpu import plain_operators
from vqcnir_arch.archs.loading import load_network, own_networks
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.start import freeze_prior
from vqcnir_arch.devices import precision_of
from vqcnir_arch.errors import UserError, nearest

NAFNET = {"width": 64, "enc_blk_nums": [1, 1, 1, 28], "middle_blk_num": 1, "dec_blk_nums": [1] * 4}
PEER_OPTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("spandrel", "NAFNet", NAFNET),
    ("spandrel_extra_arches", "Restormer", {}),
    ("spandrel_extra_arches", "FeMaSR", {"LQ_stage": True, "scale_factor": 4}),
    ("spandrel_extra_arches", "CodeFormer", {}),
)
PEERS = dict(zip(names.PEERS, PEER_OPTIONS, strict=True))
"""Package, its name there and options of other people's networks, by names that none of ours has.

NAFNet's options are those published for deblurring; FeMaSR's make it what ours is by default, ×4.
"""
REGISTRIES = {"spandrel": "MAIN_REGISTRY", "spandrel_extra_arches": "EXTRA_REGISTRY"}
OFFSET_STD, RESIDUAL_SCALE = 0.02, 0.2
"""Weights that predict offsets, and scales of residuals, in a network without a checkpoint: they would all be zero."""


class Unavailable(Exception):
    """A peer that cannot be measured here, and why."""


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        network: name of one of our networks or of a peer, or the path of a checkpoint.
        size: height and width.
        batch: images at a time.
        precision: one of `PRECISIONS`.
        train: a training step instead of a forward pass.
        is_reference: with torchvision's deformable convolution and the published padding.
    """

    network: str
    size: tuple[int, int]
    batch: int = 1
    precision: str = "fp32"
    train: bool = False
    is_reference: bool = False

    @property
    def label(self) -> str:
        name = Path(self.network).name
        return f"{name}, torchvision's operator, published padding" if self.is_reference else name


def build_network(name: str, device: torch.device) -> nn.Module:
    """Build a network by name, with random weights, or load a checkpoint; in eval mode.

    Raises:
        Unavailable: a peer that is not installed or cannot be built.
        UserError: an unknown name or a bad checkpoint.
    """
    own = {cls.__name__: cls for cls in own_networks()}
    torch.manual_seed(0)
    if name in own:
        net = own[name]()
        for quantizer in find_quantizers(net).values():
            quantizer.codebook.data.normal_()
        for parameter_name, parameter in net.named_parameters():
            if parameter_name.endswith((".beta", ".gamma")):
                nn.init.constant_(parameter, RESIDUAL_SCALE)
        for module in net.modules():
            if isinstance(module, DeformConv2d):
                nn.init.normal_(module.conv_offset.weight, std=OFFSET_STD)
    elif name in PEERS:
        net = build_peer(name)
    elif Path(name).exists() or Path(name).suffix or name in packaged.NAMES:
        net = load_network(name)
    else:
        raise UserError(f"there is no network '{name}'{nearest(name, [*own, *PEERS, *packaged.NAMES])}")
    if isinstance(net, VQNetwork) and not net.is_prior:
        freeze_prior(net)  # as in the stages that start from a prior
    return net.to(device).eval()


def build_peer(name: str) -> nn.Module:
    """Build a peer with random weights from the package that brings it."""
    package, architecture, options = PEERS[name]
    try:
        registry = getattr(importlib.import_module(package), REGISTRIES[package])
        module = sys.modules[type(registry.get(architecture).architecture).__module__]
        return getattr(module, architecture)(**options)
    except ModuleNotFoundError as error:
        raise Unavailable(f"{package} is not installed") from error
    except Exception as error:
        raise Unavailable(f"{package} {name}: {type(error).__name__}: {error}") from error


@contextmanager
def as_published(net: VQNetwork) -> Iterator[None]:
    """Give a network torchvision's deformable convolution, torch's own operators and the published padding."""
    ours, net.padding = net.padding, "published"
    try:
        with plain_operators():
            yield
    finally:
        net.padding = ours


def training_loss(net: nn.Module, image: Tensor) -> Tensor:
    """Return L1 to the image and, of ours, the alignment of features with their codes and the entropy of scores.

    The targets are the network's own input and codes: the cost of a step is that of one with a ground truth.
    """
    if isinstance(net, AssociatedPriors):
        restored, codes = net(image, lq=image, return_codes=True)
    elif isinstance(net, VQNetwork):
        restored, codes = net(image, return_codes=True)
    else:
        restored, codes = net(image), None
        restored = restored[0] if isinstance(restored, tuple) else restored  # CodeFormer's has more to give
    target = image.repeat(len(restored) // len(image), 1, 1, 1)
    loss = F.l1_loss(restored.float(), F.interpolate(target, restored.shape[-2:]))
    for code in codes.per_codebook if codes is not None else ():
        if code.quantized is not None:
            loss = loss + F.mse_loss(code.features.float(), code.quantized)
        if code.logits is not None:
            loss = loss + F.cross_entropy(code.logits, code.indices)
    return loss


def work_of(case: Case, net: nn.Module, image: Tensor) -> Callable[[], Any]:
    """Return the function that is measured: a forward pass, or a training step with `training_loss` and Adam."""

    def forward() -> Any:
        with torch.inference_mode(), precision_of(net, case.precision):
            return net(image)

    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-6) if case.train else None

    def step() -> None:
        net.train()
        with precision_of(net, case.precision):
            loss = training_loss(net, image)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        net.eval()

    measured = step if case.train else forward
    if not case.is_reference:
        return measured

    def reference() -> Any:
        with as_published(net):
            return measured()

    return reference
