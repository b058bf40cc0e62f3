"""Many processes: how they find each other, and what they tell each other."""

from __future__ import annotations

import datetime
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from vqcnir_arch.errors import UserError

TIMEOUT = datetime.timedelta(hours=1)  # the others wait while the first saves, or validates a model that is not ours
T = TypeVar("T")


def init_processes(launcher: str, use_gpu: bool, port: int | None = None, backend: str | None = None) -> None:
    """Join the processes that torchrun or SLURM started; BasicSR's `init_dist`, which needs a GPU, on any machine.

    Args:
        launcher: `pytorch` (torchrun) or `slurm` (srun, one task per process).
        use_gpu: one GPU per process and NCCL, or the CPU and gloo. On GPUs gloo carries what is said between the CPUs.
        port: of the first process, SLURM only; default: `MASTER_PORT`, else 29500.
        backend: another one than these.

    Raises:
        UserError: the launcher's environment is not there.
    """
    if launcher == "slurm":
        os.environ.update(slurm_environment(port))
    if "RANK" not in os.environ:
        raise UserError("--launcher pytorch: start with torchrun --nproc_per_node N -m vqcnir_arch.train -opt ...")
    if use_gpu:
        local_rank = int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
        if mp.get_start_method(allow_none=True) is None:
            mp.set_start_method("spawn")  # a fork of a process that uses NCCL may hang
    if backend in (None, "nccl", "gloo"):
        backend = "cpu:gloo,cuda:nccl" if use_gpu else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)


def slurm_environment(port: int | None = None) -> dict[str, str]:
    """Return torchrun's variables from those of `srun`."""
    environment = os.environ
    if "SLURM_PROCID" not in environment:
        raise UserError("--launcher slurm: start with srun")
    nodes = environment.get("SLURM_JOB_NODELIST", environment.get("SLURM_NODELIST", ""))
    address = environment.get("MASTER_ADDR")
    if address is None:
        names = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
        address = names.stdout.split()[0]
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_NTASKS"],
        "LOCAL_RANK": environment.get("SLURM_LOCALID", environment["SLURM_PROCID"]),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port or environment.get("MASTER_PORT", 29500)),
    }


def leave_processes() -> None:
    """Say goodbye; only when all processes have come to the end, since it waits for them."""
    if dist.is_initialized():
        gc.collect()  # DDP models are reference cycles: one that outlives the group ends its threads by an abort
        dist.barrier()
        dist.destroy_process_group()


def from_first(value: T) -> T:
    """Return the first process's value in all of them."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def in_first(function: Callable[[], object]) -> None:
    """Call a function in the first process. What it refuses is raised there, and ends the others without a word."""
    problem: UserError | None = None
    if not dist.is_initialized() or dist.get_rank() == 0:
        try:
            function()
        except UserError as error:
            problem = error
    refused = from_first(problem is not None)
    if problem is not None:
        raise problem
    if refused:
        sys.exit(2)


def from_all(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks, in all of them."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def largest(*values: int) -> list[int]:
    """Return the element-wise maximum over all processes."""
    if not dist.is_initialized():
        return list(values)
    device = "cpu" if "cpu" in dist.get_backend_config() else "cuda"
    tensor = torch.tensor(values, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor.tolist()
