"""Where the option files are that come with vqcnir."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOTS = (Path(__file__).parents[1], Path(sys.prefix) / "share/vqcnir")
"""The folders that may hold `options/`: beside the package in a checkout, else where pip put it."""


def shipped(path: str | os.PathLike[str]) -> Path | None:
    """Return the file or folder that comes with vqcnir under a path such as `options/demo`, or None."""
    return next((root / path for root in ROOTS if (root / path).exists()), None)
