"""Libraries that read images print about bad files; the user gets one line of ours in their place."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2
LOGGERS = tuple(map(logging.getLogger, ("PIL", "tifffile")))


class Silence:
    """Sends what the process prints to stderr nowhere, while at least one thread wants that.

    libtiff, libpng and LibRaw print by themselves, past Python: only the file descriptor stops them.
    """

    def __init__(self) -> None:
        self.lock, self.users, self.kept = threading.Lock(), 0, STDERR

    def begin(self) -> None:
        """Count one more that wants silence."""
        with self.lock:
            if not self.users:
                self.kept = os.dup(STDERR)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, STDERR)
                os.close(nowhere)
            self.users += 1

    def end(self) -> None:
        """Count one less."""
        with self.lock:
            self.users -= 1
            if not self.users:
                os.dup2(self.kept, STDERR)
                os.close(self.kept)


silence = Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' warnings, logs and lines off the screen."""
    levels = [log.level for log in LOGGERS]
    for log in LOGGERS:
        log.setLevel(logging.CRITICAL + 1)
    try:
        silence.begin()
        there = True
    except OSError:  # there is no stderr
        there = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns of large files, which we refuse by our own limit
            yield
    finally:
        if there:
            silence.end()
        for log, level in zip(LOGGERS, levels, strict=True):
            log.setLevel(level)
