"""Tiny training runs of the real launchers on real images, for the tests of long runs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import torch
import yaml
from skimage import data as photos

from vqcnir_arch.launch import run
from vqcnir_arch.training.metrics_log import read_metrics

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def make_images(folder: Path, count: int = 6, side: int = 48) -> None:
    """Cut a photograph into small images."""
    folder.mkdir(parents=True)
    photo = cv2.resize(photos.astronaut()[..., ::-1], (256, 256), interpolation=cv2.INTER_AREA)
    for i in range(count):
        top, left = 40 * (i // 4), 50 * (i % 4)
        cv2.imwrite(str(folder / f"{i:02}.png"), photo[top : top + side, left : left + side])


def at(made: dict, place: str) -> tuple[dict, str]:
    """Return the block and the key that `section__key` names."""
    *sections, key = place.split("__")
    for section in sections:
        made = made[section]
    return made, key


def change(made: dict, changes: dict[str, object]) -> None:
    """Set options by `section__key`."""
    for place, value in changes.items():
        block, key = at(made, place)
        block[key] = value


def options(root: Path, **changes: object) -> dict:
    """Options of a stage I run with discriminator, EMA and validation; changes come as `section__key=value`."""
    made = {
        "name": "run",
        "model_type": "VQPriorModel",
        "scale": 1,
        "num_gpu": 0,
        "manual_seed": 7,
        "datasets": {
            "train": {
                "name": "cuts", "type": "SharpImageDataset", "dataroot": str(root / "images"), "gt_size": 32,
                "random_resize": True, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2, "dataset_enlarge_ratio": 1,
            },
            "val": {"name": "val", "type": "SharpImageDataset", "dataroot": str(root / "images"), "max_images": 3},
        },
        "network_g": {
            "type": "VQGANPrior", "channels": [8, 8, 16, 16], "norm_groups": 4, "codebook_size": 16, "code_dim": 8,
        },
        "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4},
        "path": {"pretrain_network_g": None, "resume_state": None},
        "train": {
            "total_iter": 8, "ema_decay": 0.9,
            "optim_g": {"type": "Adam", "lr": 1e-3}, "optim_d": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [5], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"}, "codebook_opt": {"type": "CodebookLoss"},
            "gan_opt": {"type": "GANLoss", "gan_type": "hinge", "loss_weight": 0.1},
        },
        "val": {"val_freq": 4, "save_img": False, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 4, "use_tb_logger": False},
    }  # fmt: skip
    change(made, {place: value for place, value in changes.items() if value is not None})
    for place in [place for place, value in changes.items() if value is None]:
        block, key = at(made, place)
        block.pop(key, None)
    return made


def sr_options(root: Path, **changes: object) -> dict:
    """The same with BasicSR's own model, network and data set, which know nothing of this library."""
    made = options(root, model_type="SRModel", network_d=None, train__codebook_opt=None, train__gan_opt=None)
    sizes = {"num_in_ch": 3, "num_out_ch": 3, "scale": 1, "num_feat": 4, "num_block": 1, "num_grow_ch": 4}
    made["network_g"] = {"type": "RRDBNet", **sizes}
    folders = {"dataroot_gt": str(root / "images"), "dataroot_lq": str(root / "images"), "io_backend": {"type": "disk"}}
    loader = {key: made["datasets"]["train"][key] for key in ("num_worker_per_gpu", "batch_size_per_gpu")}
    made["datasets"] = {
        "train": {
            "name": "cuts", "type": "PairedImageDataset", **folders, **loader, "gt_size": 32, "use_hflip": True,
            "use_rot": True,
        },
        "val": {"name": "val", "type": "PairedImageDataset", **folders},
    }  # fmt: skip
    del made["train"]["optim_d"]
    change(made, changes)
    return made


def write(path: Path, made: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(made))
    return path


def command(option_file: Path, root: Path, *arguments: str, processes: int = 0) -> list[str]:
    launcher, more = [sys.executable, "-m"], []
    if processes:
        launcher += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
        more = ["--launcher", "pytorch"]
    return [*launcher, "vqcnir_arch.train", "-opt", str(option_file), "--root", str(root), *arguments, *more]


def train(made: dict, root: Path, *arguments: str, processes: int = 0, cwd: Path | None = None) -> str:
    """Train to the end in processes of its own; return what was printed."""
    option_file = write(root / f"{made['name']}.yml", made)
    done = subprocess.run(
        command(option_file, root, *arguments, processes=processes),
        capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def train_here(made: dict, root: Path, *arguments: str) -> str:
    """Train in this process, which saves the imports; return everything that the run's logs hold."""
    run_here("train", made, root, *arguments)
    return read_logs(root, made["name"])


def test_here(made: dict, root: Path, *arguments: str) -> None:
    """Test in this process."""
    run_here("test", made, root, *arguments)


test_here.__test__ = False  # for pytest: no test of its own


def run_here(pipeline: str, made: dict, root: Path, *arguments: str) -> None:
    from basicsr.utils import logger as basicsr_logger  # importable since vqcnir_arch is

    option_file = write(root / f"{made['name']}.yml", made)
    try:
        run(pipeline, ["-opt", str(option_file), "--root", str(root), *arguments])
    finally:
        logger = logging.getLogger("basicsr")
        basicsr_logger.initialized_logger.pop("basicsr", None)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()


def read_logs(root: Path, name: str = "run") -> str:
    return "".join(path.read_text() for path in sorted((root / "experiments" / name).glob("train_*.log")))


def measured(root: Path, name: str = "run", also: tuple[str, ...] = ()) -> list[dict]:
    """Return what `metrics.jsonl` holds, without times, which two runs cannot have in common, and keys in `also`."""
    left_out = {"time", "data_time", "images_per_s", *also}
    lines = read_metrics(root / "experiments" / name)
    return [{key: value for key, value in line.items() if key not in left_out} for line in lines]


def start(made: dict, root: Path, *arguments: str, processes: int = 0, **keywords: object) -> subprocess.Popen:
    """Begin to train; the output is a pipe."""
    option_file = write(root / f"{made['name']}.yml", made)
    line = command(option_file, root, *arguments, processes=processes)
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT, **keywords
    )


def wait_for(process: subprocess.Popen, text: str) -> str:
    """Read the output until a line has `text` in it; return what was read."""
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"'{text}' never came: {read}")


def stop(process: subprocess.Popen, number: int = signal.SIGTERM) -> tuple[int, str]:
    """Send a signal and wait; return exit status and the rest of the output."""
    process.send_signal(number)
    rest, _ = process.communicate(timeout=120)
    return process.returncode, rest


def checkpoint(root: Path, iteration: int, name: str = "run") -> dict:
    """Read everything that a checkpoint holds."""
    folder = root / "experiments" / name
    content = {"state": torch.load(folder / f"training_states/{iteration}.state")}
    for path in sorted(folder.glob(f"models/net_*_{iteration}.pth")):
        content[path.name] = torch.load(path)
    return content


def differences(first: object, second: object, where: str = "") -> list[str]:
    """List the places where two nested contents are not the same bit for bit."""
    if type(first) is not type(second):
        return [where]
    if isinstance(first, torch.Tensor):
        return [] if first.shape == second.shape and torch.equal(first, second) else [where]
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [f"{where}: keys {sorted(map(str, first.keys() ^ second.keys()))}"]
        return [d for key in first for d in differences(first[key], second[key], f"{where}/{key}")]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [where]
        return [d for i, pair in enumerate(zip(first, second, strict=True)) for d in differences(*pair, f"{where}/{i}")]
    return [] if first == second else [where]


def wait_until(condition, seconds: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
