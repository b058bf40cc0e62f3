"""Feature maps that are nowhere whole: operators on them are noted, and computed when rows are wanted, in strips.

A network's own `compute` runs on a `Map` in the place of an image. Whatever looks at the pixels near each pixel is
noted (`Call`) and done when rows are wanted; what looks at the whole image has a rule of its own (`rules.py`), which
stores the map it looks at, so that nothing is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.strips.store import BYTES, Feature, Scratch

TRIAL_ROWS, MOST_TRIAL_ROWS = 64, 1024
"""Rows on which it is tried how far the rows of a map depend on each other."""
TRIAL_WIDTH = 2
WORK = 3
"""So many times the size of what strips are computed from, and of themselves, is in memory beside what is noted: what
an operator works with, and the strips before, until they have been written."""

RULES: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Functions that look at the whole image, and what is done in their place."""


class NotLocal(UserError):
    """A map depends on rows that are too far away: what looks at the whole image has no rule."""


class Map(Tensor):
    """A feature map [1, C, H, W]: a tensor without memory that is stored, or knows from what its rows are computed.

    Attributes:
        scratch: where it is stored, if it is to be.
        feature: its rows, where it is stored.
        call: what computes it otherwise.
        place: its number among the results of `call`; None where there is one.
    """

    scratch: Scratch
    feature: Feature | None
    call: Call | None
    place: int | None

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        rule = RULES.get(function)
        return (rule or note)(*(args if rule else (function, *args)), **(kwargs or {}))


def make_map(meta: Tensor, scratch: Scratch, feature: Feature | None = None, call: Call | None = None,
             place: int | None = None) -> Map:  # fmt: skip
    """Return a map of a meta tensor's shape."""
    x = meta.as_subclass(Map)
    x.scratch, x.feature, x.call, x.place = scratch, feature, call, place
    return x


def stored_map(x: Tensor, scratch: Scratch) -> Map:
    """Store a whole tensor [1, C, H, W]."""
    feature = scratch.feature(*x.shape[1:])
    feature.write(x)
    return make_map(x.to("meta"), scratch, feature)


class Call:
    """A function's call with maps among its arguments; on strips of them it gives strips of its results."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.maps: list[Map] = []
        self.with_maps(self.maps.append)

    def with_maps(
        self, change: Callable[[Map], Any], change_rest: Callable[[Tensor], Any] = lambda x: x
    ) -> tuple[Any, Any]:
        """Return the arguments with something in the place of each map, and of each other tensor."""

        def one(x: Tensor) -> Any:
            return change(x) if isinstance(x, Map) else change_rest(x)

        return replaced(self.args, one), replaced(self.kwargs, one)

    def run(self, change: Callable[[Map], Any], change_rest: Callable[[Tensor], Any] = lambda x: x) -> Any:
        """Call the function with these arguments."""
        args, kwargs = self.with_maps(change, change_rest)
        return self.function(*args, **kwargs)


def replaced(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return arguments with each tensor in them changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: replaced(each, change) for name, each in value.items()}
    return type(value)([replaced(each, change) for each in value]) if isinstance(value, list | tuple) else value


def note(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the maps that a function would give; what is no tensor, as a shape, at once."""
    call = Call(function, args, kwargs)
    with torch._C.DisableTorchFunctionSubclass():
        result = call.run(lambda x: x.as_subclass(Tensor), lambda x: x.to("meta"))
        scratch = call.maps[0].scratch
        if isinstance(result, Tensor):
            return make_map(result, scratch, call=call)
        if isinstance(result, list | tuple) and result and all(isinstance(each, Tensor) for each in result):
            return tuple(make_map(each, scratch, call=call, place=i) for i, each in enumerate(result))
        return result


class Plan:
    """The order of the calls that lead from stored maps to others.

    Args:
        targets: maps [1, C, H, W] of one height.

    Attributes:
        sources: the stored maps.
        margin: rows beyond a strip's ends that are wrong where the image goes on, because they see nothing beyond.
        unit: strips begin at multiples of it.
        cost: how many times over a row of sources and targets is in memory while it is computed.
    """

    def __init__(self, targets: Sequence[Map]) -> None:
        self.targets = targets
        self.sources: list[Map] = []
        self.calls: list[Call] = []
        self.seen: set[int] = set()
        for target in targets:
            self.visit(target)
        last = {id(given.call): i for i, call in enumerate(self.calls) for given in call.maps}
        for target in targets:
            last.pop(id(target.call), None)
        self.done: list[list[int]] = [[] for _ in self.calls]
        for call, i in last.items():
            self.done[i].append(call)
        self.height = targets[0].shape[-2]
        self.factors = [Fraction(x.shape[-2], self.height) for x in self.sources]
        if any(min(factor.as_integer_ratio()) != 1 for factor in self.factors):
            raise NotLocal(f"maps of {', '.join(str(x.shape[-2]) for x in self.sources)} rows give {self.height}")
        self.unit = math.lcm(*(factor.denominator for factor in self.factors))
        widths = [(x.shape[1], x.shape[-1]) for x in (*self.targets, *self.sources)]
        shares = [*[Fraction(1)] * len(targets), *self.factors]
        self.row_bytes = float(BYTES * sum(c * w * share for (c, w), share in zip(widths, shares, strict=True)))
        self.most = 0
        self.margin = self.found_margin()

    def visit(self, x: Map) -> None:
        """Take a map up, after those that it is computed from."""
        call = x.call
        key = id(x if call is None else call)
        if key in self.seen:
            return
        self.seen.add(key)
        if call is None:
            self.sources.append(x)
            return
        for given in call.maps:
            self.visit(given)
        self.calls.append(call)

    def run(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Compute rows of the targets, [1, C, rows, W] each, from those of the sources."""
        given = {id(x): strip for x, strip in zip(self.sources, rows, strict=True)}
        results: dict[int, Any] = {}

        def value(x: Map) -> Tensor:
            if x.feature is not None:
                return given[id(x)]
            result = results[id(x.call)]
            return result if x.place is None else result[x.place]

        for call, done in zip(self.calls, self.done, strict=True):
            results[id(call)] = call.run(value)
            self.most = max(self.most, sum(size_of(each) for each in results.values()))
            for each in done:
                results.pop(each, None)
        return [value(x) for x in self.targets]

    def found_margin(self) -> int:
        """Find the margin by what becomes of rows that are not a number."""
        rows = TRIAL_ROWS
        while rows <= MOST_TRIAL_ROWS:
            edge = rows // 4
            strips = []
            for x, factor in zip(self.sources, self.factors, strict=True):
                width = max(1, int(TRIAL_WIDTH * factor))
                strip = torch.zeros(1, x.shape[1], int(rows * factor), width)
                strip[:, :, : int(edge * factor)] = strip[:, :, int((rows - edge) * factor) :] = torch.nan
                strips.append(strip)
            self.most = 0
            results = self.run(strips)
            self.cost = WORK + self.most / sum(x.nbytes for x in (*strips, *results))
            known = torch.stack([x.isfinite().all(3).all(1)[0] for x in results]).all(0).nonzero()[:, 0]
            if len(known):
                margin = max(int(known[0]) - edge, rows - edge - 1 - int(known[-1]), 0)
                return -(-margin // self.unit) * self.unit
            rows *= 2
        names = {getattr(call.function, "__name__", "a module") for call in self.calls}
        raise NotLocal(f"one of these looks at the whole image: {', '.join(sorted(names))}")

    def strips(self, cost: float | None = None) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield the first row's number and some rows of the targets, until all have been there."""
        rows = self.targets[0].scratch.rows_at_a_time(self.height, self.row_bytes, cost or self.cost, self.margin)
        rows = -(-rows // self.unit) * self.unit
        for start in range(0, self.height, rows):
            end = min(start + rows, self.height)
            first, last = max(start - self.margin, 0), min(end + self.margin, self.height)
            given = [
                store(x).rows(int(first * factor), int(last * factor))
                for x, factor in zip(self.sources, self.factors, strict=True)
            ]
            results = [x[:, :, start - first : end - first] for x in self.run(given)]
            del given
            yield start, results
            del results


def size_of(result: Any) -> int:
    """Return the bytes of a call's results."""
    return result.nbytes if isinstance(result, Tensor) else sum(map(size_of, result))


def store(x: Map) -> Feature:
    """Compute and store a map's rows, unless they are stored; return them."""
    feature = x.feature
    if feature is None:
        feature = x.scratch.feature(*x.shape[1:])
        for start, (rows,) in Plan([x]).strips():
            feature.write(rows, start)
        x.feature, x.call = feature, None
    return feature


def whole(x: Map) -> Tensor:
    """Return a map as a tensor."""
    return store(x).rows(0, x.shape[-2])


def joined(x: Map) -> list[Map]:
    """Return the maps whose concatenation a map is; one that is none alone."""
    return x.call.maps if x.call is not None and x.call.function is torch.cat else [x]
