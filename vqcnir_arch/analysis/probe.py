"""Reads and replaces what happens inside a network while it restores an image: the one thing a host has to allow.

A network can be analysed if it is an `nn.Module` that

* takes and gives images as `VQNetwork` does (`net(x)`, `scale`, `size_multiple`), and
* calls each of its `Quantizer` modules exactly once per forward pass, whatever it does around them.

So several codebooks (AdaCode) or a classifier (CodeFormer) need no code here. What a host may add is one function in
`fusion_off.py` (which of its parts are the feature fusion), and an `AnalysisPart` (as AdaCode's weight maps).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vqcnir_arch.archs import Codes, NearestCode, Quantizer, find_quantizers
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.padding import crop_bottom_right, pad_bottom_right
from vqcnir_arch.archs.quantizers.nearest_code import nearest_indices
from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.papers import papers

Edits = Mapping[nn.Module, Callable[[tuple[Any, ...], Any], Any]]
"""What a module's output is replaced by: a function of its inputs and its output."""


@dataclass(frozen=True)
class ForwardPass:
    """One image through a network.

    Attributes:
        image: the output, [1, 3, H·scale, W·scale].
        codes: what each quantizer saw and gave, of the padded image.
        cells: (height, width) of the part of each feature map that the image itself touches.
        weights: what the network's `weight_predictor` gives, where it weighs several codebooks, without the padding.
    """

    image: Tensor
    codes: list[Codes]
    cells: list[tuple[int, int]]
    weights: Tensor | None = None

    def rows(self, number: int, feature: Tensor) -> Tensor:
        """Return the vectors of a feature map [1, d, h, w] of quantizer `number` without the padding, [N, d]."""
        return crop_bottom_right(feature, *self.cells[number])[0].flatten(1).t()

    def indices(self, number: int, quantizer: Quantizer) -> Tensor:
        """Return the codes of quantizer `number` without the padding, [h, w].

        Where the quantizer chooses none (SinCA, VR, ...), the codes nearest to its output.
        """
        codes, (height, width) = self.codes[number], self.cells[number]
        if codes.indices is not None:
            return crop_bottom_right(codes.indices, height, width)[0]
        return nearest_indices(self.rows(number, codes.output), quantizer.codebook).view(height, width)


class Probe:
    """A network that can be looked into.

    Args:
        net: the network, in eval mode.
        name: how errors call it.

    Raises:
        UserError: it has no quantizer.
    """

    def __init__(self, net: VQNetwork, name: str) -> None:
        self.net, self.name = net, name
        self.quantizers = find_quantizers(net)
        if not self.quantizers:
            raise UserError(f"{name}: {type(net).__name__} has no codebook to analyse")

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @torch.no_grad()
    def run(self, x: Tensor, impose: Sequence[Tensor] | None = None, edits: Edits | None = None) -> ForwardPass:
        """Restore one image and keep what the quantizers saw and gave.

        Args:
            x: [1, 3, H, W].
            impose: outputs that take the place of the quantizers' own, one [1, d, h, w] each.
            edits: modules whose output is replaced.

        Raises:
            UserError: an imposed feature has another size, or a quantizer was not called exactly once.
        """
        seen: dict[str, Codes] = {}

        def record(name: str, number: int) -> Callable[..., Codes | None]:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...], codes: Codes) -> Codes | None:
                if name in seen:
                    raise UserError(f"{self.name}: quantizer '{name}' is called more than once per image")
                seen[name] = codes
                if impose is None:
                    return None
                if impose[number].shape != codes.output.shape:
                    raise UserError(
                        f"{self.name}: the imposed feature is {list(impose[number].shape)}, quantizer '{name}' gives "
                        f"{list(codes.output.shape)}"
                    )
                return codes._replace(output=impose[number])

            return hook

        def edit(replace: Callable[[tuple[Any, ...], Any], Any]) -> Callable[..., Any]:
            return lambda module, inputs, output: replace(inputs, output)

        x = x.to(self.device)
        with ExitStack() as hooks:
            for number, (name, quantizer) in enumerate(self.quantizers.items()):
                hooks.enter_context(quantizer.register_forward_hook(record(name, number)))
            maps: list[Tensor] = []
            if isinstance(predictor := getattr(self.net, "weight_predictor", None), nn.Module):
                hooks.enter_context(predictor.register_forward_hook(edit(lambda inputs, output: maps.append(output))))
            for module, replace in (edits or {}).items():
                hooks.enter_context(module.register_forward_hook(edit(replace)))
            image = self.net(x)
        missing = [name for name in self.quantizers if name not in seen]
        if missing:
            raise UserError(f"{self.name}: the forward pass does not call quantizer '{missing[0]}'")
        codes = [seen[name] for name in self.quantizers]
        padded = pad_bottom_right(x, self.net.size_multiple)  # as the network pads it inside (`padding: exact`)
        cells = [touched_cells(x.shape[-2:], padded, c.output) for c in codes]
        return ForwardPass(image, codes, cells, crop_bottom_right(maps[0], *cells[0]) if maps else None)


def truth_run(prior: Probe, gt: Tensor, net: VQNetwork | None, impose: Sequence[Tensor] | None = None) -> ForwardPass:
    """Run the prior on a ground truth, on the grid that `net` has for its input.

    Args:
        prior: the frozen prior.
        gt: [1, 3, H, W].
        net: the restoration network that the result is to be compared with; its padding decides the grid.
        impose: as of `Probe.run`.
    """
    if net is None:
        return prior.run(gt, impose)
    height, width = gt.shape[-2:]
    padded = pad_bottom_right(gt, net.size_multiple * net.scale)
    run = prior.run(padded, impose)
    cells = [touched_cells((height, width), padded, codes.output) for codes in run.codes]
    return ForwardPass(crop_bottom_right(run.image, height, width), run.codes, cells)


def touched_cells(size: tuple[int, int], padded: Tensor, feature: Tensor) -> tuple[int, int]:
    """Return (height, width) of the part of `feature` that an image of `size` touches, once padded to `padded`."""
    (height, width), (full_height, full_width) = size, padded.shape[-2:]
    h, w = feature.shape[-2:]
    return -(-height * h // full_height), -(-width * w // full_width)


def check_prior(prior: Probe, net: Probe) -> None:
    """Raise `UserError` unless the prior has the codebooks of the network and chooses the nearest code."""
    for name, quantizer in prior.quantizers.items():
        if not isinstance(quantizer, NearestCode):
            raise UserError(f"{prior.name}: quantizer '{name}' is a {type(quantizer).__name__}, expected a NearestCode")
    theirs, ours = list(prior.quantizers.values()), list(net.quantizers.values())
    same = len(theirs) == len(ours) and all(
        a.codebook.shape == b.codebook.shape and torch.allclose(a.codebook, b.codebook, atol=1e-4)
        for a, b in zip(theirs, ours, strict=True)
    )
    if not same:
        raise UserError(f"{prior.name} is not the prior of {net.name}: their codebooks differ")


def printed_figure(probe: Probe | None, quantity: str) -> str | None:
    """Return what a paper prints for a figure of this network with its own quantizer, in one phrase; None: nothing."""
    kinds = {type(quantizer).__name__ for quantizer in probe.quantizers.values()} if probe else set()
    if not probe or kinds != {type(probe.net).default_quantizer}:
        return None
    of_network = (figure for figure in papers().figures if figure.network == type(probe.net).__name__)
    return next((str(figure) for figure in of_network if figure.quantity == quantity), None)
