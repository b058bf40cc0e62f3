"""Frozen VGG features for the perceptual and the semantic-guided loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import vgg16, vgg19

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.tensor_files import existing_file, read_state_dict


class Depth(NamedTuple):
    """One of the two published depths: torchvision's constructor and file, convolutions of each block."""

    build: Callable[..., Any]
    file: str
    convolutions: tuple[int, ...]


DEPTHS = {
    "VGG16": Depth(vgg16, "vgg16-397923af.pth", (2, 2, 3, 3, 3)),
    "VGG19": Depth(vgg19, "vgg19-dcbb9e9d.pth", (2, 2, 4, 4, 4)),
}
FILE_NAME = DEPTHS["VGG19"].file
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def layer_names(depth: str = "VGG19") -> list[str]:
    """Return the names of torchvision's VGG feature layers in order: conv1_1, relu1_1, ..., pool5."""
    names = []
    for block, convolutions in enumerate(DEPTHS[depth].convolutions, start=1):
        for i in range(1, convolutions + 1):
            names += [f"conv{block}_{i}", f"relu{block}_{i}"]
        names.append(f"pool{block}")
    return names


def find_weights(weights: str | None, depth: str = "VGG19") -> Path:
    """Return the file of torchvision's VGG weights: `weights` if given, else one of the two usual places.

    Raises:
        UserError: there is none; the message names the file and the three places.
    """
    if weights is not None:
        return existing_file(weights, f"{depth} weights")
    name = DEPTHS[depth].file
    places = [
        Path(torch.hub.get_dir()) / "checkpoints" / name,
        Path("experiments/pretrained_models").resolve() / name,
    ]
    for place in places:
        if place.is_file():
            return place
    raise UserError(
        f"{depth} weights are missing: put torchvision's '{name}' (https://download.pytorch.org/models/{name}) "
        f"at '{places[0]}' or '{places[1]}', or name it with the option 'weights:' of the loss"
    )


class VGGFeatures(nn.Module):
    """Features of torchvision's ImageNet VGG at the named layers, built no deeper than needed, frozen.

    Args:
        layers: names such as `relu4_4`.
        weights: path of torchvision's weights (all of them or the feature layers alone); None: see `find_weights`.
        depth: `VGG16` or `VGG19`.

    Takes [B, 3, H, W] RGB in [0, 1], gives a dictionary of [B, C, H/2^pools, W/2^pools].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Sequence[str], weights: str | None = None, depth: str = "VGG19") -> None:
        super().__init__()
        self.depth = depth
        known = layer_names(depth)
        for layer in layers:
            if layer not in known:
                raise UserError(f"{depth} has no layer '{layer}'{nearest(layer, known)}")
        self.layers = tuple(layers)
        needed = max(known.index(layer) for layer in layers) + 1
        with torch.device("meta"):  # the weights come from the file: no memory, no draws from the random state
            self.features: nn.Sequential = DEPTHS[depth].build(weights=None).features[:needed]
        # in-place ReLUs would overwrite the conv features that a caller may have asked for
        for module in self.features:
            if isinstance(module, nn.ReLU):
                module.inplace = False
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self._load(find_weights(weights, depth))
        self.requires_grad_(False)
        self.eval()

    def _load(self, path: Path) -> None:
        tensors = {name.removeprefix("features."): t for name, t in read_state_dict(path).items()}
        wanted = self.features.state_dict()
        missing = [f"features.{name}" for name, t in wanted.items() if name not in tensors
                   or tensors[name].shape != t.shape]  # fmt: skip
        if missing:
            raise UserError(f"'{path}' is not torchvision's {self.depth}: {missing[0]} is missing or has another size")
        self.features.load_state_dict({name: tensors[name].float() for name in wanted}, assign=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = (x - self.mean) / self.std
        found = {}
        for name, module in zip(layer_names(self.depth), self.features, strict=False):
            x = module(x)
            if name in self.layers:
                found[name] = x
        return found
