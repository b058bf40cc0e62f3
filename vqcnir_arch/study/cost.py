"""What a training step of each variant costs: seconds, taken in turns, and memory, in a process of its own."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from tqdm import tqdm

from vqcnir_arch.devices import peak_memory
from vqcnir_arch.options import check_options
from vqcnir_arch.registry import DATASET_REGISTRY, MODEL_REGISTRY, lookup

ROUNDS = 15
WARM_UP = 2
MEMORY_STEPS = 2


class Stepper:
    """A run's model and its first batch, outside the launcher.

    Args:
        options: content of the run's option file.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        options = check_options(options, is_train=True)
        options |= {"is_train": True, "dist": False, "rank": 0, "world_size": 1}
        torch.manual_seed(options["manual_seed"])
        block = {**options["datasets"]["train"], "phase": "train", "scale": 1}
        dataset = lookup(DATASET_REGISTRY, block["type"])(block)
        samples = [dataset[i] for i in range(block["batch_size_per_gpu"])]
        self.batch = {key: torch.stack([sample[key] for sample in samples]) for key in ("lq", "gt")}
        self.model = lookup(MODEL_REGISTRY, options["model_type"])(options)
        self.steps = 0

    def __call__(self) -> float:
        """Do one training step; return its seconds."""
        self.steps += 1
        self.model.feed_data(self.batch)
        started = time.perf_counter()
        self.model.optimize_parameters(self.steps)
        return time.perf_counter() - started


def measure(options: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Measure variants on one thread.

    In every round each variant does one step, so that whatever else the machine does meets all of them alike.

    Args:
        options: option file of a run of each variant.

    Returns:
        For each variant `step_seconds` (median of 15), `memory_mb` (what building it and two steps add to a process),
        `parameters` and `trainable`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        memory = {name: added_memory(made) for name, made in options.items()}
        steppers = {name: Stepper(made) for name, made in tqdm(options.items(), desc="building", leave=False)}
        seconds: dict[str, list[float]] = {name: [] for name in options}
        for i in tqdm(range(WARM_UP + ROUNDS), desc="timing, all variants in turn", unit="round"):
            for name, step in steppers.items():
                taken = step()
                if i >= WARM_UP:
                    seconds[name].append(taken)
    finally:
        torch.set_num_threads(threads)
    costs = {}
    for name, stepper in steppers.items():
        parameters = list(stepper.model.net_g.parameters())
        costs[name] = {
            "step_seconds": statistics.median(seconds[name]),
            "memory_mb": memory[name],
            "parameters": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        }
    return costs


def added_memory(options: dict[str, Any]) -> float:
    """Return by how many MB a run's model, its first batch and two steps raise the peak memory of a fresh process."""
    context = multiprocessing.get_context("spawn")  # a forked one may not use autograd, and has its parent's memory
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(added_memory_here, options).result()


def added_memory_here(options: dict[str, Any]) -> float:
    """Do the work of `added_memory` in this process."""
    torch.set_num_threads(1)
    checked = check_options(options, is_train=True)  # imports what a run needs
    lookup(MODEL_REGISTRY, checked["model_type"]), lookup(DATASET_REGISTRY, checked["datasets"]["train"]["type"])
    before = peak_memory()
    stepper = Stepper(options)
    for _ in range(MEMORY_STEPS):
        stepper()
    return (peak_memory() - before) / 2**20
