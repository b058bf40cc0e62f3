"""Make folders of pairs by a recipe: in parallel, resumable, with a manifest from which each can be remade."""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from vqcnir_arch.atomic_files import why_unwritable, write_file
from vqcnir_arch.data.files import decode_image, encode_png, is_jpeg, read_bytes
from vqcnir_arch.data.manifest import Manifest, Plan, Row
from vqcnir_arch.data.recipes import find_recipe
from vqcnir_arch.errors import UserError


@dataclass(frozen=True)
class Job:
    """The pairs of one photograph.

    Attributes:
        name: of the photograph, see `find_images`.
        path: its file.
        out: folder that the recipe's layout is below.
        plan: how pairs are made.
        pairs: their numbers.
        known: what the manifest says of those made before.
    """

    name: str
    path: Path
    out: Path
    plan: Plan
    pairs: tuple[int, ...]
    known: dict[int, Row] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the pairs that were made, the number of those that were there, or why there are none."""

    rows: list[Row]
    kept: int = 0
    problem: str = ""


@dataclass
class Summary:
    """What became of all jobs."""

    photographs: int
    made: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


def pair_generator(seed: int, name: str, pair: int) -> np.random.Generator:
    """Return the generator of one pair: a function of these three alone, whatever was made before or beside it."""
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4")
    return np.random.default_rng([seed, pair, *words.tolist()])


def synthesise(jobs: list[Job], manifest: Manifest | None, workers: int) -> Summary:
    """Do all jobs, write down in the manifest what was made, and name each photograph that could not be used.

    Args:
        jobs: one per photograph.
        manifest: open for writing; None when pairs are remade from one.
        workers: processes; 0 and 1 work in this one.

    Raises:
        UserError: an image cannot be written, or a worker process has died. What was made before stays.
    """
    summary = Summary(len(jobs))
    with outcomes(jobs, workers) as done:
        for outcome in tqdm(done, total=len(jobs), unit="photo"):
            if manifest is not None:
                manifest.append(outcome.rows)
            summary.made += len(outcome.rows)
            summary.kept += outcome.kept
            if outcome.problem:
                summary.problems.append(outcome.problem)
                tqdm.write(f"vqcnir: {outcome.problem}", file=sys.stderr)
    return summary


@contextmanager
def outcomes(jobs: Iterable[Job], workers: int) -> Iterator[Iterable[Outcome]]:
    """Give the outcomes of jobs in their order, from this process or from others."""
    if workers <= 1:
        yield map(do_job, jobs)
        return
    context = multiprocessing.get_context("spawn")  # OpenCV and torch do not survive a fork of their threads
    has_started = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker, initargs=(has_started,))
    try:
        yield pool.map(do_job, jobs)
    except BrokenProcessPool as error:
        if has_started.is_set():
            reason = "a worker process died (out of memory?): take fewer --workers; what is made stays"
        else:
            reason = (
                "no worker process could begin: each imports the script that calls this, which must do so below "
                '`if __name__ == "__main__":` (or memory is short: take fewer --workers)'
            )
        raise UserError(reason) from error
    finally:
        pool.shutdown(cancel_futures=True)


def begin_worker(has_started: Event) -> None:
    """Say that the caller's script could be imported; leave Ctrl-C to the parent and other cores to other workers."""
    has_started.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def do_job(job: Job) -> Outcome:
    """Make the pairs of one photograph that are not there yet.

    Raises:
        UserError: an image cannot be written.
    """
    try:
        if any("\udc80" <= letter <= "\udcff" for letter in job.name):  # bytes that Python could not decode
            raise UserError(f"image '{job.path}': its name is no Unicode, which a manifest is: rename it")
        content = read_bytes(job.path)
        sha256 = digest(content)
        if any(row.sha256 != sha256 for row in job.known.values()):
            raise UserError(f"image '{job.path}' is not the one that its pairs were made from (SHA-256)")
        wanted = [pair for pair in job.pairs if not is_there(job, pair)]
        image = cv2.cvtColor(decode_image(content, job.path), cv2.COLOR_BGR2RGB) if wanted else None
    except UserError as error:
        return Outcome([], problem=str(error))
    rows = []
    kept = len(job.pairs) - len(wanted)
    for pair in wanted:
        try:
            row, files = make_pair(job, pair, image, sha256, is_jpeg(content))
        except UserError as error:
            return Outcome(rows, kept, str(error))
        if reason := next(filter(None, (why_unwritable(job.out / path) for path in files)), None):
            return Outcome(rows, kept, f"image '{job.path}': its pair cannot be saved: {reason}")
        for path, png in files.items():
            write_file(job.out / path, png)
        rows.append(row)
    return Outcome(rows, kept)


def is_there(job: Job, pair: int) -> bool:
    """Say whether a pair was made before and its files are still as they were."""
    files = job.known[pair].files if pair in job.known else {"": ""}
    paths = {job.out / path: sha256 for path, sha256 in files.items()}
    return all(path.is_file() and digest(path.read_bytes()) == sha256 for path, sha256 in paths.items())


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def make_pair(job: Job, pair: int, image: np.ndarray, sha256: str, jpeg_source: bool) -> tuple[Row, dict[str, bytes]]:
    """Make one pair: its line of the manifest, and the content of each of its files.

    Raises:
        UserError: the recipe refuses the photograph, or the pair is not what the manifest says.
    """
    plan = job.plan
    recipe = find_recipe(plan.recipe)
    settings: dict[str, Any] = dict(recipe.Settings.model_validate(plan.settings))
    if recipe.knows_jpeg:
        settings["jpeg_source"] = jpeg_source
    try:
        images, draws = recipe.make(image, pair_generator(plan.seed, job.name, pair), **settings)
    except (UserError, cv2.error) as error:
        raise UserError(f"image '{job.path}': {error}") from error
    files = {}
    for folder in recipe.folders:
        place = recipe.layout.format(split=plan.split, folder=folder, name=job.name, pair=pair)
        files[f"{place}.png"] = encode_png(images[folder])
    digests = {path: digest(png) for path, png in files.items()}
    # through JSON, as it would come back from the manifest
    row = Row.model_validate_json(
        Row(name=job.name, pair=pair, source=job.path.name, sha256=sha256, files=digests, draws=draws).model_dump_json()
    )
    if pair in job.known and job.known[pair] != row:
        raise UserError(
            f"image '{job.path}': pair {pair} comes out other than the manifest says "
            f"(made with {plan.made_with}, this is {Plan.versions()})"
        )
    return row, files
