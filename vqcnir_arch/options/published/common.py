"""What the option files of all published projects have from BasicSR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.options.published.rules import By, Gone, Means, Place, Rule, Same, Source, To, text

WEIGHTS = "experiments/pretrained_models"
"""Where checkpoints lie that a published file has an address of."""


def whole(value: Any) -> Any:
    """Return a number without fraction (`!!float 5e3`) as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def weights(value: Any) -> Any:
    """Return the path of a checkpoint; nothing is downloaded, so that an address becomes the file of its name."""
    is_address = isinstance(value, str) and value.startswith(("http://", "https://"))
    return f"{WEIGHTS}/{value.rpartition('/')[2]}" if is_address else value


def address(value: Any) -> str:
    """Return what to do where a checkpoint is an address."""
    return "nothing is downloaded: put the file there" if weights(value) != value else ""


def gpus(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    return {"num_gpu": 0 if value == 0 else "auto"}


def metric(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """Turn a metric that is named as pyiqa names it into ours."""
    known = ("type", "crop_border", "test_y_channel", "color_space", "better")
    for key in value:
        if key not in known:
            raise UserError(f"unknown option '{key}'{nearest(key, known)}")
    if value.get("color_space", "ycbcr") != "ycbcr":
        raise UserError(f"color_space {value['color_space']} has no counterpart, only ycbcr")
    kind, border = value.get("type"), {"crop_border": value.get("crop_border", 0)}
    if kind in ("psnr", "ssim"):
        luma = {"test_y_channel": value.get("test_y_channel", False)}
        return {text(here): {"type": f"calculate_{kind}", **border, **luma, "better": value.get("better", "higher")}}
    if str(kind).startswith("calculate_"):
        return {text(here): value}
    better = {"better": value["better"]} if "better" in value else {}
    return {text(here): {"type": "calculate_pyiqa", "metric": kind, **border, **better}}


def both_phases(rules: Callable[[str], Mapping[str, Rule]]) -> dict[str, Rule]:
    """Return the rules of what data sets for training and for validation have; `rules` gives those of a place."""
    places = ("datasets: train", "datasets: val*")
    return {f"{place}: {key}": rule for place in places for key, rule in rules(place).items()}


HEAD: dict[str, Rule] = {
    "name": Same(),
    "num_gpu": By(gpus, "num_gpu: auto, or 0", "all GPUs there are; batch_size_per_gpu stays per GPU"),
    "manual_seed": Same(),
    "dist_params": Same(),
    "find_unused_parameters": Same(),
}
LOADER: dict[str, Rule] = {
    "datasets: train: name": Same(),
    "datasets: train: use_shuffle": Same(),
    "datasets: train: num_worker_per_gpu": Same(),
    "datasets: train: batch_size_per_gpu": Same(),
    "datasets: train: dataset_enlarge_ratio": Same(),
    "datasets: train: prefetch_mode": Means(
        ((None, {}), ("cpu", {}), ("cuda", {"datasets: train: prefetch_mode": "cuda"})), "loader workers load ahead"
    ),
    "datasets: train: num_prefetch_queue": Gone("it belongs to prefetch_mode: cpu"),
    "datasets: val*: name": Same(),
}
UNIT_RANGE = Means(
    (([0.5, 0.5, 0.5], {}),), "images are in [0, 1] outside, in [-1, 1] inside the networks that want it"
)
PAIRS: dict[str, Rule] = {
    "datasets: train: gt_size": Same(),
    "datasets: train: use_flip": To("datasets: train: use_hflip"),
    "datasets: train: use_rot": Same(),
    **both_phases(lambda here: {"io_backend": Same(), "filename_tmpl": Same(), "mean": UNIT_RANGE, "std": UNIT_RANGE}),
}
PATH: dict[str, Rule] = {
    "path: pretrain_network_g": To("path: pretrain_network_g", weights, address),
    "path: pretrain_network_d": To("path: pretrain_network_d", weights, address),
    "path: param_key_g": Same(),
    "path: strict_load_g": Same(),
    "path: strict_load_d": Same(),
    "path: resume_state": Same(),
}
TRAIN: dict[str, Rule] = {
    "train: optim_g": Same(),
    "train: optim_d": Same(),
    "train: scheduler": Same(),
    "train: total_iter": To("train: total_iter", whole),
    "train: warmup_iter": Same(),
    "train: pixel_opt": Same(),
    "train: net_d_iters": Same(),
    "train: net_d_init_iters": To("train: net_d_init_iters", whole),
}
VAL: dict[str, Rule] = {
    "val: val_freq": To("val: val_freq", whole),
    "val: save_img": Same(),
    "val: key_metric": Same(),
    "val: metrics: *": By(metric, "calculate_psnr, calculate_ssim; others calculate_pyiqa with metric: NAME"),
}
LOGGER: dict[str, Rule] = {
    "logger: print_freq": Same(),
    "logger: save_checkpoint_freq": To("logger: save_checkpoint_freq", whole),
    "logger: use_tb_logger": Same(),
    "logger: wandb": Same(),
}
COMMON = {**HEAD, **LOADER, **PATH, **TRAIN, **VAL, **LOGGER}
