"""VQCNIR for ComfyUI: the node `Restore night photo (VQCNIR)`, and our networks for ComfyUI's own loader."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = "vqcnir_arch"


def import_package() -> None:
    """Import the library that stands in this folder (the zip) or two above (a clone, linked); else an installed one.

    By its path, not by `sys.path`, on which all else that stands there would get into ComfyUI's names.
    """
    for folder in (HERE / PACKAGE, HERE.parents[1] / PACKAGE):
        if PACKAGE not in sys.modules and folder.is_dir():
            places = [str(folder)]
            spec = importlib.util.spec_from_file_location(
                PACKAGE, folder / "__init__.py", submodule_search_locations=places
            )
            package = importlib.util.module_from_spec(spec)
            sys.modules[PACKAGE] = package
            spec.loader.exec_module(package)
    if PACKAGE not in sys.modules and importlib.util.find_spec(PACKAGE) is None:
        raise ImportError(f"VQCNIR: '{HERE}' holds no {PACKAGE}: unpack the zip, or link this folder out of a clone")


import_package()
if importlib.util.find_spec("spandrel") is not None:  # ComfyUI calls it not essential
    from vqcnir_arch.spandrel_support import install

    install()

from .restore_night_photo import RestoreNightPhoto  # noqa: E402 - the library has to be found first

NODE_CLASS_MAPPINGS = {"VQCNIRRestoreNightPhoto": RestoreNightPhoto}
NODE_DISPLAY_NAME_MAPPINGS = {"VQCNIRRestoreNightPhoto": "Restore night photo (VQCNIR)"}
__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
