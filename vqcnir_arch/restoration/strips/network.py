"""A network on images of any size in bounded memory, with the statistics of the whole image."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.aiem import IMAConv
from vqcnir_arch.archs.deform_conv import DeformConv2d
from vqcnir_arch.archs.depthwise import DepthwiseConv2d
from vqcnir_arch.archs.layers import Upsample
from vqcnir_arch.archs.maps import local
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.padding import crop_bottom_right
from vqcnir_arch.archs.quantizers import Codes, NearestCode, Quantizer
from vqcnir_arch.archs.quantizers.nearest_code import code_distances
from vqcnir_arch.archs.swin import SwinBlock
from vqcnir_arch.errors import UserError
from vqcnir_arch.memory import is_out_of_memory
from vqcnir_arch.restoration.attention_time import attention_over_features
from vqcnir_arch.restoration.strips.maps import Map, NotLocal, Plan, joined, make_map, store, stored_map, whole
from vqcnir_arch.restoration.strips.rules import deform
from vqcnir_arch.restoration.strips.store import Scratch

NEAR_TIE = 1e-4
"""Two codes whose distances differ by less than this share of them may be told apart by rounding alone."""
TOKENS = 16384
"""Positions whose distances to all codes are in memory at a time."""
LOCAL = (DepthwiseConv2d, IMAConv, Upsample)
"""Modules that are computed on strips as they are: on tensors they have faster forms than torch's operators."""
TRIAL_SIZE, TRIAL_SHARE, TRIAL_ERROR = 40, 0.3, 1e-2
"""Least height and width of the image on which it is tried whether strips know a network, the share of its rows that a
strip has, and the largest difference from the whole image's result, over its standard deviation."""


class StripResult(NamedTuple):
    """What `restore_in_strips` gives.

    Attributes:
        image: [1, 3, H, W], times the network's scale, not clamped.
        indices: the chosen codes, [1, h, w]; None where the quantizer is not `NearestCode`.
        near_ties: positions whose two nearest codes are as good as equally near.
        disk: bytes of scratch files that were there at a time.
    """

    image: Tensor
    indices: Tensor | None
    near_ties: int
    disk: int


def parts(net: VQNetwork) -> int:
    """Return how often `restore_in_strips` reports progress."""
    return len(net.checkpointed_modules())


@torch.inference_mode()
def restore_in_strips(
    net: VQNetwork,
    image: Tensor,
    scratch: Scratch,
    indices: Tensor | None = None,
    progress: Callable[[], object] = lambda: None,
) -> StripResult:
    """Restore one image layer by layer, each layer in strips of rows.

    The network's own `compute` runs on a `Map`; norms and attention maps see the whole image, so there are no seams.

    Args:
        net: the network, in eval mode on the CPU, one for which `strip_support` has no reason.
        image: [1, 3, H, W], RGB in [0, 1].
        scratch: holds the feature maps.
        indices: codes to use instead of the nearest ones, [1, h, w].
        progress: called after each of `parts(net)` parts.

    Raises:
        UserError: there is no room for the network's features.
    """
    height, width = image.shape[-2:]
    codes = ChosenCodes(indices)
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        progress()

    with on_maps(net, codes, one_more):
        restored = whole(net.compute(stored_map(net.padded(image), scratch)))
    for _ in range(parts(net) - done):  # those of G that the image does not need
        progress()
    image = crop_bottom_right(restored, height * net.scale, width * net.scale)
    return StripResult(image, codes.indices, codes.near_ties, scratch.most_on_disk)


class ChosenCodes:
    """What `NearestCode` chose in strips.

    Args:
        indices: codes to use instead, [1, h, w].
    """

    def __init__(self, indices: Tensor | None) -> None:
        self.indices, self.near_ties = indices, 0

    def choose(self, quantizer: NearestCode, features: Map) -> Codes:
        """Choose the codes of all features and count near ties; nothing of the features is kept."""
        if self.indices is None:
            chosen = [self.nearest(quantizer, rows) for _, (rows,) in Plan([features]).strips()]
            self.indices = torch.cat(chosen, dim=1)
        output = features.scratch.feature(*features.shape[1:])
        step = max(1, TOKENS // features.shape[-1])
        for start in range(0, features.shape[-2], step):
            output.write(quantizer.lookup(self.indices[:, start : start + step]), start)
        return Codes(features, make_map(features.as_subclass(Tensor), features.scratch, output), self.indices)

    def nearest(self, quantizer: NearestCode, features: Tensor) -> Tensor:
        """Return the nearest codes of some rows, [1, rows, w]."""
        found = []
        for tokens in features.permute(0, 2, 3, 1).flatten(0, 2).split(TOKENS):
            distances = code_distances(tokens, quantizer.codebook)
            nearest, indices = distances.min(1)
            second = distances.scatter_(1, indices[:, None], torch.inf).amin(1)
            self.near_ties += int((second - nearest < NEAR_TIE * (nearest + tokens.square().sum(1))).sum())
            found.append(indices)
        return torch.cat(found).view(1, -1, features.shape[-1])


@contextmanager
def on_maps(net: VQNetwork, codes: ChosenCodes, progress: Callable[[], object]) -> Iterator[None]:
    """Let a network's modules take maps: what its big blocks give is stored, once for all that need it."""
    changed = []

    def change(module: nn.Module, on_map: Callable[..., Any]) -> None:
        forward = module.forward
        module.forward = lambda x, *more: (on_map if isinstance(x, Map) else forward)(x, *more)
        changed.append(module)

    def store_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        for x in inputs if len(inputs) > 1 else ():  # a fusion, which looks at its inputs more than once
            store_parts(x)

    def store_output(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not isinstance(module, Upsample):  # to which something may be added
            store_parts(output)
        progress()

    hooks = [block.register_forward_pre_hook(store_inputs) for block in net.checkpointed_modules()]
    hooks += [block.register_forward_hook(store_output) for block in net.checkpointed_modules()]
    try:
        for module in net.modules():
            if isinstance(module, NearestCode):
                change(module, partial(codes.choose, module))
            elif isinstance(module, Quantizer):
                change(module, partial(quantize, module.forward))
            elif isinstance(module, DeformConv2d):
                change(module, partial(deform, module))
            elif isinstance(module, LOCAL):
                change(module, partial(local, module.forward))
        yield
    finally:
        for module in changed:
            del module.forward  # the class's again
        for hook in hooks:
            hook.remove()


def store_parts(x: Any) -> None:
    """Store a map, or those that are concatenated to it."""
    if isinstance(x, Map):
        for part in joined(x):
            store(part)


def quantize(forward: Callable[[Tensor], Codes], features: Map) -> Codes:
    """Run a quantizer without attention over the image."""
    return Codes(features, local(lambda x: forward(x).output, features))


known_support: WeakKeyDictionary[VQNetwork, str | None] = WeakKeyDictionary()


def strip_support(net: VQNetwork) -> str | None:
    """Say why a network cannot be computed in strips; None where it can.

    What attends over the image, or in windows of it, is known. All else is tried once on a small image: what strips
    give must be what the whole image gives.

    Args:
        net: a restoration network in eval mode.
    """
    if net not in known_support:
        known_support[net] = attention_reason(net) or trial_reason(net)
    return known_support[net]


def attention_reason(net: VQNetwork) -> str | None:
    """Say which part of a network attends over the image; None where no part is known to."""
    if net.fixed_size is not None:
        return f"{type(net).__name__} takes images of {net.fixed_size} x {net.fixed_size} pixels alone"
    for name, module in net.named_modules():
        if isinstance(module, SwinBlock):
            return f"strips do not know attention in windows ({name.split('.')[0]}: SwinBlock)"
        if isinstance(module, Quantizer) and attention_over_features(module):
            return f"strips do not know attention over the image (quantizer: {type(module).__name__})"
    return None


@torch.inference_mode()
def trial_reason(net: VQNetwork) -> str | None:
    """Say why strips fail, or give something else than the whole image, on a small image; None where they do not."""
    device = next(net.parameters()).device
    rows = 2 * net.size_multiple
    size = rows * -(-TRIAL_SIZE // rows)
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        net.cpu()
        expected, codes = net(image, return_codes=True)
        with tempfile.TemporaryDirectory() as folder:
            scratch = Scratch(Path(folder), 10**9, 10**9, TRIAL_SHARE)
            image = restore_in_strips(net, image, scratch, codes.indices).image
    except UserError as error:
        if not isinstance(error, NotLocal):
            raise  # somebody stops the network
        return f"strips do not know all that {type(net).__name__} does: {error}"
    except Exception as error:  # of torch, on whatever a network of somebody else does with a map
        if is_out_of_memory(error):
            raise
        line = (str(error).splitlines() or [type(error).__name__])[0]
        return f"strips do not know all that {type(net).__name__} does: {line}"
    finally:
        net.to(device)
    if (image - expected).abs().max() > TRIAL_ERROR * expected.std():
        return f"{type(net).__name__} gives something else in strips: what it does depends on a row's place"
    return None


def check_supported(net: VQNetwork) -> None:
    """Raise `UserError` unless a network can be computed in strips."""
    reason = strip_support(net)
    if reason is not None:
        raise UserError(reason)
