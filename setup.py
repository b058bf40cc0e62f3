"""What pyproject.toml cannot say: an early check of Python, and the option files beside the package."""

import sys
from pathlib import Path

from setuptools import setup

# pip reads requires-python of a local project only after it has fetched 5 GB
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    sys.exit(
        f"vqcnir needs Python 3.11 to 3.14, this is {sys.version_info[0]}.{sys.version_info[1]}: make the virtual "
        "environment with python3.12 -m venv (from 3.13 on it restores, but trains nothing, as BasicSR does not build)"
    )

# outside a checkout the commands find them below sys.prefix
OPTION_FILES = [*sorted(Path("options").rglob("*.yml")), Path("options/schema.json")]
setup(data_files=[(f"share/vqcnir/{file.parent.as_posix()}", [str(file)]) for file in OPTION_FILES])
