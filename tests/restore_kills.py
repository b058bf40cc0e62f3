"""`vqcnir restore` killed again and again and compared with an undisturbed run: for a test and the long script."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import cv2
import skimage.data
from videos import make_video

from vqcnir_arch.cli import dispatch, exit_with_one_line

ENDINGS = (".png", ".jpg", ".webp", ".tif", ".bmp")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def make_photos(folder: Path, count: int) -> None:
    """Cut photographs of several sizes and formats, in two folders."""
    photo = skimage.data.astronaut()[..., ::-1]
    for i in range(count):
        side = 24 + 8 * (i % 4)
        path = folder / str(i % 2) / f"{i:02}{ENDINGS[i % len(ENDINGS)]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), photo[17 * i : 17 * i + side, 11 * i : 11 * i + side + 8])


def contents(folder: Path) -> dict[str, bytes]:
    """Return what the files below a folder hold, without those that are being written."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        place.as_posix(): path.read_bytes()
        for place, path in files.items()
        if not any(part.startswith(".") for part in place.parts)
    }


def unfinished(folder: Path) -> list[Path]:
    """Return the files that are being written, or were when their process was killed."""
    return list(folder.rglob(".*.saving"))


def silent(arguments: list[str]) -> None:
    """Run the command with its output thrown away, and the signals as a new process has them."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    exit_with_one_line(lambda: dispatch(arguments))


def kill_once(arguments: list[str], out: Path, number: int, wait: float | None) -> str:
    """Start the command, kill it, and return how it ended.

    Args:
        arguments: its command line.
        out: its folder of results.
        number: the signal.
        wait: seconds until it is killed; None: until a file is being written.
    """
    process = multiprocessing.get_context("fork").Process(target=silent, args=(arguments,))
    process.start()
    end = time.monotonic() + (wait if wait is not None else 60)
    while process.is_alive() and time.monotonic() < end and (wait is not None or not unfinished(out)):
        time.sleep(0.0002)
    if process.is_alive():
        os.kill(process.pid, number)
    process.join(60)
    if process.exitcode == 0:
        return "came to its end"
    if process.exitcode != -number and number != signal.SIGINT:  # the only one that Python handles, by an exception
        raise AssertionError(f"{signal.Signals(number).name} ended the command with status {process.exitcode}")
    return f"{signal.Signals(number).name}{' left an unfinished file' if unfinished(out) else ''}"


def kill_restore(
    folder: Path, weights: Path, kills: int, photos: int = 10, seed: int = 0, *more: str, frames: int = 0
) -> Counter[str]:
    """Kill the command many times; return how often it ended in which way.

    Args:
        folder: where the photographs and results go.
        weights: checkpoint.
        kills: number of runs that are killed.
        photos: number of photographs.
        seed: of the moments.
        more: arguments of the command.
        frames: of a film with sound beside the photographs; 0: none.

    Raises:
        AssertionError: a result was half written or differs from the undisturbed run's, or something is left behind.
    """
    dice, counts = random.Random(seed), Counter()
    make_photos(folder / "photos", photos)
    if frames:
        make_video(folder / "photos" / "film.mkv", frames, sounds=("aac",), size=(24, 32))
    (folder / "scratch").mkdir()
    line = ["restore", str(folder / "photos"), "-w", str(weights), "--device", "cpu", "--quiet", *more]
    line += ["--scratch", str(folder / "scratch"), "-o"]
    began = time.monotonic()
    dispatch([*line, str(folder / "undisturbed")])
    duration, expected = time.monotonic() - began, contents(folder / "undisturbed")
    assert len(expected) == photos + bool(frames)
    out = folder / "killed"
    line += [str(out), "--skip-existing"]
    for i in range(kills):
        wait = None if i % 2 else dice.uniform(0, duration)
        counts[kill_once(line, out, SIGNALS[i % len(SIGNALS)], wait)] += 1
        found = contents(out)
        assert found == {name: expected[name] for name in found}
        assert not list((folder / "scratch").iterdir())
        if len(found) == len(expected):
            shutil.rmtree(out)
    dispatch(line)
    assert contents(out) == expected
    assert not list(out.rglob(".*"))
    return counts
