"""One run at a time in a folder: a second start of the same experiment is refused while the first one lives."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil

from vqcnir_arch.atomic_files import make_folder, reason
from vqcnir_arch.errors import UserError

TOLERANCE = 2.0  # seconds by which a process's start may seem to move when the clock is set
HALF_WRITTEN = (
    60.0  # seconds after which an empty lock is what a start left that was killed, or a machine that went down
)


class RunLock:
    """A file beside a run's folder, `.NAME.lock`, that says which process has it: number, start, machine.

    It counts until that process is gone: one that was killed leaves a lock that the next run breaks. Whether a process
    of another machine lives cannot be seen from here: its lock is refused, unless SLURM has started the same job again.
    The first process of a run holds it for all.

    Args:
        folder: of the run; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder.with_name(f".{folder.name}.lock")
        self.own = ""

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            UserError: another run has it, or it cannot be written.
        """
        make_folder(self.path.parent)
        content = json.dumps(this_process())
        try:
            while not self._create(content):
                self._break_if_stale()
        except OSError as error:
            raise UserError(f"'{self.path}' cannot be written: {reason(error)}") from error
        self.own = content

    def release(self) -> None:
        """Give the lock back, if this process has it."""
        try:
            if self.own and self.path.read_text(encoding="utf-8") == self.own:
                self.path.unlink()
        except OSError:
            pass  # somebody has removed it, or its folder
        self.own = ""

    def _create(self, content: str) -> bool:
        """Write the lock, unless there is one."""
        try:
            self.path.touch(exist_ok=False)
        except FileExistsError:
            return False
        try:
            self.path.write_text(content, encoding="utf-8")
        except OSError:  # a full disk: an empty lock would outlive this process
            self.path.unlink()
            raise
        return True

    def _break_if_stale(self) -> None:
        """Remove a lock whose holder is gone, and no other that came into its place meanwhile."""
        try:
            held = self.path.read_text(encoding="utf-8", errors="replace")
            problem = self._lives(held)
            if problem and not self._is_left_empty(held):
                raise UserError(problem)
            aside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            os.replace(self.path, aside)
        except FileNotFoundError as error:  # it has been given back, or another run has broken it
            if self.path.is_symlink():
                raise UserError(f"'{self.path}' is a link to what does not exist: remove it") from error
            return
        if aside.read_text(encoding="utf-8", errors="replace") == held:
            aside.unlink()
        else:
            os.replace(aside, self.path)

    def _is_left_empty(self, held: str) -> bool:
        """Tell whether nothing stands in a lock, and has not since long before its writer would have written."""
        return not held and abs(time.time() - self.path.stat().st_mtime) > HALF_WRITTEN

    def _lives(self, held: str) -> str | None:
        """Say why a lock counts; None for a stale one."""
        try:
            holder = json.loads(held)
            pid, host, since = int(holder["pid"]), str(holder["host"]), str(holder["since"])
            started, (job, restarts) = float(holder["started"]), holder.get("job", ("", 0))
            restarts = int(restarts)
            if pid <= 0:
                raise ValueError(f"no process has the number {pid}")
        except (ValueError, TypeError, LookupError, OverflowError):
            return f"'{self.path}' is no lock that a run has written: remove it if no run writes to '{self.folder}'"
        who = f"'{self.folder}' belongs to a run that has been going since {since} (process {pid} on {host})"
        if host == socket.gethostname():
            return f"{who}: stop that one first, or choose another name" if is_alive(pid, started) else None
        here = slurm_job()
        if here and job == here[0] and restarts < here[1]:
            return None
        return f"{who}: if it is over, which cannot be seen from this machine, remove '{self.path}'"


def this_process() -> dict[str, Any]:
    """Return what a lock says of its holder."""
    found = {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    return found | ({"job": job} if (job := slurm_job()) else {})


def slurm_job() -> list[Any] | None:
    """Return number of the SLURM job and how often it has been started again; None outside of one."""
    job, restarts = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_RESTART_COUNT", "")
    return [job, int(restarts) if restarts.isdecimal() else 0] if job else None


def is_alive(pid: int, started: float) -> bool:
    """Tell whether a process runs, and is not a later one with the same number."""
    try:
        process = psutil.Process(pid)
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not ended and abs(process.create_time() - started) < TOLERANCE
    except psutil.NoSuchProcess:
        return False
