"""BasicSR's registries, ours beside them, and how both are filled."""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
    Registry,
)

from vqcnir_arch.errors import UserError, nearest

__all__ = [
    "ARCH_REGISTRY",
    "DATASET_REGISTRY",
    "ENHANCER_REGISTRY",
    "FUSION_REGISTRY",
    "LOSS_REGISTRY",
    "METRIC_REGISTRY",
    "MODEL_REGISTRY",
    "QUANTIZER_REGISTRY",
    "Registry",
    "build",
    "import_modules",
    "level_block",
    "levels_with_defaults",
    "lookup",
    "names",
    "optimizers",
    "register",
    "with_defaults",
]

QUANTIZER_REGISTRY = Registry("quantizer")
ENHANCER_REGISTRY = Registry("enhancer")
FUSION_REGISTRY = Registry("fusion")

SUFFIX = "vqcnir"
T = TypeVar("T", bound=Callable[..., Any])


def register(registry: Registry) -> Callable[[T], T]:
    """Return a decorator that registers a class or function under its own name.

    Where the host project holds that name already, ours goes in as `NAME_vqcnir` (BasicSR's suffix convention) with
    a warning, so that importing this library never breaks a project that vendors or ports one of these networks.
    """

    def decorate(obj: T) -> T:
        if obj.__name__ in registry:
            logging.getLogger("vqcnir").warning(
                "'%s' is already in the %s registry: ours is registered as '%s_%s'",
                obj.__name__, registry._name, obj.__name__, SUFFIX,
            )  # fmt: skip
            registry.register(obj, suffix=SUFFIX)
        else:
            registry.register(obj)
        return obj

    return decorate


def names(registry: Registry) -> list[str]:
    """Return the names that an option file may use; BasicSR's `_basicsr` copies count without their suffix."""
    return sorted({name.removesuffix("_basicsr") for name, _ in registry})


def optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """Return torch's optimisers by name."""
    base = torch.optim.Optimizer
    classes = {name: cls for name, cls in vars(torch.optim).items() if isinstance(cls, type) and issubclass(cls, base)}
    del classes["Optimizer"]
    return classes


def lookup(registry: Registry, name: str) -> Any:
    """Return the object registered as `name`, or raise `UserError` with the nearest right name."""
    if name in registry:
        return registry.get(name)
    if f"{name}_basicsr" in registry:
        return registry.get(f"{name}_basicsr")
    raise UserError(f"unknown {registry._name} type '{name}'{nearest(name, names(registry))}")


def with_defaults(registry: Registry, options: dict[str, Any]) -> dict[str, Any]:
    """Return a `{type: ...}` block with the defaults of its class filled in, as checkpoints carry it."""
    if options["type"] == "none":
        return options
    parameters = inspect.signature(lookup(registry, options["type"])).parameters.values()
    return {**{p.name: p.default for p in parameters if p.default is not p.empty}, **options}


def options_of(registry: Registry, name: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of what is registered as `name`; `none` has none."""
    return {} if name == "none" else dict(inspect.signature(lookup(registry, name)).parameters)


def level_block(registry: Registry, block: dict[str, Any], index: int) -> dict[str, Any]:
    """Return what a `{type: ...}` block whose options may be lists of one value per level says of one level.

    Where `type` itself is a list, an option counts at the levels whose type has it; None stands where one has not.
    """
    level = {name: v[index] if isinstance(v, list | tuple) else v for name, v in block.items()}
    if not isinstance(block["type"], list | tuple):
        return level
    elsewhere = {name for kind in block["type"] for name in options_of(registry, kind)}
    here = {"type", *options_of(registry, level["type"])}
    return {n: v for n, v in level.items() if n in here or not (n in elsewhere or v is None)}


def levels_with_defaults(registry: Registry, block: dict[str, Any], levels: list[str]) -> dict[str, Any]:
    """Return a `{type: ...}` block of several levels with the defaults of its class, or of each level's, filled in.

    Raises:
        UserError: a list has not one value per level, or a type is unknown.
    """
    for name, value in block.items():
        if isinstance(value, list | tuple) and len(value) != len(levels):
            raise UserError(
                f"{registry._name}: {name} needs one value per level {', '.join(levels)}, got {list(value)}"
            )
    if not isinstance(block["type"], list | tuple):
        return with_defaults(registry, block)
    each = [with_defaults(registry, level_block(registry, block, i)) for i in range(len(levels))]
    return {name: [level.get(name) for level in each] for name in dict.fromkeys(n for level in each for n in level)}


def build(registry: Registry, options: dict[str, Any], **arguments: Any) -> Any:
    """Build `options['type']` with the other options and with `arguments`, which the caller decides.

    A class takes those of the arguments that its signature names: `Add` needs none of what `DBCA` needs. One with
    `**kwargs` takes any option.

    Raises:
        UserError: `type` is missing or unknown, or an option does not exist for that type.
    """
    options = dict(options)
    if "type" not in options:
        raise UserError(f"the {registry._name} block needs a 'type'{nearest('', names(registry))}")
    target = lookup(registry, options.pop("type"))
    parameters = inspect.signature(target).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    known = {n for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} - set(arguments)
    for key in options:
        if key in arguments or (key not in known and inspect.Parameter.VAR_KEYWORD not in kinds):
            raise UserError(f"{registry._name} {target.__name__} has no option '{key}'{nearest(key, known)}")
    return target(**{name: value for name, value in arguments.items() if name in parameters}, **options)


def import_modules(package: str, path: list[str], ending: str) -> None:
    """Import every module of `package` whose name ends in `ending`; that is what fills the registries."""
    for module in pkgutil.iter_modules(path):
        if module.name.endswith(ending):
            importlib.import_module(f"{package}.{module.name}")
