"""Write VQCNIR as an architecture of spandrel: `python scripts/spandrel_folder.py CLONE`.

integrations/spandrel/README.md says what else a pull request there needs.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "vqcnir_arch"
WANTED = (f"{PACKAGE}.archs.vqcnir_arch", f"{PACKAGE}.archs.published.f8")
INSTEAD = {
    f"{PACKAGE}.archs.hub_network": "from vqcnir_arch.archs.network import VQNetwork as HubNetwork\n",
    f"{PACKAGE}.archs.start": '''from vqcnir_arch.archs.quantizers import find_quantizers


def start_from_prior(net, path, freeze, loose=()):
    """Training starts from a prior's checkpoint; here the codebooks are frozen."""
    for quantizer in find_quantizers(net).values():
        quantizer.codebook.requires_grad_(False)


def start_from_curve(curve, path):
    """Training starts from a curve's checkpoint."""
''',
}
"""What stands in the place of modules that are for training and files alone."""
SHARED = re.compile(r"def has_basicsr\(\).*(?=^QUANTIZER_REGISTRY = )", re.DOTALL | re.MULTILINE)
"""Where `registry.py` meets BasicSR, whose registries spandrel's copy must not share."""


def file_of(module: str) -> Path:
    """Return a module's file, or that of a package."""
    place = ROOT / module.replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def source_of(module: str) -> str:
    """Return a module's text as it goes into spandrel, but for its imports."""
    text = INSTEAD.get(module) or file_of(module).read_text("utf-8")
    if module == f"{PACKAGE}.registry":
        text, replaced = SHARED.subn('ARCH_REGISTRY = Registry("arch")\n', text)
        if replaced != 1:
            raise SystemExit("registry.py meets BasicSR in another way than this script knows")
    return text


def imported(text: str) -> Iterator[str]:
    """Yield the modules of the library that a text imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if file_of(inner).is_file() else node.module


def needed() -> dict[str, str]:
    """Return the texts of all modules that the network needs."""
    texts: dict[str, str] = {}
    waiting = list(WANTED)
    while waiting:
        module = waiting.pop()
        if module not in texts:
            texts[module] = source_of(module)
            waiting += imported(texts[module])
    return texts


def relative(text: str, depth: int) -> str:
    """Return a text with the library's imports relative, in a module `depth` folders below the library's."""
    return re.sub(rf"\bfrom {PACKAGE}(?:\.(?=\w))?(?=[\w ])", f"from {'.' * (depth + 1)}", text)


def write_architecture(folder: Path) -> None:
    """Write the folder of the architecture."""
    code = folder / "__arch"
    for module, text in needed().items():
        place = code / file_of(module).relative_to(ROOT / PACKAGE)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(relative(text, len(place.relative_to(code).parts) - 1), "utf-8")
    for place in {path.parent for path in code.rglob("*.py")} | {code}:
        (place / "__init__.py").touch()
    shutil.copy(ROOT / "integrations/spandrel/VQCNIR/__init__.py", folder)
    shutil.copy(ROOT / "LICENSE", code)


if __name__ == "__main__":
    clone = Path(sys.argv[1])
    write_architecture(clone / "libs/spandrel/spandrel/architectures/VQCNIR")
    shutil.copy(ROOT / "integrations/spandrel/tests/test_VQCNIR.py", clone / "tests")
