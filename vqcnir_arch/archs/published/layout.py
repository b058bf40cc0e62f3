"""A published layout as data: how the files of a network name its tensors, and how its options are read off shapes."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.extra_state import EXTRA_STATE

Rules = tuple[tuple[str, str], ...]
"""(regular expression, replacement) pairs that turn one of our tensor names into the published one, in order."""
Shapes = Mapping[str, torch.Size]
"""The published name of each tensor in a file, and its shape."""
logger = logging.getLogger("basicsr")


@dataclass(frozen=True)
class Layout:
    """How one kind of published file looks; a network may have several.

    Attributes:
        network: name of the network's class.
        names: rules from our names to the published ones, or a function that gives them for a network of a certain
            size.
        read_options: gives the network's options, from the shapes of a file that has all that is `required` and nothing
            `foreign`; None where it is another network's all the same.
        required: tensors by which the file is recognised; `*` stands for anything.
        foreign: tensors that tell it from other networks' files, which have them beside all that is `required`.
        dead: beginnings of the names of tensors that the network does not use; `*` stands for anything.
        variant: options of the networks whose files look so, where others of the class have another layout.
    """

    network: str
    names: Rules | Callable[[nn.Module], Rules]
    read_options: Callable[[Shapes], dict[str, Any] | None]
    required: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    variant: Mapping[str, Any] = field(default_factory=dict)

    def missing(self, shapes: Shapes) -> list[str]:
        """Return what is `required` and not in a file."""
        return [pattern for pattern in self.required if not has(shapes, pattern)]

    def is_foreign(self, shapes: Shapes) -> bool:
        """Whether a file has what is `foreign` to this layout."""
        return any(has(shapes, pattern) for pattern in self.foreign)

    def options(self, shapes: Shapes) -> dict[str, Any] | None:
        """Return the options of the network that a file of these names and shapes holds; None: it looks otherwise."""
        if self.is_foreign(shapes) or self.missing(shapes):
            return None
        options = self.read_options(shapes)
        return None if options is None else {**options, **self.variant}

    def published_names(self, net: nn.Module) -> dict[str, str]:
        """Return the published name of each of a network's tensors."""
        rules = self.names(net) if callable(self.names) else self.names
        return {name: renamed(name, rules) for name in own_names(net)}


LAYOUTS: dict[str, list[Layout]] = defaultdict(list)
"""All layouts, by the name of the network's class."""


def register_layout(layout: Layout) -> Layout:
    """Make a layout known: files that look so are recognised, and load into the network."""
    LAYOUTS[layout.network].append(layout)
    return layout


def all_layouts() -> list[Layout]:
    """Return the layouts in the order in which a file is compared with them."""
    return [layout for network in sorted(LAYOUTS) for layout in LAYOUTS[network]]


def layouts_of(net: nn.Module) -> list[Layout]:
    """Return the layouts that files of a network may have; a class without any has those of its base."""
    for cls in type(net).__mro__:
        if cls.__name__ in LAYOUTS:
            found = LAYOUTS[cls.__name__]
            return [layout for layout in found if layout.variant.items() <= options_of(net).items()]
    return []


def options_of(net: nn.Module) -> Mapping[str, Any]:
    """Return the options that a network of ours was made with; its class stands in a layer above this one."""
    return cast("Mapping[str, Any]", net.options)


def published_names(net: nn.Module) -> dict[str, str]:
    """Return the published name of each of a network's tensors, in its first layout; their own where it has none."""
    layouts = layouts_of(net)
    return layouts[0].published_names(net) if layouts else {name: name for name in own_names(net)}


def rename_published(net: nn.Module, state_dict: dict[str, Tensor], prefix: str = "") -> None:
    """Give a published file's tensors our names, and drop those that the network does not use; in place.

    Of several layouts it is the one with most of its names in the file. What the file lacks or has too much stays for
    the strict loader to say.

    Args:
        net: the network that the file is for.
        state_dict: the file's tensors.
        prefix: what stands before their names where the network is part of another.
    """
    names, dead = closest_names(net, state_dict, prefix)
    for name, published in names.items():
        if prefix + published in state_dict:
            state_dict[prefix + name] = state_dict.pop(prefix + published)
    for beginning, unused in dead_names(dead, state_dict, names, prefix).items():
        for name in unused:
            del state_dict[name]
        logger.info("%s: dropped %d unused tensors '%s*'", type(net).__name__, len(unused), beginning)


def closest_names(
    net: nn.Module, file_names: Iterable[str], prefix: str = ""
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the published names of a network's tensors and the beginnings of dead ones, as a file has most of them."""
    found = set(file_names)
    candidates = [(layout.published_names(net), layout.dead) for layout in layouts_of(net)]
    return max(candidates, key=lambda c: sum(prefix + n in found for n in c[0].values()), default=({}, ()))


def dead_names(
    beginnings: Iterable[str], file_names: Iterable[str], used: Iterable[str], prefix: str = ""
) -> dict[str, list[str]]:
    """Return, by the beginning of their names, the tensors of a file that are dead and not among the used ones."""
    used, left = {prefix + name for name in used}, list(file_names)
    found = {}
    for beginning in beginnings:
        names = [name for name in left if fnmatchcase(name, f"{prefix}{beginning}*") and name not in used]
        if names:
            found[beginning] = names
            left = [name for name in left if name not in names]
    return found


def own_names(net: nn.Module) -> list[str]:
    """Return the names of a network's tensors, its options aside."""
    return [name for name in net.state_dict() if name != EXTRA_STATE]


def renamed(name: str, rules: Rules) -> str:
    """Apply rules to a name, one after the other."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def has(names: Iterable[str], pattern: str) -> bool:
    """Whether a name fits a pattern, in which `*` stands for anything."""
    if "*" not in pattern:
        return pattern in names
    return any(fnmatchcase(name, pattern) for name in names)


def count_numbers(names: Iterable[str], beginning: str) -> int:
    """Count the different numbers that follow `beginning` in names."""
    return len({name.removeprefix(beginning).split(".")[0] for name in names if name.startswith(beginning)})
