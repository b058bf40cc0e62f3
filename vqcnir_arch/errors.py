"""The one exception that means "the user can fix this", and the hint that goes with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: a wrong path, option, file or size.

    Its message is one line that names the thing, what was expected and, where there is one, the nearest right name.
    The commands print that line and exit with status 2; in Python it is an ordinary `ValueError`.
    """


class PartError(UserError):
    """An error of one part of the files alone (`shards`); every other `UserError` all processes have in common."""


def nearest(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return `" (did you mean 'x'?)"` for the closest of `known`; if none is close, `otherwise` or the list of all."""
    known = sorted(str(k) for k in known)
    found = closest(name, known)
    if found:
        return f" (did you mean '{found}'?)"
    if otherwise is not None:
        return otherwise
    return f" (known: {', '.join(known)})" if known else ""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `name` may be a misspelling of, or None."""
    return next(iter(difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)), None)
