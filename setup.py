"""What pyproject.toml cannot say: an early check of Python, and the option files beside the package."""

import sys
from pathlib import Path

from setuptools import setup

# pip reads requires-python of a local project only after it has fetched 5 GB and failed to build BasicSR
if not (3, 11) <= sys.version_info[:2] <= (3, 12):
    sys.exit(
        f"vqcnir needs Python 3.11 or 3.12, this is {sys.version_info[0]}.{sys.version_info[1]}: make the virtual "
        "environment with python3.12 -m venv (torch needs 3.11, BasicSR 1.4.2 does not build on 3.13)"
    )

# outside a checkout the commands find them below sys.prefix
OPTION_FILES = [*sorted(Path("options").rglob("*.yml")), Path("options/schema.json")]
setup(data_files=[(f"share/vqcnir/{file.parent.as_posix()}", [str(file)]) for file in OPTION_FILES])
