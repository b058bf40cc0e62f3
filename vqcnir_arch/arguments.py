"""Types of flags for argparse, which says what they refuse in one line: the flag, what is expected, the value."""

from __future__ import annotations

import os
import re
from argparse import ArgumentTypeError
from pathlib import Path


def positive(text: str) -> int:
    """Read a whole number from 1 on.

    Raises:
        ArgumentTypeError: it is none.
    """
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """Read a whole number from 0 on.

    Raises:
        ArgumentTypeError: it is none.
    """
    return _whole(text, 0)


def sides(text: str) -> tuple[int, int]:
    """Read two sides in pixels, `1120x640`, or one for a square, `512`; which comes first, the flag says.

    Raises:
        ArgumentTypeError: it is something else, or a side is 0.
    """
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text.lower(), re.ASCII)
    if not match:
        raise ArgumentTypeError(f"expected two sides such as 1120x640, or one for a square, got '{text}'")
    return int(match[1]), int(match[2] or match[1])


def share(text: str) -> float:
    """Read a number from 0 to 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"expected a number from 0 to 1, got '{text}'")
    return value


def named_path(text: str) -> Path:
    """Read a path; `~` is the user's folder.

    Raises:
        ArgumentTypeError: it is empty.
    """
    if not text:
        raise ArgumentTypeError("expected a path, got '' (a variable that is not set?)")
    return Path(os.path.expanduser(text))  # leaves `~nobody` as it is


def part_of_name(text: str) -> str:
    """Read what is added to a file's name.

    Raises:
        ArgumentTypeError: it would lead to another folder.
    """
    if any(separator in text for separator in (os.sep, os.altsep) if separator):
        raise ArgumentTypeError(f"expected a part of a file's name, without '{os.sep}', got '{text}'")
    return text


def _whole(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise ArgumentTypeError(f"expected a whole number from {least} on, got '{text}'")
    return int(text)
