"""`network_g: {from: CHECKPOINT}`: a network as its checkpoint has it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection
from typing import Any

from vqcnir_arch.archs.loading import recognise, without_prefix
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.options.sections import shown
from vqcnir_arch.registry import ARCH_REGISTRY, lookup
from vqcnir_arch.state_dicts import unwrapped
from vqcnir_arch.tensor_files import checkpoint_file, load_file, refuse_training_state

FROM = "from"
Place = tuple[str, ...]
"""The keys that lead to an option."""


def is_network(place: Place) -> bool:
    """Tell whether a network stands at a place of an option file."""
    return len(place) == 1 and place[0].startswith("network_")


def resolve_networks(options: dict[str, Any], forced: Collection[Place] = ()) -> list[str]:
    """Put type and options of its checkpoint in the place of each network's `from`.

    Options that say nothing about the tensors (`padding`, `prior`, ...) may stand beside it, others if they are the
    checkpoint's. `path: pretrain_network_g` and `param_key_g` are by default the checkpoint and what is read in it.
    Where `from` came by `--force_yml`, what the file says of its own network and checkpoint is left out.

    Args:
        options: the content of an option file, which is changed.
        forced: the places that `--force_yml` has set.

    Returns:
        One line for each network that was read.

    Raises:
        UserError: a checkpoint cannot be read, is no network's of this library, or has another value than what stands
            beside `from`.
    """
    notes = []
    for name, block in list(options.items()):
        if is_network((name,)) and isinstance(block, dict) and FROM in block:
            try:
                options[name] = resolved(options, name, forced)
            except UserError as error:
                raise UserError(f"{name}: {FROM}: {error}") from error
            notes.append(f"{name} is the {options[name]['type']} of '{block[FROM]}'")
    return notes


def resolved(options: dict[str, Any], name: str, forced: Collection[Place]) -> dict[str, Any]:
    """Return a network's block with its checkpoint's options; the checkpoint is entered in `path:`."""
    block, replaces_file = options[name], (name, FROM) in forced
    source = block[FROM]
    if not isinstance(source, str):
        raise UserError(f"expected the path of a checkpoint, got {shown(source)}")
    path = options["path"] = options.get("path") or {}
    if not isinstance(path, dict):
        raise UserError(f"path: expected a mapping, got {shown(path)}")
    label = name.removeprefix("network_")
    weights, key = f"pretrain_network_{label}", f"param_key_{label}"
    for option in (weights, key):
        if replaces_file and ("path", option) not in forced:
            path.pop(option, None)
    file = checkpoint_file(source)
    content = load_file(file, "checkpoint")
    refuse_training_state(content, file)
    tensors, wrapper = unwrapped(content, source, path.get(key))
    if path.get(weights) is None:
        path |= {weights: str(file), key: wrapper or None}

    cls, found = recognise(without_prefix(tensors, source), f"checkpoint '{source}'")
    own = json.loads(json.dumps(cls.complete_options(found)))
    free = [option for option in cls.runtime_options if option in inspect.signature(cls).parameters]
    if replaces_file:
        from_line = {place[1] for place in forced if place[0] == name}
        block = {option: value for option, value in block.items() if option in from_line or option in free}
    if "type" in block and lookup(ARCH_REGISTRY, str(block["type"])) is not cls:
        raise UserError(f"checkpoint '{source}' holds a {cls.__name__}, not a {block['type']}: leave type out")
    beside = {option: value for option, value in block.items() if option not in (FROM, "type")}
    for option in beside:
        if option in own and option not in free and not agrees(beside[option], own[option]):
            raise UserError(
                f"checkpoint '{source}' was made with {option}: {shown(own[option])}, not {shown(beside[option])}: "
                f"leave {option} out"
            )
    given = {option: value for option, value in beside.items() if option in free or option not in own}
    return {"type": registered(cls), **own, **given}


def agrees(given: Any, own: Any) -> bool:
    """Tell whether what stands beside `from` is the checkpoint's; of a block, what is given of it."""
    if isinstance(given, dict) and isinstance(own, dict):
        return all(option in own and agrees(value, own[option]) for option, value in given.items())
    return given == own


def registered(cls: type[VQNetwork]) -> str:
    """Return the name of a class in the registry, where another project may hold the one that it has."""
    return next(name for name, each in ARCH_REGISTRY if each is cls)
