"""One run of the training loop: where it stands, and what its parts must know of each other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from vqcnir_arch.signals import StopRequest
from vqcnir_arch.training.metrics_log import MetricsLog
from vqcnir_arch.training.sampling import ResumableSampler


class TrainingRun:
    """Shared by the fixed pipeline, which fills it in, and the model, which reads it.

    Attributes:
        stop: whether a signal has asked for the end.
        notes: lines for the log that came up before there was a log.
        iteration, epoch, position: the last iteration that was started, its epoch, and how many of the epoch's samples
            were taken with it, over all processes.
        saved_iteration: iteration of the newest checkpoint.
        started: whether an iteration has been started.
        metrics: the run's `metrics.jsonl`, None in all processes but the first.
    """

    def __init__(self) -> None:
        self.stop = StopRequest()
        self.notes: list[str] = []
        self.iteration = self.epoch = self.position = 0
        self.saved_iteration = 0
        self.started = False
        self.sampler: ResumableSampler | None = None
        self.val_loaders: list[DataLoader] = []
        self.tb_logger: Any = None
        self.metrics: MetricsLog | None = None
        self.batch_size = 0
        self._images = 0
        self._since = time.perf_counter()

    def use_data(self, loader: DataLoader, sampler: ResumableSampler, val_loaders: list[DataLoader]) -> None:
        """Take the loaders; the run's batch is that of all processes together."""
        self.sampler = sampler
        self.val_loaders = val_loaders
        self.batch_size = loader.batch_size * sampler.num_replicas

    def resume(self, state: dict[str, Any], seed: int) -> None:
        """Continue after a training state; one without a position (BasicSR's own) begins its epoch again."""
        own = state.get("vqcnir", {})
        self.iteration = self.saved_iteration = state["iter"]
        self.epoch = state["epoch"]
        self.position = own.get("position", 0)
        self.sampler.resume(own.get("seed", seed), self.epoch, self.position)

    def advance(self, iteration: int) -> None:
        """An iteration begins: its samples count as taken."""
        if self.sampler.epoch != self.epoch:
            self.epoch, self.position = self.sampler.epoch, 0
        self.position += self.batch_size
        self.iteration = iteration
        self._images += self.batch_size
        if not self.started:
            self._images = 0  # the first iteration is no measure of speed
            self._since = time.perf_counter()
        self.started = True

    def images_per_second(self) -> float:
        """Return the speed of training since this was last asked, without `paused` times."""
        now = time.perf_counter()
        speed = self._images / max(now - self._since, 1e-9)
        self._images, self._since = 0, now
        return speed

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time in here is not training."""
        begin = time.perf_counter()
        yield
        self._since += time.perf_counter() - begin
