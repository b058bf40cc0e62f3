"""Measure all images: reading and CPU metrics in threads ahead of the device, every value into the journal."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch
from tqdm import tqdm

from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.columns import (
    BatchFunction,
    HostFunction,
    batch_function,
    fingerprint,
    host_function,
    too_small,
)
from vqcnir_arch.evaluation.journal import Journal, Value
from vqcnir_arch.evaluation.pairs import Pair, SizesDifferError, read_pair
from vqcnir_arch.evaluation.protocols import Column, Protocol

UNDEFINED = (ArithmeticError, AssertionError, LookupError, RuntimeError, ValueError)  # numpy's LinAlgError is of these


@dataclass
class Measurements:
    """What was measured.

    Attributes:
        values: by column name and then image name.
        failed: images that could not be measured, with the reason.
        of_other_size: those of them that are of another size than their ground truths; the others cannot be read.
        skipped: columns without a value, with the reason.
    """

    values: dict[str, dict[str, Value]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    of_other_size: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def failures(self) -> list[str]:
        """Return a line for each kind of failure: how many images, and the first of them."""
        unreadable = [name for name in self.failed if name not in set(self.of_other_size)]
        kinds = {"of another size than their ground truths": self.of_other_size, "unreadable": unreadable}
        return [
            f"{len(names)} images are {kind}, first: {self.failed[names[0]]}" for kind, names in kinds.items() if names
        ]


@dataclass
class Loaded:
    """An image on its way to the device, with the values that need none."""

    pair: Pair
    stamp: list[int]
    result: np.ndarray
    truth: np.ndarray | None
    values: dict[str, Value]


class Meter:
    """Measures pairs of images under a protocol; those that lack weights or BasicSR are in `skipped`."""

    def __init__(
        self, protocol: Protocol, columns: Sequence[Column], journal: Journal, device: torch.device, batch: int
    ) -> None:
        self.protocol, self.journal, self.batch = protocol, journal, batch
        self.measured = Measurements()
        self.host: dict[str, HostFunction] = {}
        self.batched: dict[str, BatchFunction] = {}
        self.columns = {column.name: column for column in columns}
        for column in columns:
            try:
                if column.library == "pyiqa":
                    self.batched[column.name] = batch_function(column, protocol, device)
                else:
                    self.host[column.name] = host_function(column, protocol)
            except UserError as error:
                self.measured.skipped[column.name] = str(error)
        self.settings = {name: fingerprint(self.columns[name], protocol) for name in (*self.host, *self.batched)}
        self.measured.values = {name: {} for name in self.settings}

    def missing(self, pairs: Sequence[Pair]) -> list[tuple[Pair, list[int], list[str]]]:
        """Take over what the journal has; return the other pairs with their stamp and the columns to measure."""
        todo = []
        for pair in pairs:
            try:
                stamp = pair.stamp()
            except OSError as error:
                self.measured.failed[pair.name] = f"{error.filename}: {error.strerror}"
                continue
            columns = []
            for name, settings in self.settings.items():
                known = self.journal.find(pair.name, name, settings, stamp)
                if known is None:
                    columns.append(name)
                else:
                    self.measured.values[name][pair.name] = known
            if columns:
                todo.append((pair, stamp, columns))
        return todo

    def measure(self, todo: Sequence[tuple[Pair, list[int], list[str]]], done: int, workers: int) -> None:
        """Measure the pairs that `missing` returned; `done` is how many others the progress bar starts from."""
        wanted = {pair.name: columns for pair, _, columns in todo}
        bar = tqdm(total=done + len(todo), initial=done, unit="image", desc=self.protocol.name)
        with bar as progress, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NIQE of flat images divides by 0; every value is checked
            for loaded in self._batches(self._loaded(todo, workers, progress)):
                for name, function in self.batched.items():
                    self._measure_batch(name, function, [item for item in loaded if name in wanted[item.pair.name]])
                for item in loaded:
                    for name, value in item.values.items():
                        self.measured.values[name][item.pair.name] = value
                        self.journal.add(item.pair.name, name, self.settings[name], item.stamp, value)
                progress.update(len(loaded))

    def _load(self, pair: Pair, stamp: list[int], columns: list[str]) -> Loaded:
        result, truth = read_pair(pair, self.protocol.pixels)
        values = {}
        for name, function in self.host.items():
            if name in columns:
                try:
                    values[name] = checked(function(result, truth), self.columns[name], result)
                except UNDEFINED as error:
                    values[name] = undefined(error, self.columns[name], result)
        return Loaded(pair, stamp, result, truth, values)

    def _loaded(
        self, todo: Sequence[tuple[Pair, list[int], list[str]]], workers: int, progress: tqdm
    ) -> Iterator[Loaded]:
        """Yield the images in order; as many as two batches are read ahead. Those that cannot be read are noted."""
        waiting: deque[tuple[Pair, Future[Loaded]]] = deque()
        left = iter(todo)
        pool = ThreadPoolExecutor(workers)
        try:
            while True:
                while len(waiting) < 2 * max(self.batch, workers) and (job := next(left, None)) is not None:
                    waiting.append((job[0], pool.submit(self._load, *job)))
                if not waiting:
                    return
                pair, future = waiting.popleft()
                try:
                    yield future.result()
                except UserError as error:
                    self.measured.failed[pair.name] = str(error)
                    if isinstance(error, SizesDifferError):
                        self.measured.of_other_size.append(pair.name)
                    progress.update(1)
        finally:
            pool.shutdown(cancel_futures=True)

    def _batches(self, items: Iterator[Loaded]) -> Iterator[list[Loaded]]:
        """Yield runs of images of one size, as many as fit a batch."""
        for _, run in groupby(items, key=lambda item: item.result.shape):
            batch: list[Loaded] = []
            for item in run:
                batch.append(item)
                if len(batch) == self.batch:
                    yield batch
                    batch = []
            if batch:
                yield batch

    def _measure_batch(self, name: str, function: BatchFunction, items: list[Loaded]) -> None:
        if not items:
            return
        truths = None if items[0].truth is None else [item.truth for item in items]
        try:
            values = function([item.result for item in items], truths)
        except torch.OutOfMemoryError as error:
            raise UserError(f"column {name}: out of memory with {len(items)} images: --batch is smaller") from error
        except UNDEFINED as error:
            if len(items) > 1:  # one of them is to blame
                for item in items:
                    self._measure_batch(name, function, [item])
            else:
                items[0].values[name] = undefined(error, self.columns[name], items[0].result)
            return
        for item, value in zip(items, values, strict=True):
            item.values[name] = checked(value, self.columns[name], item.result)


def checked(value: float, column: Column, image: np.ndarray) -> Value:
    """Return a finite value as it is, any other as undefined with the reason."""
    if math.isfinite(value):
        return Value(value)
    if math.isinf(value):
        return Value(None, "infinite: the image equals its ground truth")
    return without_value("not a number", column, image)


def undefined(error: Exception, column: Column, image: np.ndarray) -> Value:
    """Return a value that could not be computed, with the reason in words that do not ask for the metric's code."""
    if isinstance(error, UserError):  # of our own code
        return Value(None, f"{error} ({describe(image)})")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return without_value(f"the metric's own code fails: {reason}", column, image)


def without_value(otherwise: str, column: Column, image: np.ndarray) -> Value:
    """Return an undefined value with what is known to be the reason, or else with what was found."""
    is_constant = image.min() == image.max()
    reason = too_small(column, image) or ("the metric has no value for a constant image" if is_constant else otherwise)
    return Value(None, f"{reason} ({describe(image)})")


def describe(image: np.ndarray) -> str:
    """Return what makes a metric fail: the size, and whether the image is constant."""
    constant = ", constant" if image.min() == image.max() else ""
    return f"image of {image.shape[1]} x {image.shape[0]}{constant}"
