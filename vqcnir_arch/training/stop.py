"""SIGTERM and SIGINT: finish the iteration, save, and leave with the conventional exit status."""

from __future__ import annotations

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


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
