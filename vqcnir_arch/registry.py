"""The registries that we share with BasicSR, ours beside them, and how all are filled."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import pkgutil
import sys
from collections.abc import Callable, ItemsView, Iterator, KeysView
from typing import TYPE_CHECKING, Any, TypeVar

from vqcnir_arch.errors import UserError, nearest

if TYPE_CHECKING:
    import torch

__all__ = [
    "ARCH_REGISTRY",
    "DATASET_REGISTRY",
    "ENHANCER_REGISTRY",
    "FUSION_REGISTRY",
    "LOSS_REGISTRY",
    "METRIC_REGISTRY",
    "MODEL_REGISTRY",
    "NEEDS_BASICSR",
    "QUANTIZER_REGISTRY",
    "Registry",
    "build",
    "has_basicsr",
    "import_modules",
    "level_block",
    "levels_with_defaults",
    "lookup",
    "names",
    "optimizers",
    "register",
    "registered",
    "with_defaults",
]

BASICSR = "basicsr.utils.registry"
ENDINGS = {"archs": "_arch", "losses": "_loss", "metrics": "_metric", "data": "_dataset", "models": "_model"}
"""The packages that fill the shared registries, and how the names of their modules that register something end."""
NEEDS_BASICSR = (
    "this needs BasicSR 1.4.2, which cannot be installed on Python 3.13 and newer: use Python 3.11 or 3.12"
    if sys.version_info >= (3, 13)
    else "this needs BasicSR 1.4.2, which is not installed: pip install basicsr==1.4.2"
)


class Registry:
    """Classes or functions of one kind by their names, with the interface of BasicSR's class of that name.

    Args:
        name: the kind, for messages.
        fill: imports all that registers here; called before the first look for what is not there yet.
    """

    def __init__(self, name: str, fill: Callable[[], None] | None = None) -> None:
        self._name = name
        self._obj_map: dict[str, Any] = {}
        self._fill = fill

    def register(self, obj: Any = None, suffix: str | None = None) -> Any:
        """Register an object as `NAME`, or as `NAME_suffix`; without one, return a decorator that does.

        Raises:
            AssertionError: that name is taken, as in BasicSR.
        """
        if obj is None:
            return lambda decorated: self.register(decorated, suffix)
        name = f"{obj.__name__}_{suffix}" if isinstance(suffix, str) else obj.__name__
        if name in self._obj_map:
            raise AssertionError(f"An object named '{name}' was already registered in '{self._name}' registry!")
        self._obj_map[name] = obj
        return obj

    def get(self, name: str, suffix: str = "basicsr") -> Any:
        """Return what is registered as `name`, or as `name_suffix`.

        Raises:
            KeyError: nothing is.
        """
        for known in (name, f"{name}_{suffix}"):
            if known in self:
                return self._obj_map[known]
        raise KeyError(f"No object named '{name}' found in '{self._name}' registry!")

    def keys(self) -> KeysView[str]:
        """Return all names."""
        return self._filled().keys()

    def __contains__(self, name: object) -> bool:
        return name in self._obj_map or name in self._filled()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        items: ItemsView[str, Any] = self._filled().items()
        return iter(items)

    def _filled(self) -> dict[str, Any]:
        if self._fill is not None:
            self._fill()
            self._fill = None
        return self._obj_map


def has_basicsr() -> bool:
    """Whether BasicSR can be imported; nothing is imported for it."""
    try:
        return importlib.util.find_spec("basicsr") is not None
    except (ImportError, ValueError):  # blocked, or a stand-in without a spec
        return False


def fill() -> None:
    """Import BasicSR and everything of ours that registers in the registries that we share.

    Where there is no BasicSR, that is what needs none: networks, losses and metrics.
    """
    packages = dict(ENDINGS)
    if has_basicsr():
        importlib.import_module("basicsr")
    else:
        del packages["data"], packages["models"]
    for package, ending in packages.items():
        module = importlib.import_module(f"vqcnir_arch.{package}")
        import_modules(module.__name__, list(module.__path__), ending)


# those of BasicSR where it has been imported before us; else it gets these (`compat`), and imports nothing of ours
SHARED: dict[str, Registry] = {
    f"{kind.upper()}_REGISTRY": getattr(sys.modules.get(BASICSR), f"{kind.upper()}_REGISTRY", None)
    or Registry(kind, fill)
    for kind in ("dataset", "arch", "model", "loss", "metric")
}
ARCH_REGISTRY = SHARED["ARCH_REGISTRY"]
DATASET_REGISTRY = SHARED["DATASET_REGISTRY"]
LOSS_REGISTRY = SHARED["LOSS_REGISTRY"]
METRIC_REGISTRY = SHARED["METRIC_REGISTRY"]
MODEL_REGISTRY = SHARED["MODEL_REGISTRY"]

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
        if obj.__name__ in registered(registry):
            logging.getLogger("vqcnir").warning(
                "'%s' is already in the %s registry: ours is registered as '%s_%s'",
                obj.__name__, registry._name, obj.__name__, SUFFIX,
            )  # fmt: skip
            registry.register(obj, suffix=SUFFIX)
        else:
            registry.register(obj)
        return obj

    return decorate


def registered(registry: Registry) -> dict[str, Any]:
    """Return what has been registered so far, by name; nothing is imported for it."""
    return registry._obj_map


def names(registry: Registry) -> list[str]:
    """Return the names that an option file may use; BasicSR's `_basicsr` copies count without their suffix."""
    return sorted({name.removesuffix("_basicsr") for name, _ in registry})


def optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """Return torch's optimisers by name."""
    import torch

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
    """Import every module of `package` whose name ends in `ending`; that registers what is in it."""
    for module in pkgutil.iter_modules(path):
        if module.name.endswith(ending):
            importlib.import_module(f"{package}.{module.name}")
