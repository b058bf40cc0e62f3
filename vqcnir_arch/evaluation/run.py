"""Evaluate a folder of results under a named protocol."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vqcnir_arch.data.files import existing_folder, find_images
from vqcnir_arch.devices import choose_device
from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.columns import fingerprint, set_distance, versions
from vqcnir_arch.evaluation.comparison import Conditions
from vqcnir_arch.evaluation.formats import counted, unusual_results
from vqcnir_arch.evaluation.journal import Journal, Value
from vqcnir_arch.evaluation.measure import Measurements, Meter
from vqcnir_arch.evaluation.pairs import Pair, find_pairs
from vqcnir_arch.evaluation.papers import sets_of
from vqcnir_arch.evaluation.protocols import PIXELS_FLOAT, WAYS, Column, Protocol, find_protocol
from vqcnir_arch.evaluation.sets import find_pair, find_row, find_set
from vqcnir_arch.evaluation.statistics import Mean, mean_with_interval
from vqcnir_arch.shards import WHOLE, Shard


@dataclass
class Evaluation:
    """The result: per image in `measured`, over all images and per video in `means` and `video_means`.

    `unusual` says of results that are not RGB PNG of 8 bit what they are. Of a `part` of the images no files are made.
    """

    conditions: Conditions
    about: dict[str, str]
    pairs: list[Pair]
    measured: Measurements
    means: dict[str, Mean]
    video_means: dict[str, dict[str, float]]
    out: Path
    unusual: dict[str, str] = field(default_factory=dict)
    part: Shard = WHOLE

    @property
    def protocol(self) -> Protocol:
        return self.conditions.protocol

    @property
    def columns(self) -> list[Column]:
        """The columns that have a value."""
        return [column for column in self.protocol.columns if column.name in self.means]

    @property
    def undefined(self) -> dict[str, dict[str, str]]:
        """By column and image, why the metric has no value there; such images are not in the mean."""
        notes = {name: {i: v.note for i, v in values.items() if v.value is None} for name, values in self._values()}
        return {name: of_images for name, of_images in notes.items() if of_images}

    def _values(self) -> list[tuple[str, dict[str, Value]]]:
        return list(self.measured.values.items())


def evaluate(
    results: Path,
    protocol: str,
    truths: Path | Mapping[str, Path] | None = None,
    *,
    out: Path | None = None,
    reference: Path | None = None,
    test_set: str | None = None,
    pair: Sequence[str | None] | None = None,
    row: str | None = None,
    suffix: str = "",
    device: str | None = None,
    batch: int | None = None,
    workers: int = 2,
    shard: Shard = WHOLE,
) -> Evaluation:
    """Measure a folder of results, anybody's, and write CSV, JSON and Markdown.

    What was measured before, in the same output folder, of the same files and under the same settings, is taken over.

    Args:
        results: folder of images (`.npy` for a float protocol), `<video>/<frame>` or flat.
        protocol: name of the protocol.
        truths: folder of ground truths with the same names, or the files by name.
        out: folder to write to; default: beside the results, `<results>_<protocol>`.
        reference: folder of the images that FID compares with.
        test_set: the papers' test set that this is, for protocols with several.
        pair: names of the folders of inputs and ground truths, for test sets with several; default: the ground truths'
            as their path says, the inputs' not known.
        row: label or method of the papers' row that stands beside the results; default: all of the test set.
        suffix: what the results' names end in beyond the ground truths'.
        device: for the networks; default: the GPU if there is one.
        batch: images at once on the device; default 8 on a GPU, 1 on a CPU.
        workers: threads that read and measure on the CPU.
        shard: the part of the images to measure into a journal; the whole, measured last, takes over those of parts.

    Raises:
        UserError: nothing can be measured, folders are missing or do not pair, or a name is unknown.
    """
    chosen = find_protocol(protocol)
    test_set = None if test_set is None else find_set(test_set, chosen)
    if row is not None:
        find_row(row, chosen)
    folders = find_pair(pair, chosen, gt=truths if isinstance(truths, Path) else None)
    check_reference(chosen, reference)
    all_pairs, about = find_pairs(results, chosen, truths, suffix)
    pairs = shard.of(all_pairs)
    out = out or results.expanduser().resolve().parent / f"{results.expanduser().resolve().name}_{protocol}"
    check_out(out, {"ground truths": truths if isinstance(truths, Path) else None, "reference set": reference})
    on = choose_device(device or "auto")
    unusual = {} if chosen.pixels == PIXELS_FLOAT else unusual_results(pairs)
    if unusual:
        about["file formats"] = counted(unusual, len(pairs))
    if any(column.reference == "set" for column in chosen.columns):
        about["reference set"] = str(reference) if reference else "none"
    if len(sets_of(chosen)) > 1:
        about["test set"] = test_set or "not named (--set)"
    if folders is not None:
        about["pair of folders"] = " -> ".join(name or "not said (--pair)" for name in folders)
    about["device"] = torch.cuda.get_device_name(on) if on.type == "cuda" else str(on)
    about["versions"] = ", ".join(f"{name} {number}" for name, number in versions().items())
    print("\n".join(describe(chosen, about)), flush=True)

    skipped = _without_reference(chosen, truths, reference)
    columns = [column for column in chosen.columns if column.name not in skipped]
    journal = Journal(out, shard)
    try:
        batch = batch or (8 if on.type == "cuda" else 1)
        meter = Meter(chosen, [c for c in columns if c.reference != "set"], journal, on, batch)
        meter.measured.skipped.update(skipped)
        for name, reason in meter.measured.skipped.items():
            print(f"vqcnir: SKIPPED column {name}: {reason}", file=sys.stderr)
        todo = meter.missing(pairs)
        done = len(pairs) - len(todo) - len(meter.measured.failed)
        if journal.outdated:
            print(f"{journal.outdated} values in the journal are of other files or settings: measured again")
        if done:
            print(f"{done} of {len(pairs)} images are in the journal '{journal.path}' already")
        meter.measure(todo, done, workers)
        for column in columns:
            if column.reference != "set" or shard.count > 1:
                continue
            if "left out" in about:
                meter.measured.skipped[column.name] = f"measures whole folders, and '{results}' has comparison pictures"
            else:
                _measure_set(column, chosen, pairs, results, reference, meter.measured, journal, on, batch)
    finally:
        journal.close()
    conditions = Conditions(chosen, len(all_pairs), test_set, folders or (None, None), row)
    if shard.count > 1:
        return Evaluation(conditions, about, pairs, meter.measured, {}, {}, out, unusual, shard)
    return _summary(Evaluation(conditions, about, pairs, meter.measured, {}, {}, out, unusual))


def check_out(out: Path, inputs: Mapping[str, Path | None]) -> None:
    """Raise `UserError` if the output would be written among images that somebody compares with."""
    for what, folder in inputs.items():
        if folder is not None and out.expanduser().resolve().is_relative_to(folder.expanduser().resolve()):
            raise UserError(f"--out '{out}' is in the folder of the {what}, '{folder}': name another one")


def check_reference(protocol: Protocol, reference: Path | None) -> None:
    """Raise `UserError` if the reference set is no folder, or the protocol compares with none."""
    if reference is None:
        return
    if all(column.reference != "set" for column in protocol.columns):
        raise UserError(f"protocol {protocol.name} compares with no set of images: leave --reference out")
    existing_folder(reference, "reference set")


def describe(protocol: Protocol, about: Mapping[str, str]) -> list[str]:
    """Return the lines that say what is measured and how."""
    lines = [f"protocol {protocol.name}: {protocol.summary}", f"  meant for: {protocol.folders}"]
    lines += [f"  {name}: {text}" for name, text in about.items()]
    lines.append(f"  pixels: {protocol.pixels}, crop border {protocol.crop_border}")
    return lines + [f"  {c.title} {c.arrow}: {c.settings} [{WAYS[c.way]}]" for c in protocol.columns]


def _without_reference(protocol: Protocol, truths: object, reference: Path | None) -> dict[str, str]:
    """Return the columns that lack what they compare with."""
    reasons = {}
    for column in protocol.columns:
        if column.reference == "image" and truths is None:
            reasons[column.name] = "compares with ground truths, and --gt is not given"
        if column.reference == "set" and reference is None:
            reasons[column.name] = "compares with a set of images, and --reference is not given"
    return reasons


def _measure_set(
    column: Column,
    protocol: Protocol,
    pairs: Sequence[Pair],
    results: Path,
    reference: Path,
    measured: Measurements,
    journal: Journal,
    device: torch.device,
    batch: int,
) -> None:
    """Measure a column that has one value for the whole folder."""
    if measured.failed:
        measured.skipped[column.name] = f"{len(measured.failed)} images cannot be read"
        return
    files = [pair.result for pair in pairs] + list(find_images(reference).values())
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    stamp = [int(hashlib.sha256(repr(stats).encode()).hexdigest()[:12], 16)]
    settings = fingerprint(column, protocol)
    value = journal.find("", column.name, settings, stamp)
    if value is None:
        try:
            distance = set_distance(column, results, reference, device, batch)
        except UserError as error:
            measured.skipped[column.name] = str(error)
            print(f"vqcnir: SKIPPED column {column.name}: {error}", file=sys.stderr)
            return
        finite = math.isfinite(distance)
        value = Value(distance if finite else None, "" if finite else "not a number: too few images")
        journal.add("", column.name, settings, stamp, value)
    measured.values[column.name] = {"": value}


def _summary(evaluation: Evaluation) -> Evaluation:
    """Add the means; raise `UserError` where nothing has a value."""
    measured, pairs = evaluation.measured, evaluation.pairs
    video_of = {pair.name: pair.video for pair in pairs}
    reasons = [] if len(measured.failed) < len(pairs) else measured.failures()
    for name, values in measured.values.items():
        defined = {image: value.value for image, value in values.items() if value.value is not None}
        if not defined:
            notes = sorted({value.note for value in values.values()})
            measured.skipped[name] = f"no image has a value: {notes[0] if notes else measured.failures()[0]}"
            continue
        if "" in defined:  # one value for the whole folder
            evaluation.means[name] = Mean(defined[""], None, None, len(pairs))
            continue
        videos = [video_of[image] for image in defined]
        evaluation.means[name] = mean_with_interval(list(defined.values()), videos)
        by_video: dict[str, list[float]] = {}
        for video, value in zip(videos, defined.values(), strict=True):
            by_video.setdefault(video, []).append(value)
        evaluation.video_means[name] = {video: sum(v) / len(v) for video, v in sorted(by_video.items()) if video}
    if not evaluation.means:
        reasons = reasons or [f"{name}: {reason}" for name, reason in measured.skipped.items()]
        raise UserError("\n".join(f"nothing was measured: {reason}" for reason in reasons))
    return evaluation
