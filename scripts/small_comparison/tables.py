"""The tables of the comparison, in Markdown, and all single values, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, NamedTuple

from small_comparison.measure import PROTOCOL, Values
from small_comparison.methods import BEST_GAMMA, INPUT, Method
from small_comparison.sets import ImageSet

DIGITS = {"psnr": 2, "ssim": 3, "lpips": 3, "niqe": 2}
COLUMNS = {column.name: column for column in PROTOCOL.columns}
ORDINARY = 30.0
"""PSNR to the input, dB, above which an ordinary photograph stays nearly as it is."""


class Margins(NamedTuple):
    """By how much a method is better than another: PSNR and SSIM by difference, LPIPS by ratio."""

    psnr: float
    ssim: float
    lpips: float

    def misses(self, wanted: Margins) -> list[str]:
        """Return the metrics in which these fall short of what is wanted."""
        short = {"PSNR": self.psnr < wanted.psnr, "SSIM": self.ssim < wanted.ssim, "LPIPS": self.lpips > wanted.lpips}
        return [name for name, missed in short.items() if missed]

    def cells(self) -> list[str]:
        return [f"{self.psnr:+.2f} dB", f"{self.ssim:+.3f}", f"× {self.lpips:.2f}"]


FLOOR, GOAL = Margins(0.2, 0.04, 0.9), Margins(0.5, 0.05, 0.75)


@dataclass(frozen=True)
class Measured:
    """A set with the methods that were run on it and their values."""

    images: ImageSet
    methods: Sequence[Method]
    values: Values

    def numbers(self, method: str, column: str) -> list[float]:
        """Return the values of a method that exist; NIQE has none for a flat image, PSNR none for an equal one."""
        return [v.value for v in self.values[method][column].values() if v.value is not None]

    def mean(self, method: str, column: str) -> float | None:
        """Return the mean over images."""
        numbers = self.numbers(method, column)
        return fmean(numbers) if numbers else None

    def margins(self, method: str) -> Margins:
        """Return a method's margins over the best gamma of each image."""
        means = [(self.mean(method, column), self.mean(BEST_GAMMA, column)) for column in ("psnr", "ssim", "lpips")]
        (psnr, its_psnr), (ssim, its_ssim), (lpips, its_lpips) = means
        return Margins(psnr - its_psnr, ssim - its_ssim, lpips / its_lpips)

    @property
    def columns(self) -> list[str]:
        return list(self.values[self.methods[0].name])

    @property
    def networks(self) -> list[str]:
        return [method.name for method in self.methods if method.is_network]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(column: str, value: float | None) -> str:
    return "none" if value is None else f"{value:.{DIGITS[column]}f}"


def means_table(measured: Measured) -> str:
    """Return the means of all methods on one set."""
    header = ["", "parameters", *(f"{COLUMNS[name].title} {COLUMNS[name].arrow}" for name in measured.columns)]
    rows = []
    for method in measured.methods:
        parameters = method.about.get("parameters")
        cells = [number(column, measured.mean(method.name, column)) for column in measured.columns]
        rows.append([method.name, "" if parameters is None else f"{parameters:,}", *cells])
    return table(header, rows)


def margins_table(measured: Measured) -> str:
    """Return every network's margins over the best gamma of each image and, where the set decides, the verdicts."""
    asked = [] if measured.images.more else [("floor", FLOOR), ("goal", GOAL)]
    header = [f"against {BEST_GAMMA}", "PSNR", "SSIM", "LPIPS"]
    header += [f"{name}: {', '.join(wanted.cells())}" for name, wanted in asked]
    rows = []
    for network in measured.networks:
        margins = measured.margins(network)
        rows.append([network, *margins.cells(), *(verdict(margins.misses(wanted)) for _, wanted in asked)])
    return table(header, rows)


def verdict(misses: Sequence[str]) -> str:
    return f"missed: {', '.join(misses)}" if misses else "met"


def niqe_table(measured: Measured) -> str:
    """Return whether each network's NIQE is below the input's, on the mean and on how many photographs."""
    rows = []
    before, mean_before = measured.values[INPUT]["niqe"], measured.mean(INPUT, "niqe")
    for network in measured.networks:
        after, mean_after = measured.values[network]["niqe"], measured.mean(network, "niqe")
        both = [(before[name].value, after[name].value) for name in before]
        counted = [(x, y) for x, y in both if x is not None and y is not None]
        lower = mean_before is not None and mean_after is not None and mean_after < mean_before
        rows.append([network, "met" if lower else "missed", f"{sum(y < x for x, y in counted)} of {len(counted)}"])
    return table(["", "NIQE below the input's", "photographs on which it is"], rows)


def ordinary_table(measured: Measured) -> str:
    """Return how near each network's output stays to an ordinary photograph."""
    rows = []
    for network in measured.networks:
        psnrs = measured.numbers(network, "psnr")
        equal = len(measured.images.inputs) - len(psnrs)
        least, middle = (f"{value:.2f} dB" for value in (min(psnrs), median(psnrs))) if psnrs else ("equal", "equal")
        above = sum(value >= ORDINARY for value in psnrs) + equal
        rows.append([network, least, middle, f"{above} of {len(measured.images.inputs)}"])
    return table(["PSNR of the output to the input", "lowest", "median", f"at least {ORDINARY:.0f} dB"], rows)


def undefined_lines(measured: Measured) -> list[str]:
    """Return which values are not in the means, and why."""
    return [
        f"- {COLUMNS[column].title} of {method}, {name}, not in the mean: {value.note}"
        for method, columns in measured.values.items()
        for column, images in columns.items()
        for name, value in images.items()
        if value.value is None
    ]


def markdown(all_measured: Sequence[Measured], about: Mapping[str, str]) -> str:
    """Return the whole report: what was measured and how, then the tables of each set."""
    parts = ["\n".join(f"- {name}: {text}" for name, text in about.items())]
    for measured in all_measured:
        images = measured.images
        parts.append(f"### {images.title} ({len(images.inputs)} images)")
        if images.kind == "ordinary":
            parts.append(ordinary_table(measured))
            continue
        parts.append(means_table(measured))
        if measured.networks and images.kind == "a":
            parts.append(margins_table(measured))
        if measured.networks and images.kind == "c":
            parts.append(niqe_table(measured))
        if lines := undefined_lines(measured):
            parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def as_json(all_measured: Sequence[Measured], about: Mapping[str, str]) -> dict[str, Any]:
    """Return everything, single values included."""
    methods = {method.name: dict(method.about) for measured in all_measured for method in measured.methods}
    sets: dict[str, Any] = {}
    for measured in all_measured:
        entry: dict[str, Any] = {"title": measured.images.title, "images": len(measured.images.inputs), "methods": {}}
        for method, columns in measured.values.items():
            entry["methods"][method] = {
                "means": {column: measured.mean(method, column) for column in columns},
                "images": {n: {c: columns[c][n].value for c in columns} for n in measured.images.inputs},
            }
        if measured.images.kind == "a":
            entry["margins"] = {network: measured.margins(network)._asdict() for network in measured.networks}
        sets[measured.images.name] = entry
    return {"about": dict(about), "methods": methods, "sets": sets}
