"""What in an option file for training cannot go together, whatever the model."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import nearest
from vqcnir_arch.options.schema import TrainSection
from vqcnir_arch.options.sections import mapping
from vqcnir_arch.registry import ARCH_REGISTRY, lookup, names

OWN_SWITCHES = (
    "amp",
    "channels_last",
    "compile",
    "grad_accumulation",
    "checkpoint_blocks",
    "restart_unused_codes",
    "gan_start_iter",
    "adaptive_gan_weight",
    "fidelity_schedule",
)


def training_contradictions(options: dict[str, Any]) -> list[str]:
    """Return findings, one line each; values of a wrong type are left to the check of types."""
    train, val = mapping(options.get("train")), mapping(options.get("val"))
    found = schedule_contradictions(train.get("scheduler"), train.get("total_iter"))
    found += update_contradictions(train)
    found += speed_contradictions(options)
    found += pipeline_contradictions(options)
    key, metrics = val.get("key_metric"), mapping(val.get("metrics"))
    if key and key not in metrics:
        found.append(f"val: key_metric '{key}' is not in val: metrics{nearest(key, metrics)}")
    return found


def pipeline_contradictions(options: dict[str, Any]) -> list[str]:
    """Return what BasicSR's pipeline would stop at after it has put an earlier run aside."""
    found = [
        f"datasets: {phase}: a training takes train and val alone, a test is an option file of its own"
        for phase in mapping(options.get("datasets"))
        if str(phase).startswith("test")
    ]
    train_set, logger = mapping(mapping(options.get("datasets")).get("train")), mapping(options.get("logger"))
    if train_set.get("prefetch_mode") == "cuda":
        if not runs_on_gpu(options):
            found.append("datasets: train: prefetch_mode: cuda needs a GPU: leave it out")
        elif train_set.get("pin_memory") is not True:
            found.append("datasets: train: prefetch_mode: cuda needs pin_memory: true")
    if mapping(logger.get("wandb")).get("project") is not None and "debug" not in str(options.get("name")):
        if logger.get("use_tb_logger") is not True:
            found.append("logger: wandb needs use_tb_logger: true")
        if importlib.util.find_spec("wandb") is None:
            found.append("logger: wandb: the package is not installed: pip install wandb, or leave it out")
    return found


def checkpoints_without_network(options: dict[str, Any]) -> list[str]:
    """BasicSR reads past a checkpoint for a network that the option file does not have."""
    given = [str(key) for key, value in mapping(options.get("path")).items() if value is not None]
    labels = [key.removeprefix("pretrain_network_") for key in given if key.startswith("pretrain_network_")]
    known = [str(key).removeprefix("network_") for key in options if str(key).startswith("network_")]
    return [
        f"path: pretrain_network_{label}: there is no network_{label}{nearest(label, known)}"
        for label in labels
        if label not in known
    ]


def scale_contradictions(options: dict[str, Any]) -> list[str]:
    """A test whose network enlarges by another factor than its data would fail at the first metric."""
    block = mapping(options.get("network_g"))
    network = lookup(ARCH_REGISTRY, block["type"]) if block.get("type") in names(ARCH_REGISTRY) else None
    if not (isinstance(network, type) and issubclass(network, VQNetwork)):
        return []
    scale, of_data = network.scale_of(block), options.get("scale", 1)
    return [] if scale == of_data else [f"scale: {of_data}, but network_g enlarges by {scale}"]


def schedule_contradictions(block: Any, total_iter: Any) -> list[str]:
    """BasicSR would notice these when it builds the schedule, or only at the iteration where the schedule ends."""
    if not isinstance(block, dict):
        return []
    where = f"train: scheduler ({block.get('type')})"
    found = []
    weights = block.get("restart_weights", [1])
    for name in ("periods", "restarts"):
        values = block.get(name)
        if isinstance(values, list) and isinstance(weights, list) and len(values) != len(weights):
            found.append(f"{where}: {name} has {len(values)} values, restart_weights has {len(weights)}")
    periods = block.get("periods")
    if not isinstance(periods, list) or not all(isinstance(n, int) for n in (*periods, total_iter)):
        return found
    if sum(periods) < total_iter:
        found.append(f"{where}: periods end at iteration {sum(periods)}, train: total_iter is {total_iter}")
    return found


def update_contradictions(train: dict[str, Any]) -> list[str]:
    """Return whether network_g would never be updated: it is at multiples of net_d_iters above net_d_init_iters."""
    total, every, first = train.get("total_iter"), train.get("net_d_iters", 1), train.get("net_d_init_iters", 0)
    if not all(isinstance(n, int) for n in (total, every, first)) or every < 1:
        return []
    if total // every * every > first:
        return []
    return [
        f"train: network_g would never be updated: total_iter is {total}, net_d_init_iters {first}, net_d_iters {every}"
    ]


def speed_contradictions(options: dict[str, Any]) -> list[str]:
    """Return what keeps the speed switches from working here."""
    train, found = mapping(options.get("train")), []
    batch = mapping(mapping(options.get("datasets")).get("train")).get("batch_size_per_gpu")
    parts = train.get("grad_accumulation", 1)
    if isinstance(batch, int) and isinstance(parts, int) and parts > 0 and batch % parts:
        found.append(f"train: grad_accumulation: batch_size_per_gpu {batch} does not split into {parts} equal parts")
    if (
        train.get("amp") == "bf16"
        and runs_on_gpu(options)
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        found.append("train: amp: this GPU has no bfloat16: use fp16 or none")
    return found


def float16_on_cpu(options: dict[str, Any]) -> list[str]:
    """Refuse to train our models many times slower than without the switch."""
    if mapping(options.get("train")).get("amp") != "fp16" or runs_on_gpu(options):
        return []
    return [
        "train: amp: fp16 is for GPUs: on a CPU, where this would train, convolutions take five to fifty times as long "
        "as in float32: use none or bf16"
    ]


def runs_on_gpu(options: dict[str, Any]) -> bool:
    """Tell whether the experiment would run on a GPU of this machine."""
    return options.get("num_gpu") != 0 and torch.cuda.is_available()


def switches_without_reader(train: dict[str, Any], model: str) -> list[str]:
    """Return the options of our own models that are on, which a model that is not ours would not see."""
    off = {name: TrainSection.model_fields[name].default for name in OWN_SWITCHES}
    switched = [name for name in off if train.get(name, off[name]) != off[name]]
    return [f"train: {name}: {model} does not have it, only the models of this library do" for name in switched]
