"""Build everything that an option file names once, so that bad data and checkpoints stop a run before it starts."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import logger as basicsr_logger
from torch import nn

from vqcnir_arch.archs.loading import load_into
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.data.basicsr_pairs import broken_pairs
from vqcnir_arch.errors import UserError
from vqcnir_arch.metrics.pyiqa_metric import built_metric, calculate_pyiqa, needs_ground_truth
from vqcnir_arch.options.blocks import SCHEDULERS
from vqcnir_arch.options.check import find_problems
from vqcnir_arch.options.sections import mapping
from vqcnir_arch.options.unchecked import is_own_loss
from vqcnir_arch.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, build, lookup, optimizers
from vqcnir_arch.tensor_files import checkpoint_file, read_state_dict, read_training_state
from vqcnir_arch.training.saved_runs import below


def preflight(options: dict[str, Any], is_train: bool, root: Path) -> dict[str, Any]:
    """Check options, build all that they name, load their checkpoints, and drop everything again.

    Returns:
        The options as `check_options` gives them.

    Raises:
        UserError: one line per finding, of the check and of what cannot be built, by the name of its section.
    """
    trial = Trial(options, is_train, root)
    if trial.findings:
        raise UserError("\n".join(trial.findings))
    return trial.options


class Trial:
    """One attempt to check and build everything; it continues after each finding, but builds no block that has one.

    Attributes:
        options: as `check_options` gives them, without the values that do not fit.
        findings: one line each.
        checks: whether the options themselves are without a finding.
        samples: number of samples of each data set that could be built.
    """

    def __init__(self, options: dict[str, Any], is_train: bool, root: Path) -> None:
        self.options, self.findings = find_problems(options, is_train)
        self.checks = not self.findings
        self.is_train = is_train
        self.samples: dict[str, int] = {}
        self.train = mapping(self.options.get("train")) if is_train else {}
        self.path = mapping(self.options.get("path"))
        try:
            self.metrics = self.try_metrics()
            for phase in mapping(self.options.get("datasets")):
                if (is_train or phase.split("_")[0] == "test") and self.is_sound(f"datasets: {phase}"):
                    self.try_dataset(phase)
            if is_train and self.path.get("resume_state"):
                state = below(root, self.path["resume_state"])
                self.attempt("path: resume_state", read_training_state, state)
            for name, block in self.options.items():
                if name.startswith("network_") and block and (is_train or name == "network_g"):
                    self.try_network(name.removeprefix("network_"))
            self.try_losses()
            self.try_optimizers()
        finally:
            # BasicSR's logger is set up by its first caller; that must be the pipeline, which adds the log file
            basicsr_logger.initialized_logger.pop("basicsr", None)
            for handler in list(logging.getLogger("basicsr").handlers):
                logging.getLogger("basicsr").removeHandler(handler)

    def is_sound(self, where: str) -> bool:
        """Tell whether there is no finding about a place so far."""
        return not any(line.startswith(where) for line in self.findings)

    def attempt(self, where: str, function: Any, *arguments: Any, **keywords: Any) -> Any:
        """Return what a function gives; None, after a finding, if it fails."""
        try:
            return section(where, function, *arguments, **keywords)
        except UserError as error:
            self.findings += str(error).splitlines()
            return None

    def try_metrics(self) -> list[dict[str, Any]]:
        """Build the metrics of pyiqa; return all blocks of metrics that can be used."""
        usable = []
        for name, metric in mapping(mapping(self.options.get("val")).get("metrics")).items():
            where = f"val: metrics: {name}"
            if not self.is_sound(where):
                continue
            if metric["type"] == calculate_pyiqa.__name__:
                rest = {key: value for key, value in metric.items() if key not in ("type", "crop_border")}
                if self.attempt(where, built_metric, **rest) is None:
                    continue
            usable.append(metric)
        return usable

    def try_dataset(self, name: str) -> None:
        """Build a data set and read its first sample."""
        where, phase = f"datasets: {name}", name.split("_")[0]
        block = {**self.options["datasets"][name], "phase": phase, "scale": self.options.get("scale", 1)}
        loader = ("batch_size_per_gpu", "num_worker_per_gpu") if phase == "train" else ()
        self.findings += [f"{where}: {key} is missing" for key in loader if block.get(key) is None]
        dataset = self.attempt(where, lookup(DATASET_REGISTRY, block["type"]), copy.deepcopy(block))
        size = None if dataset is None else self.attempt(where, len, dataset)
        if size is None:
            return
        self.samples[name] = size
        if size == 0:
            self.findings.append(f"{where}: {block['type']} '{block['name']}' found no images")
            return
        batch, samples = block.get("batch_size_per_gpu"), math.floor(size * block.get("dataset_enlarge_ratio", 1))
        if phase == "train" and batch is not None and batch > samples:
            self.findings.append(
                f"{where}: a batch of {batch} is larger than the data set ({samples} samples): no iteration would run"
            )
        broken = broken_pairs(dataset)
        self.findings += [f"{where}: {line}" for line in broken]
        sample = None if broken else self.attempt(where, dataset.__getitem__, 0)
        if sample is not None and phase != "train" and "gt" not in sample:
            self.findings += [
                f"{metric['type']} needs a ground truth, but data set '{block['name']}' has none"
                for metric in self.metrics
                if needs_ground_truth(metric)
            ]

    def try_network(self, label: str) -> None:
        """Build a network and load the checkpoint that it is to start from."""
        name, path = f"network_{label}", self.path.get(f"pretrain_network_{label}")
        where = f"path: pretrain_network_{label}"
        net = self.attempt(name, build, ARCH_REGISTRY, self.options[name]) if self.is_sound(name) else None
        if path is None:
            return
        if net is None:
            self.attempt(where, checkpoint_file, path)
            return
        tensors = self.attempt(where, read_state_dict, path, self.path.get(f"param_key_{label}", "params"))
        strict = self.path.get(f"strict_load_{label}", True)
        if tensors is not None and (strict or isinstance(net, VQNetwork)):  # else BasicSR leaves other sizes out
            self.attempt(where, load_into, net, tensors, f"checkpoint '{path}'", strict)

    def try_losses(self) -> None:
        """Build the losses, with the weights that they need."""
        for key, block in self.train.items():
            where = f"train: {key}"
            if key.endswith("_opt") and block and not is_own_loss(self.options, key, block) and self.is_sound(where):
                self.attempt(where, build, LOSS_REGISTRY, block)

    def try_optimizers(self) -> None:
        """Build optimisers and schedule for one parameter: their own checks of rates and weights are the best."""
        for key in ("optim_g", "optim_d"):
            where, block = f"train: {key}", self.train.get(key)
            if not block or not self.is_sound(where):
                continue
            optimizer = self.attempt(where, named, optimizers(), block, [nn.Parameter(torch.zeros(2, 2))])
            schedule = self.train.get("scheduler")
            if key == "optim_g" and optimizer is not None and schedule and self.is_sound("train: scheduler"):
                self.attempt("train: scheduler", named, SCHEDULERS, schedule, optimizer)


def named(known: dict[str, Any], block: dict[str, Any], *arguments: Any) -> Any:
    """Build what a block's type names among `known`."""
    return known[block["type"]](*arguments, **{key: value for key, value in block.items() if key != "type"})


def section(where: str, function: Any, *arguments: Any, **keywords: Any) -> Any:
    """Call a function; bad input that it reports in whatever way becomes a `UserError` that names the section."""
    try:
        return function(*arguments, **keywords)
    except UserError as error:
        raise UserError("\n".join(f"{where}: {line}" for line in str(error).splitlines())) from error
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
