"""From any published or own checkpoint to its network, or one clear error."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.extra_state import EXTRA_STATE, decode_options
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.published.layout import all_layouts, closest_names, dead_names, layouts_of
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.packaged import DEFAULT
from vqcnir_arch.registry import ARCH_REGISTRY, registered
from vqcnir_arch.state_dicts import one_of_prefixes
from vqcnir_arch.tensor_files import read_state_dict

DEEPEST_PREFIX = 3
"""So many modules may wrap a published network."""
PLAUSIBLE = 4096
"""Options up to this may be numbers that no tensor shows; so many blocks are built, and refused, in seconds."""


def own_networks() -> list[type[VQNetwork]]:
    """Return the registered networks of this library."""
    known = registered(ARCH_REGISTRY).values()  # BasicSR's others are not asked for
    classes = [obj for obj in known if isinstance(obj, type) and issubclass(obj, VQNetwork)]
    return sorted(classes, key=lambda cls: cls.__name__)


def without_prefix(state_dict: Mapping[str, Tensor], name: str = "the state dict") -> dict[str, Tensor]:
    """Return a network's tensors without what stands before the names of all, as a wrapping module puts it.

    Ours say by `_extra_state` where a network begins; of published ones it is tried what is recognised.

    Raises:
        UserError: there are several networks.
    """
    tensors = {key: tensor for key, tensor in state_dict.items() if isinstance(tensor, Tensor)}
    beginnings = {key.removesuffix(EXTRA_STATE) for key in tensors if key.endswith(f".{EXTRA_STATE}")}
    prefixes = [each for each in beginnings if not any(each != o and each.startswith(o) for o in beginnings)]
    if EXTRA_STATE in tensors or is_published(tensors):
        return tensors
    if not prefixes:
        heads = Counter(
            ".".join(parts[:depth]) + "."
            for parts in (key.split(".") for key in tensors)
            for depth in range(1, min(len(parts), DEEPEST_PREFIX + 1))
        )
        most = [head for head, count in heads.items() if count >= len(tensors) / 3]
        prefixes = [head for head in most if is_published(behind(head, tensors))]
    return behind(one_of_prefixes(sorted(prefixes), name), tensors) if prefixes else tensors


def behind(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, without this beginning."""
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def is_published(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a layout of published files recognises tensors."""
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    try:
        return any(layout.options(shapes) is not None for layout in all_layouts())
    except (LookupError, TypeError, ValueError):  # options are read off shapes that are of something else
        return False


def detect(state_dict: Mapping[str, Tensor], name: str = "the state dict") -> tuple[type[VQNetwork], dict[str, Any]]:
    """Return the network class and the options that a state dict was made with.

    Our own files carry them; published ones are recognised from the names and shapes of their tensors.

    Raises:
        UserError: none of the networks fits.
    """
    classes = {cls.__name__: cls for cls in own_networks()}
    if EXTRA_STATE in state_dict:
        arch, options = decode_options(state_dict[EXTRA_STATE])
        if arch not in classes:
            raise UserError(f"{name} holds a network '{arch}' that this version does not know{nearest(arch, classes)}")
        known = classes[arch].complete_options({})  # not `prior`: a checkpoint names no other file to read
        for option in options:
            if option not in known:
                raise UserError(f"{name}: {arch} has no option '{option}'{nearest(option, known)}")
        return classes[arch], options
    shapes = {key: tensor.shape for key, tensor in state_dict.items()}
    layouts = [layout for layout in all_layouts() if layout.network in classes]
    for layout in layouts:
        found = layout.options(shapes)
        if found is not None:
            return classes[layout.network], found
    layouts = [layout for layout in layouts if not layout.is_foreign(shapes)]
    closest = min(layouts, key=lambda layout: len(layout.missing(shapes)) / len(layout.required))
    missing = closest.missing(shapes)
    if 0 < len(missing) < len(closest.required) / 2:
        raise UserError(f"{name} looks like a published {closest.network} but misses {', '.join(missing)}")
    if any(key.endswith("quantizer.codebook") for key in state_dict):
        raise UserError(
            f"{name} has tensors of this library, but not '{EXTRA_STATE}', which carries the network's options: save "
            "all of net.state_dict(), or load these into a network built with its options and save that"
        )
    raise UserError(
        f"{name} is not a checkpoint of {', '.join(classes)}: "
        f"its {len(state_dict)} tensors start with {', '.join(list(state_dict)[:3])}"
    )


def load_into(net: nn.Module, state_dict: Mapping[str, Tensor], name: str, strict: bool = True) -> None:
    """Load a state dict, published or ours, into a network.

    Raises:
        UserError: what is missing, unexpected or of another size (with `strict=False` only other sizes), or not finite.
    """
    if isinstance(net, VQNetwork):
        state_dict = without_prefix(state_dict, name)
    try:
        net.load_state_dict(dict(state_dict), strict=strict)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        lines.sort(key=lambda line: not line.startswith("the file "))  # what it is says more than what it lacks
        shortened = "; ".join(line if len(line) < 240 else line[:240] + " ..." for line in lines[:3])
        raise UserError(f"{name} does not fit {type(net).__name__}: {shortened}") from error
    for key, tensor in net.named_parameters():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{name} holds NaN or infinite values in '{key}': its training has failed")


def check_size(cls: type[VQNetwork], options: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> None:
    """Refuse options whose network is larger than its checkpoint, before memory is taken for it.

    Raises:
        UserError: the options do not belong to the tensors.
    """
    largest = max(len(state_dict), *(max(tensor.shape, default=0) for tensor in state_dict.values()))
    for value in numbers_in(options):
        if value > max(largest, PLAUSIBLE):
            raise UserError(f"the options name {value}, more than any size in the file ({largest})")
    with torch.device("meta"):
        needed = sum(p.numel() for p in cls(**options).parameters())
    stored = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in dense(state_dict)}.values())
    if needed > stored:  # no number takes less than a byte
        raise UserError(
            f"the options make a network of {needed:,} numbers, the tensors have {stored:,} bytes: is it a part of one?"
        )


def recognise(state_dict: Mapping[str, Tensor], name: str) -> tuple[type[VQNetwork], dict[str, Any]]:
    """Return what `detect` gives, of a network that is not larger than its checkpoint.

    Raises:
        UserError: the tensors are of something else, or broken; the message begins with `name`.
    """
    with broken(name):
        cls, options = detect(state_dict, name)
        check_size(cls, options, state_dict)
    return cls, options


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Turn what broken options of a checkpoint raise into a `UserError` that says whose they are."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error) if name in str(error) else f"{name}: {error}") from error
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} is broken: {type(error).__name__} {str(error).splitlines()[0]}") from error


def dense(state_dict: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the tensors that have a storage; sparse ones have none."""
    return [tensor for tensor in state_dict.values() if tensor.layout == torch.strided]


def numbers_in(options: Any) -> list[int]:
    """Return all whole numbers in nested options."""
    if isinstance(options, Mapping | list | tuple):
        values = options.values() if isinstance(options, Mapping) else options
        return [number for value in values for number in numbers_in(value)]
    return [options] if isinstance(options, int) else []


def load_network(
    source: str | os.PathLike[str] | Mapping[str, Tensor] = DEFAULT,
    device: str | torch.device = "cpu",
    name: str = "the state dict",
    key: str | None = None,
) -> VQNetwork:
    """Build the network that a checkpoint was made with, load it strictly, and return it in eval mode.

    Args:
        source: path of a published or own checkpoint (EMA weights are taken where there are any), the name of a network
            that comes with this library, such as the default `vqcnir-s`, `hf:user/repo` of the Hugging Face Hub, or a
            state dict.
        device: where the network goes.
        name: what errors call a state dict.
        key: the dictionary in a file that is meant, where it holds several; points lead deeper.

    Returns:
        A network whose call takes and gives [B, 3, H, W] RGB images of nominal range [0, 1].

    Raises:
        UserError: the file is missing, broken, or a checkpoint of something else; the message says which.
    """
    if isinstance(source, Mapping):
        state_dict = source
    else:
        state_dict, name = read_state_dict(source, key=key), f"checkpoint '{source}'"
    with broken(name):
        state_dict = without_prefix(state_dict, name)
    cls, options = recognise(state_dict, name)
    with broken(name):
        net = cls(**options)
    load_into(net, state_dict, name)
    return net.to(device).eval()


def load_restorer(
    path: str | os.PathLike[str] = DEFAULT, device: str | torch.device = "cpu", key: str | None = None
) -> VQNetwork:
    """Load a checkpoint that must restore images; arguments and errors as of `load_network`, and one for a prior."""
    net = load_network(path, device, key=key)
    if net.is_prior:
        raise UserError(f"checkpoint '{path}' is a prior (stage I): it restores nothing, expected stage II")
    return net


def load_prior_network(
    path: str | os.PathLike[str], expected: str = "VQGANPrior", member: str | None = None
) -> VQNetwork:
    """Load a checkpoint that must be an `expected` prior, ours or published; same errors as `load_network`.

    Of a network of several priors, such as `AssociatedPriors`, it is the one of the name `member`.
    """
    net = load_network(path)
    if member is not None and isinstance(getattr(net, member, None), VQNetwork):
        net = getattr(net, member)
    if type(net).__name__ != expected or not net.is_prior:
        kind = " that is no prior" if type(net).__name__ == expected else ""
        raise UserError(f"prior '{path}' is a {type(net).__name__}{kind}, expected a {expected}")
    return net


def published_state_dict(net: VQNetwork) -> dict[str, Tensor]:
    """Return the network's tensors, the same bytes, under the names that its authors' code has.

    Tensors that their files carry without using them are not there.

    Raises:
        UserError: the network has options that no published layout of it can express.
    """
    own, clashes = net.state_dict(), []
    for layout in layouts_of(net):
        state = {published: own[name] for name, published in layout.published_names(net).items()}
        found = layout.options({name: tensor.shape for name, tensor in state.items()})
        if found is None:
            continue
        found = json.loads(json.dumps(net.complete_options(found)))
        options = json.loads(json.dumps(net.options))
        differing = [name for name in options if name not in net.runtime_options and found[name] != options[name]]
        if not differing:
            return state
        clashes += [f"{name}: {options[name]}" for name in differing]
    kind = type(net).__name__
    if clashes:
        raise UserError(f"the published layout cannot hold {clashes[0]} of this {kind}")
    raise UserError(f"this {kind} has no published layout: its tensors are {', '.join(own)[:80]}...")


def dropped(net: VQNetwork, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return one line for each group of published tensors in a file that the network has no use for."""
    names, dead = closest_names(net, tensors)
    lines = []
    for beginning, unused in dead_names(dead, tensors, {*names, *names.values()}).items():
        numbers = sum(tensors[name].numel() for name in unused)
        lines.append(f"dropped {len(unused)} dead tensors {beginning}* ({numbers:,} numbers)")
    return lines
