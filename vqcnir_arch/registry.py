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
    "build",
    "import_modules",
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
