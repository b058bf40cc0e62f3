"""Signals are taken over for a while and given back, so that a command that is called as a function leaves no trace.

SIGTERM and SIGINT ask a training to finish its iteration, save, and leave with the conventional exit status.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], object], *numbers: int) -> Iterator[None]:
    """Call `handler` when one of these signals arrives, while the block runs; in the main thread only."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class Stopped(Exception):
    """The run has saved a checkpoint and ends because of a signal.

    Attributes:
        status: exit status, 128 + the signal's number.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.status = 128 + signal_number


class StopRequest:
    """Remembers the first signal; the second one does at once what it does by default: it ends the process."""

    def __init__(self) -> None:
        self.signal = 0
        """Number of the signal that asked for the end, 0 while none has."""
        self._before: dict[int, object] = {}

    def listen(self) -> None:
        """Take the signals over, if this is the main thread (no other may)."""
        if not self._before and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)
