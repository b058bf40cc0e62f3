"""Check a whole option file and report every finding at once; nothing is built."""

from __future__ import annotations

from typing import Any

import torch

from vqcnir_arch.errors import UserError
from vqcnir_arch.options.blocks import SCHEDULERS, check_block, check_dataset, check_named, check_network
from vqcnir_arch.options.contradictions import (
    checkpoints_without_network,
    float16_on_cpu,
    scale_contradictions,
    switches_without_reader,
    training_contradictions,
)
from vqcnir_arch.options.schema import Experiment
from vqcnir_arch.options.sections import check_section, mapping
from vqcnir_arch.options.unchecked import is_own_loss, model_class, reads_own_keys
from vqcnir_arch.registry import LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY, lookup, optimizers


def check_options(options: dict[str, Any], is_train: bool) -> dict[str, Any]:
    """Check an option file's content.

    Args:
        options: as read from the file; not changed.
        is_train: whether it is to train or to test.

    Returns:
        The options with numbers in place of strings that spell one (`lr: 1e-4`), otherwise as given.

    Raises:
        UserError: one line per finding; unknown keys come with the nearest right name.
    """
    checked, findings = find_problems(options, is_train)
    if findings:
        raise UserError("\n".join(findings))
    return checked


def find_problems(options: Any, is_train: bool) -> tuple[dict[str, Any], list[str]]:
    """Return what `check_options` returns, without the values that do not fit, and its findings."""
    findings: list[str] = []
    foreign = reads_own_keys(mapping(options))
    checked = check_section(findings, Experiment, options, "", allow_unknown=foreign)
    for name in [name for name in checked if str(name).startswith("network_") and checked[name] is not None]:
        checked[name] = check_network(findings, checked[name], name)
    for phase, block in mapping(checked.get("datasets")).items():
        checked["datasets"][phase] = check_dataset(findings, block, phase)
    findings += [] if foreign else checkpoints_without_network(checked)
    metrics = mapping(mapping(checked.get("val")).get("metrics"))
    for name, block in metrics.items():
        # `better` is BasicSR's own key, read by its best-so-far table
        decided, more = ("img", "img2"), {"better": str}
        metrics[name] = check_block(findings, METRIC_REGISTRY, block, f"val: metrics: {name}", decided, more)
    if is_train:
        check_training(findings, checked, present=mapping(options))
    elif not mapping(options).get("val"):
        findings.append("val is missing: a test needs at least save_img")
    findings += [] if is_train else scale_contradictions(checked)
    check_model(findings, checked, is_train)
    if isinstance(checked.get("num_gpu"), int) and checked["num_gpu"] > torch.cuda.device_count():
        findings.append(
            f"num_gpu: {checked['num_gpu']}, but torch sees {torch.cuda.device_count()} GPUs: use 0 or auto"
        )
    return checked, findings


def check_training(findings: list[str], options: dict[str, Any], present: dict[str, Any]) -> None:
    """Check what training needs; `present` is the file's content, in which wrong values still stand."""
    findings += [f"{name} is missing: training needs it" for name in ("train", "logger") if not present.get(name)]
    datasets, val = present.get("datasets"), present.get("val")
    if datasets is None or (isinstance(datasets, dict) and "train" not in datasets):
        findings.append("datasets: train is missing: training needs it")
    if isinstance(val, dict) and val and not val.get("val_freq"):
        findings.append("val: val_freq is missing: training needs it")
    train = mapping(options.get("train"))
    for key, block in train.items():
        if str(key).endswith("_opt") and block is not None and not is_own_loss(options, key, block):
            train[key] = check_block(findings, LOSS_REGISTRY, block, f"train: {key}")
    for key in ("optim_g", "optim_d"):
        if train.get(key) is not None:
            train[key] = check_named(findings, optimizers(), train[key], f"train: {key}", ("params",))
    if train.get("scheduler") is not None:
        train["scheduler"] = check_named(findings, SCHEDULERS, train["scheduler"], "train: scheduler", ("optimizer",))
    findings += training_contradictions(options)


def check_model(findings: list[str], options: dict[str, Any], is_train: bool) -> None:
    """Check what depends on the class of the model."""
    if "model_type" not in options:
        return
    model = model_class(options)
    if model is None:
        try:
            lookup(MODEL_REGISTRY, options["model_type"])
        except UserError as error:
            findings.append(f"model_type: {error}")
        return
    if not is_train:
        return
    if model.__module__.startswith("basicsr."):
        findings += switches_without_reader(mapping(options.get("train")), options["model_type"])
    if getattr(model, "has_speed_switches", False):
        findings += float16_on_cpu(options)
    sections = [options.get(name) for name in ("train", "network_g", "path")]
    if hasattr(model, "contradictions") and all(isinstance(section, dict) for section in sections):
        findings += model.contradictions(options)
