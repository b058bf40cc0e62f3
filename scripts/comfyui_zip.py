"""Write the node for ComfyUI as a zip that is unpacked in `custom_nodes`: `python scripts/comfyui_zip.py OUT.zip`.

It holds integrations/comfyui and, in the same folder, the library with the network that ships.
"""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("vqcnir")


def write_zip(target: Path) -> None:
    """Write the zip."""
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        archive.write(ROOT / "LICENSE", FOLDER / "LICENSE")
        for source, place in ((ROOT / "integrations/comfyui", FOLDER), (ROOT / "vqcnir_arch", FOLDER / "vqcnir_arch")):
            for file in sorted(source.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, place / file.relative_to(source))


if __name__ == "__main__":
    write_zip(Path(sys.argv[1]))
