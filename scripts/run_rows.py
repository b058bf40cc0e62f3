"""Run the commands of docs/rows.md at a tiny size on made-up images: each must give its row of the papers and no other.

    python scripts/run_rows.py --out rows_out            # started again, it goes on
    python scripts/run_rows.py --out rows_out --only "SinCA 4"

Option files, data sets and published checkpoints lie in OUT as the commands name them: networks of a few channels, one
iteration, no validation, no loss or metric that needs downloaded weights. A row is right if the trained network has the
parts of its option file, the test takes that network, and its tables hold that row alone, on the sets where it is
printed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import inspect
import json
import shlex
import sys
import traceback
import urllib.error
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyiqa.utils.download_util
import torch
import yaml

from vqcnir_arch import load_network
from vqcnir_arch.cli import dispatch
from vqcnir_arch.options.from_checkpoint import agrees
from vqcnir_arch.options.read import read_options
from vqcnir_arch.registry import ARCH_REGISTRY, build, lookup
from vqcnir_arch.study.reproduction import REFERENCE, Reproduction, content, reproductions, train_command

NETWORK = {
    "channels": [16, 16, 32, 32],
    "norm_groups": 8,
    "code_dim": 16,
    "codebook_size": 32,
    "semantic_dim": 0,
    "swin_groups": 1,
    "swin_depth": 2,
    "swin_heads": 2,
    "window": 2,
    "image_size": 192,
}
PART = {"depth": 1, "num_heads": 2, "heads": [2, 2, 1, 1], "offset_groups": 2, "window": 2}
NEEDS_WEIGHTS = ("perceptual_opt", "semantic_opt")
FACE, WIDE, SIDE = (192, 192), (96, 192), (64, 64)
"""Sizes of images: NIQE has no value below 96 x 192."""


def like(value: Any, small: Any) -> Any:
    """Return a small value in the form of one that may be a list of one for each codebook."""
    return [small] * len(value) if isinstance(value, list) and not isinstance(small, list) else small


def small_network(block: dict[str, Any]) -> dict[str, Any]:
    """Return a network of the same parts with few channels."""
    known = inspect.signature(lookup(ARCH_REGISTRY, block["type"])).parameters
    small = {key: like(block.get(key), value) for key, value in NETWORK.items() if key in known}
    parts = {
        key: {name: like(old, PART.get(name, old)) for name, old in value.items()}
        for key, value in block.items()
        if isinstance(value, dict)
    }
    return {**copy.deepcopy(block), **small, **parts}


def small_options(file: str) -> dict[str, Any]:
    """Return an option file of one iteration, or of a test, for networks and images of few numbers."""
    options = copy.deepcopy(content(file))
    options.update(num_gpu=0, network_g=small_network(options["network_g"]))
    if "train" not in options:
        options["val"].update(metrics=None, pbar=False)
        return options
    options["datasets"] = {"train": options["datasets"]["train"]}
    del options["val"]
    data, train = options["datasets"]["train"], options["train"]
    side = FACE[0] if data["gt_size"] == 512 else 32
    data.update(gt_size=side, batch_size_per_gpu=2, num_worker_per_gpu=0, dataset_enlarge_ratio=1)
    if "random_resize" in data:
        data["random_resize"] = False  # it takes patches of 512 pixels
    for loss in NEEDS_WEIGHTS:
        train.pop(loss, None)
    train["total_iter"] = 1
    if "gan_start_iter" in train:
        train["gan_start_iter"] = 0
    if "network_d" in options:
        options["network_d"]["num_feat"] = 4
        if "num_layers" in options["network_d"]:
            options["network_d"]["num_layers"] = 2
    options["logger"].update(print_freq=1, save_checkpoint_freq=1, use_tb_logger=False)
    text = json.dumps(options).replace("net_g_best.pth", "net_g_latest.pth")  # nothing validates
    return json.loads(text)


def picture(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Return something smooth with some detail, [H, W, 3] uint8."""
    rng = np.random.default_rng(seed)
    height, width = size
    coarse = cv2.resize(
        rng.integers(0, 256, (6, 6, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(coarse + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def write_folder(folder: Path, size: tuple[int, int]) -> None:
    """Write two images, the same in every folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(2):
        cv2.imwrite(str(folder / f"{seed:04}.png"), picture(seed, size))


def write_data(place: Path, options: dict[str, Any]) -> None:
    """Write the data sets that an option file names."""
    scale = options.get("scale", 1)
    for block in options["datasets"].values():
        if block["type"] == "LOLBlurDataset":
            size = WIDE if block["gt_folder"] is None else SIDE
            for side in filter(lambda folder: folder is not None, (block["lq_folder"], block["gt_folder"])):
                for video in ("0000", "0001"):
                    write_folder(place / block["dataroot"] / block["split"] / side / video, size)
            continue
        size = FACE if block.get("gt_size") == FACE[0] or "Celeb" in block["name"] else SIDE
        for key, factor in (("dataroot", 1), ("dataroot_gt", 1), ("dataroot_lq", scale)):
            roots = block.get(key, [])
            for root in [roots] if isinstance(roots, str) else roots:
                write_folder(place / root, (size[0] // factor, size[1] // factor))


def prepare(place: Path, file: str) -> None:
    """Write an option file, its data, and a published checkpoint that it names."""
    options, path = small_options(file), place / "options" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
    write_data(place, options)
    checkpoint = options["path"].get("pretrain_network_g") or ""
    if "/pretrained_models/" in checkpoint and not (place / checkpoint).exists():
        (place / checkpoint).parent.mkdir(parents=True, exist_ok=True)
        torch.save({"params": build(ARCH_REGISTRY, options["network_g"]).state_dict()}, place / checkpoint)


class Runner:
    """Runs commands in a folder, each training once, and notes what is done in `done.txt`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        self.log = place / "done.txt"
        self.done = set(self.log.read_text(encoding="utf-8").splitlines()) if self.log.exists() else set()

    def note(self, line: str) -> None:
        self.done.add(line)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")

    def train(self, file: str) -> None:
        command = train_command(file)
        if shlex.join(command) not in self.done:
            prepare(self.place, file)
            dispatch(command)
            self.note(shlex.join(command))

    def row(self, row: Reproduction) -> None:
        """Run all that a row needs, and its test.

        Raises:
            AssertionError: it gives another row.
        """
        if shlex.join(row.test_command) in self.done:
            return
        with contextlib.chdir(self.place):
            for file in (*row.first, *row.trainings):
                self.train(file)
            prepare(self.place, row.test)
            write_folder(self.place / REFERENCE, FACE)
            dispatch(row.test_command)
            check(row)
        self.note(shlex.join(row.test_command))


def check(row: Reproduction) -> None:
    """Raise `AssertionError` unless a test gave the row, of the network that its option file trains."""
    command = row.test_command
    start = command.index("--force_yml") + 1 if "--force_yml" in command else 0
    options = read_options(f"options/{row.test}", command[start : start + 2] if start else [])
    found = Path("results", options["name"], "visualization").glob(f"*_{row.protocol}/summary.json")
    tables = [json.loads(path.read_text(encoding="utf-8"))["papers"] for path in found]
    held = sorted((each["source"], each["method"], each["set"]) for papers in tables for each in papers)
    expected = sorted((each.place, each.method, each.set) for each in row.rows)
    assert held == expected, f"{row.label}: the tables hold {held}, expected {expected}"
    if not row.trainings:
        return
    wanted = small_options(row.trainings[-1])
    net = load_network(Path("experiments", wanted["name"], "models/net_g_latest.pth"))
    parts = {key: value for key, value in wanted["network_g"].items() if key in net.options}
    assert type(net).__name__ == wanted["network_g"]["type"] == options["network_g"]["type"], row.label
    assert agrees(parts, json.loads(json.dumps(net.options))), f"{row.label}: {net.options} is not {parts}"
    tested = {
        key: value for key, value in options["network_g"].items() if key in parts and key not in net.runtime_options
    }
    assert agrees(tested, json.loads(json.dumps(net.options))), f"{row.label}: {tested} was tested"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for option files, data and results")
    parser.add_argument("--only", default="", help="beginning of the labels of the rows to run, such as 'SinCA 4'")
    known = parser.parse_args(arguments)
    runner = Runner(known.out.resolve())
    download_nothing(runner.place / "hub")
    failed = list(failures(runner, [row for row in reproductions() if row.label.startswith(known.only)]))
    if failed:
        sys.exit("failed: " + "; ".join(failed))


def download_nothing(hub: Path) -> None:
    """Let metrics that need weights be skipped."""

    def refuse(url: str, *_: Any, **__: Any) -> None:
        raise urllib.error.URLError(f"not fetched here: {url}")

    torch.hub.set_dir(str(hub))
    torch.hub.download_url_to_file = pyiqa.utils.download_util.download_url_to_file = refuse


def failures(runner: Runner, rows: Iterable[Reproduction]) -> Iterable[str]:
    """Run rows and yield the labels of those that fail."""
    for row in rows:
        try:
            runner.row(row)
            print(f"OK {row.label}, {', '.join(each.set for each in row.rows)}", flush=True)
        except Exception:  # the others are run all the same
            traceback.print_exc()
            yield row.label


if __name__ == "__main__":
    main()
