"""How fast LOL-Blur's pairs come from folders, sub-images and LMDBs, and whether a training step waits for them.

    python scripts/loader_speed.py --out loader_speed_out                   # made-up pairs of 1120x640
    python scripts/loader_speed.py --out loader_speed_out --data datasets/LOLBlur --gpu-step 0.5

Pairs per second are medians over rounds in which every kind of storage has its turn, so that other work on the machine
meets all alike. The waiting share is measured in a loop of BasicSR's loader and a real training step of a small network
(options/demo); for paper size a step is measured too, and its demand is computed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch
from paper_size import ROOT, stage_model, step_seconds, write_stand_ins
from tqdm import tqdm

from vqcnir_arch.cli import dispatch
from vqcnir_arch.data import LOLBlurDataset, night_blur_pair, write_lolblur
from vqcnir_arch.options import read_options
from vqcnir_arch.registry import MODEL_REGISTRY
from vqcnir_arch.training.sampling import ResumableSampler, SeededSamples

PAIR = ("low_blur_noise", "high_sharp_scaled")
CROP = 256
STORES = {
    "folders": ("frames", "disk"),
    "LMDB": ("frames", "lmdb"),
    "sub-images": ("sub", "disk"),
    "sub-images in LMDB": ("sub", "lmdb"),
}


def make_frames(root: Path, count: int) -> None:
    """Write made-up night-blur pairs of LOL-Blur's size."""
    for number in tqdm(range(count), desc="frames"):
        photo = getattr(skimage.data, ("chelsea", "coffee", "rocket", "astronaut")[number % 4])()
        generator = np.random.default_rng(number)
        height = photo.shape[1] * 640 // 1120
        top = int(generator.integers(photo.shape[0] - height + 1))
        frame = cv2.resize(photo[top : top + height], (1120, 640), interpolation=cv2.INTER_CUBIC)
        write_lolblur(root, "train", f"{number // 60:04d}", f"{number % 60:04d}", night_blur_pair(frame, generator))


def prepare(out: Path, data: Path | None, count: int) -> dict[str, Path]:
    """Make frames, sub-images and LMDBs with the library's own commands, and return the roots."""
    roots = {"frames": data or out / "frames", "sub": out / "sub"}
    if not roots["frames"].exists():
        make_frames(roots["frames"], count)
    if not roots["sub"].exists():
        frames = str(roots["frames"] / "train")
        dispatch(["data", "crop", frames, "--folders", *PAIR, "--out", str(roots["sub"] / "train")])
    for root in roots.values():
        if not (root / "train" / f"{PAIR[1]}.lmdb").exists():
            dispatch(["data", "lmdb", str(root / "train"), "--folders", *PAIR])
    return roots


def batches(root: Path, backend: str, workers: int, batch: int) -> Iterator[dict[str, Any]]:
    """Yield training batches for ever, as our launchers' loader does."""
    from basicsr.data import build_dataloader  # importable after the library

    opt = {"name": "speed", "phase": "train", "dataroot": str(root), "gt_size": CROP, "batch_size_per_gpu": batch}
    opt |= {"io_backend": {"type": backend}, "num_worker_per_gpu": workers}
    data = SeededSamples(LOLBlurDataset(opt))
    sampler = ResumableSampler(data, 1, 0, ratio=10_000 * batch / len(data))
    yield from build_dataloader(data, opt, num_gpu=0, sampler=sampler, seed=0)


def pairs_per_second(root: Path, backend: str, workers: int, batch: int, count: int) -> tuple[float, float]:
    """Return how many pairs a second the loader gives once its workers are at work, and this process's CPU ms per pair.

    The latter is the cost of a pair where there are no workers; other work on the machine hardly changes it.
    """
    loader = batches(root, backend, workers, batch)
    count = max(count, 2 * workers)
    for _ in range(1 + 2 * workers):  # the workers start, and what they have ready is taken
        next(loader)
    start, busy = time.perf_counter(), time.process_time()
    for _ in range(count):
        next(loader)
    pairs = count * batch
    return pairs / (time.perf_counter() - start), 1000 * (time.process_time() - busy) / pairs


def small_model(folder: Path) -> Any:
    """Build the demo's stage II without its prior."""
    options = read_options(ROOT / "options/demo/train_vqcnir.yml")
    options |= {"is_train": True, "dist": False, "rank": 0, "world_size": 1, "num_gpu": 0}
    options["network_g"] |= {"prior": None, "freeze_prior": False}
    del options["train"]["alignment_opt"]
    return MODEL_REGISTRY.get(options["model_type"])(options)


def waiting_share(model: Any, loader: Iterator[dict[str, Any]], steps: int) -> tuple[float, float]:
    """Return which share of the time a training loop waits for data, and its seconds per iteration."""
    waited, began = 0.0, 0.0
    for step in range(steps + 2):
        if step == 2:
            waited, began = 0.0, time.perf_counter()
        start = time.perf_counter()
        batch = next(loader)
        waited += time.perf_counter() - start
        model.feed_data(batch)
        model.optimize_parameters(step + 1)
    total = time.perf_counter() - began
    return waited / total, total / steps


def say_demand(speeds: dict[tuple[str, int], float], what: str, seconds: float, batch: int) -> None:
    """Print what a step needs, and which loaders give it."""
    need = batch / seconds
    enough = [f"{store} with {workers}" for (store, workers), speed in speeds.items() if speed > need]
    print(f"{what}: {seconds:.2f} s for a batch of {batch}, needs {need:.2f} pairs/s")
    print(f"  enough: {', '.join(enough) or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for frames, sub-images and LMDBs; kept")
    parser.add_argument("--data", type=Path, help="LOL-Blur itself, in place of made-up frames")
    parser.add_argument("--frames", type=int, default=32, help="pairs to make up")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2, 4])
    parser.add_argument("--batch", type=int, default=8, help="pairs per batch")
    parser.add_argument("--batches", type=int, default=6, help="batches per measurement, at least 2 per worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="training steps of the small network; 0: none")
    parser.add_argument("--paper", action="store_true", help="measure a step at paper size, too (batch 1)")
    parser.add_argument("--gpu-step", type=float, help="seconds of a step at paper size, batch 8, measured elsewhere")
    given = parser.parse_args()
    roots = prepare(given.out, given.data, given.frames)
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, OpenCV {cv2.__version__}, {os.cpu_count()} cores, load before: {load:.1f}")

    rounds: dict[tuple[str, int], list[float]] = {(store, n): [] for store in STORES for n in given.workers}
    costs: dict[str, list[float]] = {store: [] for store in STORES}
    for _ in range(given.rounds):
        for (store, workers), speeds in rounds.items():
            root, backend = STORES[store]
            speed, cost = pairs_per_second(roots[root], backend, workers, given.batch, given.batches)
            speeds.append(speed)
            if workers == 0:
                costs[store].append(cost)
            print(f"  {store}, {workers} workers: {speeds[-1]:.1f} pairs/s", file=sys.stderr, flush=True)
    medians = {key: statistics.median(speeds) for key, speeds in rounds.items()}
    print(f"| pairs per second | {' | '.join(f'{n} workers' for n in given.workers)} | CPU ms per pair |")
    print(f"|---|{'---|' * len(given.workers)}---|")
    for store in STORES:
        cost = f"{statistics.median(costs[store]):.1f}" if costs[store] else "?"
        print(f"| {store} | {' | '.join(f'{medians[store, n]:.1f}' for n in given.workers)} | {cost} |")

    if given.steps:
        with tempfile.TemporaryDirectory() as folder:
            model = small_model(Path(folder))
        for store, workers in (("folders", 0), ("folders", 2), ("LMDB", 2)):
            root, backend = STORES[store]
            share, seconds = waiting_share(model, batches(roots[root], backend, workers, given.batch), given.steps)
            print(f"small network, {store}, {workers} workers: {seconds:.2f} s/iteration, {100 * share:.1f} % waiting")
        say_demand(medians, "small network", seconds * (1 - share), given.batch)
    if given.paper:
        with tempfile.TemporaryDirectory() as folder:
            write_stand_ins(Path(folder))
            model = stage_model("options/vqcnir/train_vqcnir_lolblur.yml", Path(folder), "cpu")
            images = torch.rand(2, 1, 3, CROP, CROP)
            say_demand(medians, "paper size on this CPU", step_seconds(model, images, "cpu", 1, 0)[0], 1)
    if given.gpu_step:
        say_demand(medians, "paper size as measured elsewhere", given.gpu_step, 8)
    print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
