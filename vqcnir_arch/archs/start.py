"""How a network starts from a checkpoint of another, the same way for all, and what is frozen then."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.extra_state import EXTRA_STATE
from vqcnir_arch.archs.loading import load_into, load_prior_network
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.quantizers import find_quantizers
from vqcnir_arch.errors import UserError
from vqcnir_arch.tensor_files import read_state_dict

WHOLE = {"": ""}
"""All of a prior, as parts."""
STRUCTURE = {
    "flavour": None,
    "channels": None,
    "res_blocks": None,
    "norm_groups": None,
    "generator_upsample": "nearest",
}
"""Options that the sizes of tensors do not tell: what a network has that has no such option (None: whatever it is)."""
logger = logging.getLogger("basicsr")


def start_from_prior(net: VQNetwork, path: str | None, freeze: bool | None, loose: Sequence[str] = ()) -> None:
    """Start a host's `prior_parts` from its prior's checkpoint, and freeze what is to be frozen.

    Args:
        net: the host, all of whose layers are there.
        path: checkpoint of a prior of the network's `prior_type`, ours or published; None starts from scratch.
        freeze: freeze the `frozen_parts`, too; None: whether there is a prior. Codebooks are frozen in any case.
        loose: as of `start_parts`.

    Raises:
        UserError: as of `start_parts`.
    """
    start_parts(net, path, net.prior_parts(), net.prior_type, loose=loose)
    freeze_prior(net, path is not None if freeze is None else freeze)


def freeze_prior(net: VQNetwork, whole: bool = True) -> None:
    """Freeze all codebooks, and with `whole` the `frozen_parts`: what a host has from its prior and does not train."""
    for quantizer in find_quantizers(net).values():
        quantizer.codebook.requires_grad_(False)
    for name in net.frozen_parts if whole else ():
        net.get_submodule(name).requires_grad_(False)


def start_parts(
    net: VQNetwork,
    path: str | None,
    parts: Mapping[str, str],
    kind: str,
    member: str | None = None,
    loose: Sequence[str] = (),
) -> None:
    """Copy parts of a prior's checkpoint into a network: of its tensors those that the network has, too.

    Args:
        net: the network.
        path: the prior's checkpoint; None changes nothing.
        parts: our name of each module or tensor that starts from the prior: the prior's name.
        kind: name of the prior's class.
        member: its name in a network of several priors, where the checkpoint is of one.
        loose: our names of parts in which tensors of another size are left as they are.

    Raises:
        UserError: the file is missing or broken, no prior of that kind, or one of other options or sizes.
    """
    if path is None:
        return
    prior = load_prior_network(path, kind, member)
    own, tensors, clashes = net.state_dict(), {}, []
    for mine, theirs in parts.items():
        for name, tensor in below(prior.state_dict(), theirs).items():
            target = mine + name.removeprefix(theirs)
            if target in own and tensor.shape == own[target].shape:
                tensors[target] = tensor
            elif target in own and mine not in loose:
                clashes.append(f"{target} {list(tensor.shape)} instead of {list(own[target].shape)}")
    if clashes:
        raise UserError(f"prior '{path}' has other sizes than this network: {clashes[0]}, {len(clashes)} in all")
    if not parts.keys() <= own.keys():  # tensors alone, such as a codebook, have no structure
        wanted = {**{n: value for n, value in STRUCTURE.items() if value}, **net.prior_options()}
        differing = [n for n in STRUCTURE if n in wanted and n in prior.options and prior.options[n] != wanted[n]]
        if differing:
            clashes = [f"{n} {prior.options[n]} instead of {wanted[n]}" for n in differing]
            raise UserError(f"prior '{path}' has other options than this network: {', '.join(clashes)}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    logger.info("%s: %d tensors start from the prior %s", type(net).__name__, len(tensors), path)


def below(state_dict: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the tensors of a part: the one of its name, or those of the module; of the whole for an empty name."""
    beginning = f"{part}." if part else ""
    names = [name for name in state_dict if name == part or name.startswith(beginning)]
    return {name: state_dict[name] for name in names if name.rpartition(".")[2] != EXTRA_STATE}


def start_from_curve(illumination: nn.Module | None, path: str | None) -> None:
    """Load a network's illumination curve, which was trained alone, and freeze it; None changes nothing.

    Raises:
        UserError: the network has none, or the file holds something else.
    """
    if path is None:
        return
    if illumination is None:
        raise UserError("curve names a checkpoint, but this network has no `illumination`")
    load_into(illumination, read_state_dict(path), f"curve '{path}'")
    illumination.requires_grad_(False)
