"""How this library and BasicSR meet, whichever is imported first; `pipeline_fixes` has what BasicSR's pipelines need.

It runs on `import vqcnir_arch`, so also in spawned data-loader workers, which import the library to unpickle its
data sets. It imports neither BasicSR nor torch: that takes seconds, and `vqcnir --help` needs neither.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from vqcnir_arch import registry

FUNCTIONAL_TENSOR = "torchvision.transforms.functional_tensor"
"""The module that torchvision 0.17 removed."""
PARTS = ("version.py", "utils/registry.py")
"""Files by which BasicSR is told from a fork of its name; its own folder has both once it is installed."""


class FunctionalTensorLoader(Loader):
    """Makes `functional_tensor`, of which BasicSR imports `rgb_to_grayscale`; the public function is the same."""

    def exec_module(self, module: types.ModuleType) -> None:
        from torchvision.transforms.functional import rgb_to_grayscale

        vars(module)["rgb_to_grayscale"] = rgb_to_grayscale


class BasicSRFinder(MetaPathFinder):
    """Finds two modules for `import basicsr`: the one that is missing, and that of the registries, with ours in it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in (FUNCTIONAL_TENSOR, registry.BASICSR):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if name == FUNCTIONAL_TENSOR:
            return spec or ModuleSpec(name, FunctionalTensorLoader())
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_replace(module: types.ModuleType) -> None:
                run(module)
                vars(module).update(registry.SHARED)

            spec.loader.exec_module = run_and_replace  # type: ignore[method-assign]
        return spec


def meet_basicsr() -> None:
    """Make BasicSR importable and its registries ours; where it has been imported already, fill its own.

    Raises:
        ImportError: another package shadows BasicSR (several projects carry a fork of that name).
    """
    spec = importlib.util.find_spec("basicsr") if registry.has_basicsr() else None
    folder = Path(next(iter((spec and spec.submodule_search_locations) or ("",))))
    if spec is not None and not all((folder / part).is_file() for part in PARTS):
        raise ImportError(f"vqcnir needs BasicSR 1.4.2, but 'basicsr' is {spec.origin or folder}: a fork shadows it")
    sys.meta_path.insert(0, BasicSRFinder())
    if registry.BASICSR in sys.modules:
        registry.fill()
