"""Small stand-ins for parts of BasicSR's pipelines, and what the log says of versions."""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import platform
from collections.abc import Iterator
from typing import Any

from basicsr.data.prefetch_dataloader import CPUPrefetcher

from vqcnir_arch.version import __version__


class LazyPrefetcher(CPUPrefetcher):
    """BasicSR's starts all loader workers once for nothing: `reset`, which the loop calls first, starts them again."""

    def __init__(self, loader: Any) -> None:
        self.ori_loader = loader


class CheckedOptions:
    """In place of a loader of PyYAML: whatever the file, its content is the options that have been checked.

    BasicSR's models read `val: suffix` without a default.
    """

    def __init__(self, checked: dict[str, Any]) -> None:
        self.checked = {**checked, "val": {"suffix": None, **checked["val"]}} if checked.get("val") else checked

    def get_single_data(self) -> dict[str, Any]:
        return copy.deepcopy(self.checked)  # BasicSR and the models write into it

    def dispose(self) -> None:
        """PyYAML calls it at the end."""


def versions() -> str:
    """Return the versions that results depend on, beside those of BasicSR and torch, which BasicSR logs."""
    matter = ("numpy", "opencv-python", "opencv-python-headless", "pyiqa", "timm")
    installed = {d.name: d.version for d in importlib.metadata.distributions() if d.name in matter}
    known = {"vqcnir": __version__, "Python": platform.python_version(), **dict(sorted(installed.items()))}
    return ", ".join(f"{name} {version}" for name, version in known.items())


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
