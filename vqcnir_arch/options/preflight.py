"""Build everything that an option file names once, so that bad data and checkpoints stop a run before it starts."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from typing import Any

from basicsr.utils import logger as basicsr_logger

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.checkpoint import existing_file, load_into, read_state_dict, read_training_state
from vqcnir_arch.errors import UserError
from vqcnir_arch.metrics.pyiqa_metric import built_metric, calculate_pyiqa, needs_ground_truth
from vqcnir_arch.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, build, lookup
from vqcnir_arch.training.checkpoints import below


def preflight(options: dict[str, Any], is_train: bool, root: Path) -> None:
    """Build data sets, networks, losses and metrics of checked options, load their checkpoints, and drop them again.

    Raises:
        UserError: what cannot be built, by the name of its section.
    """
    metrics = (options.get("val") or {}).get("metrics") or {}
    try:
        for name, metric in metrics.items():
            if metric["type"] == calculate_pyiqa.__name__:
                rest = {key: value for key, value in metric.items() if key not in ("type", "crop_border")}
                section(f"val: metrics: {name}", built_metric, **rest)
        for name, dataset in options["datasets"].items():
            phase = name.split("_")[0]
            if is_train or phase == "test":
                check_dataset(name, dataset, options)
        if is_train and options["path"].get("resume_state"):
            state = below(root, options["path"]["resume_state"])
            section("path: resume_state", read_training_state, state)
        for label in ("g", "d"):
            if options.get(f"network_{label}") and (is_train or label == "g"):
                check_network(options, label)
        for key, block in (options.get("train") or {}).items() if is_train else ():
            if key.endswith("_opt") and block is not None:
                section(f"train: {key}", build, LOSS_REGISTRY, block)
    finally:
        # BasicSR's logger is set up by its first caller; that must be the pipeline, which adds the log file
        basicsr_logger.initialized_logger.pop("basicsr", None)
        for handler in list(logging.getLogger("basicsr").handlers):
            logging.getLogger("basicsr").removeHandler(handler)


def section(where: str, function: Any, *arguments: Any, **keywords: Any) -> Any:
    """Call a function; bad input that it reports in whatever way becomes a `UserError` that names the section."""
    try:
        return function(*arguments, **keywords)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{where}: {type(error).__name__}: {reason}") from error


def check_dataset(name: str, block: dict[str, Any], experiment: dict[str, Any]) -> int:
    """Build a data set of an experiment, read its first sample, and return how many it has."""
    where = f"datasets: {name}"
    options = {**copy.deepcopy(block), "phase": name.split("_")[0], "scale": experiment.get("scale", 1)}
    metrics = (experiment.get("val") or {}).get("metrics") or {}
    dataset = section(where, lookup(DATASET_REGISTRY, options["type"]), options)
    size = section(where, len, dataset)
    if size == 0:
        raise UserError(f"{where}: {options['type']} '{options['name']}' found no images")
    if options["phase"] == "train":
        for key in ("batch_size_per_gpu", "num_worker_per_gpu"):
            if options.get(key) is None:
                raise UserError(f"{where}: {key} is missing")
        batch, samples = options["batch_size_per_gpu"], math.floor(size * options.get("dataset_enlarge_ratio", 1))
        if batch > samples:
            raise UserError(
                f"{where}: a batch of {batch} is larger than the data set ({samples} samples): no iteration would run"
            )
    sample = section(where, dataset.__getitem__, 0)
    if options["phase"] != "train" and "gt" not in sample:
        for metric in metrics.values():
            if needs_ground_truth(metric):
                raise UserError(f"{metric['type']} needs a ground truth, but data set '{options['name']}' has none")
    return size


def check_network(options: dict[str, Any], label: str) -> None:
    net = section(f"network_{label}", build, ARCH_REGISTRY, options[f"network_{label}"])
    path = options["path"].get(f"pretrain_network_{label}")
    if path is None:
        return
    where = f"path: pretrain_network_{label}"
    if not isinstance(net, VQNetwork):
        section(where, existing_file, path, "checkpoint")
        return
    tensors = section(where, read_state_dict, path, options["path"].get(f"param_key_{label}", "params"))
    strict = options["path"].get(f"strict_load_{label}", True)
    section(where, load_into, net, tensors, f"checkpoint '{path}'", strict)
