"""Imports go down: no module imports from a layer above its own, and none imports itself by a detour.

Imports inside functions count, too: what starts a program late must not hide that two modules need each other.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import vqcnir_arch

PACKAGE = Path(vqcnir_arch.__file__).parent
ROOT = "vqcnir_arch"
LAYERS = [
    {"arguments", "atomic_files", "compat", "devices", "errors", "file_kinds", "folders", "hub", "lazy_exports",
     "memory", "names", "packaged", "processes", "registry", "safe_pickles", "safetensors_files", "shards", "shipped",
     "signals", "state_dicts", "tensor_files", "version"},
    {"archs"},
    {"data", "metrics", "training"},
    {"losses", "options"},
    {"models", "cli", "pipeline_fixes"},
    {"analysis", "checkpoint", "convert", "data.commands", "evaluation", "export", "report", "restoration",
     "spandrel_support"},
    {"demo", "inspection", "launch", "serving"},
    {"bench", "small", "study", "train", "test"},
    {ROOT},
]  # fmt: skip
"""Modules and folders of the package from the ground up; within one layer they may import each other."""
ARCHS = [
    {"extra_state", "padding", "parameters", "precision"},
    {"published"},
    {"cpu", "parts"},
    {"network"},
    {"loading"},
    {"hub_files"},
    {"hub_network"},
    {"start"},
    {"autoencoder", "face_autoencoder"},
    {"swin"},
    {"swin_autoencoder"},
    {"networks"},
    {"archs"},
]
"""The same for `archs/`, where what has no name here is one of the parts, and a `*_arch.py` one of the networks."""


def modules() -> dict[str, Path]:
    """Return all modules by name, a package by that of its folder."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = [ROOT, *path.relative_to(PACKAGE).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of this package that a source file imports anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from [name for name in (inner if inner in known else node.module,) if name in known]
        elif isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names if alias.name in known]


def arrows() -> list[tuple[str, str]]:
    """Return who imports whom."""
    known = modules()
    return [(name, other) for name, path in known.items() for other in imported(path.read_text("utf-8"), known)]


def place(module: str) -> str:
    """Return what stands for a module in LAYERS."""
    parts = module.split(".")
    return "data.commands" if parts[1:3] == ["data", "commands"] else parts[:2][-1]


def place_in_archs(module: str) -> str | None:
    """Return what stands for a module in ARCHS; None where it is not in that folder."""
    parts = module.split(".")[1:]
    if parts[:1] != ["archs"]:
        return None
    name = parts[1] if len(parts) > 1 else "archs"
    if name.endswith("_arch"):
        return "networks"
    return name if any(name in layer for layer in ARCHS) else "parts"


def upward(found: list[tuple[str, str]], layers: list[set[str]], place: Callable[[str], str | None]) -> list[str]:
    """Return the imports that lead from a layer to one above it."""
    height = {name: i for i, layer in enumerate(layers) for name in layer}
    placed = [(a, b, place(a), place(b)) for a, b in found]
    return [f"{a} imports {b}" for a, b, low, high in placed if low and high and height[low] < height[high]]


def circle(found: list[tuple[str, str]]) -> list[str]:
    """Return modules of which each imports the next and the last the first; none where there is no circle."""
    after: dict[str, set[str]] = {}
    for a, b in found:
        after.setdefault(a, set()).add(b)
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        closed = next(filter(None, (walk(b, [*way, module]) for b in sorted(after.get(module, ())))), [])
        done.add(module)
        return closed

    return next(filter(None, (walk(module, []) for module in sorted(after))), [])


def test_every_module_has_a_place():
    assert {place(module) for module in modules()} == set().union(*LAYERS)


def test_no_import_leads_upward():
    found = arrows()
    assert len(found) > 500
    assert upward(found, LAYERS, place) == []
    assert upward(found, ARCHS, place_in_archs) == []


def test_no_import_goes_round():
    assert circle(arrows()) == []


def test_these_tests_find_what_they_look_for():
    known = {"vqcnir_arch.archs.loading": PACKAGE, "vqcnir_arch.cli": PACKAGE, ROOT: PACKAGE}
    source = "import torch\ndef f():\n    from vqcnir_arch.archs import loading\n    import vqcnir_arch.cli\n"
    assert list(imported(source, known)) == ["vqcnir_arch.archs.loading", "vqcnir_arch.cli"]
    up = [("vqcnir_arch.errors", "vqcnir_arch.archs.loading"), ("vqcnir_arch.archs.layers", "vqcnir_arch.archs.start")]
    assert upward(up, LAYERS, place) == ["vqcnir_arch.errors imports vqcnir_arch.archs.loading"]
    assert upward(up, ARCHS, place_in_archs) == ["vqcnir_arch.archs.layers imports vqcnir_arch.archs.start"]
    assert circle([("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")]) == ["b", "c"]
