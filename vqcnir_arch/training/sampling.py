"""The order of the training samples and their random draws, as functions of (seed, epoch, position) alone."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from vqcnir_arch.errors import UserError
from vqcnir_arch.training.random_state import preserved_random_state


class SampleKey(NamedTuple):
    """Where a sample stands: what it is, and what decides its random draws.

    Attributes:
        index: in the data set.
        seed: the run's `manual_seed`.
        epoch: from 0.
        position: in the epoch's order over all processes.
    """

    index: int
    seed: int
    epoch: int
    position: int


class ResumableSampler(Sampler[SampleKey]):
    """BasicSR's EnlargedSampler, but the order depends on the seed, and an epoch can begin in its middle.

    Process r of n takes the positions r, r + n, r + 2n, ... of one order, so that n processes with batches of b see in
    each iteration what one process with batches of n·b sees.

    Args:
        dataset: what is sampled.
        num_replicas: number of processes.
        rank: number of this one.
        ratio: how often each index comes in one epoch.
        seed: of the order.
    """

    def __init__(self, dataset: Dataset, num_replicas: int, rank: int, ratio: float = 1, seed: int = 0) -> None:
        self.size = len(dataset)
        self.num_replicas = num_replicas
        self.rank = rank
        self.seed = seed
        self.epoch = 0
        self.resumed = (0, 0)
        self.samples = math.ceil(self.size * ratio)
        self.num_samples = math.ceil(self.samples / num_replicas)

    def resume(self, seed: int, epoch: int, position: int) -> None:
        """Leave out the first `position` samples, counted over all processes, when `epoch` comes."""
        self.seed = seed
        self.resumed = (epoch, position)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def start(self) -> int:
        """Position at which the present epoch begins."""
        epoch, position = self.resumed
        return position if epoch == self.epoch else 0

    def __iter__(self) -> Iterator[SampleKey]:
        generator = torch.Generator().manual_seed(derived_seeds(self.seed, self.epoch)[0])
        order = torch.randperm(self.samples, generator=generator).tolist()
        for position in range(self.start + self.rank, self.num_samples * self.num_replicas, self.num_replicas):
            yield SampleKey(order[position % self.samples] % self.size, self.seed, self.epoch, position)

    def __len__(self) -> int:
        return self.num_samples


class SeededSamples(Dataset):
    """A data set whose samples draw from generators seeded by their `SampleKey`; else it behaves as the one inside.

    So the draws don't depend on which worker makes the sample, and they move no generator of the training process.

    Raises:
        UserError: on access to a sample of BasicSR's own data sets, which do not name the file that they stop at.
    """

    __getitems__ = None  # the loader would hand whole batches past __getitem__ where the inner data set has this

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # asked for while unpickling, before `dataset` is there
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey | int) -> Any:
        if not isinstance(key, SampleKey):
            return self._sample(key)
        with preserved_random_state(cuda=False):
            for_torch, for_python, for_numpy = derived_seeds(key.seed, key.epoch, key.position)
            torch.default_generator.manual_seed(for_torch)
            random.seed(for_python)
            np.random.seed(for_numpy % 2**32)
            return self._sample(key.index)

    def _sample(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except UserError:
            raise
        except Exception as error:
            if not type(self.dataset).__module__.startswith("basicsr."):
                raise
            paths = getattr(self.dataset, "paths", {})
            what = f" ({paths[index]})" if isinstance(paths, list) else ""
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            name = f"{type(self.dataset).__name__} '{self.dataset.opt['name']}'"
            raise UserError(f"{name}: sample {index}{what} cannot be read: {reason}") from error


def derived_seeds(*numbers: int) -> list[int]:
    """Return three well mixed seeds below 2⁶³ for a tuple of numbers."""
    return [int(n) >> 1 for n in np.random.SeedSequence(numbers).generate_state(3, np.uint64)]


def keep_worker_alive(worker_id: int) -> None:
    """Let a loader worker outlive the SIGTERM or SIGINT that a whole process group gets; its parent ends it.

    Otherwise the iteration that the training process wants to finish before it saves would miss its batch.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def obey_parent() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)

    threading.Thread(target=obey_parent, daemon=True).start()
