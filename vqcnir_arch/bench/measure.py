"""How `vqcnir bench` measures: interleaved rounds, memory in a fresh process, the machine's own matrix products."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from vqcnir_arch.bench.subjects import Case, build_network, work_of
from vqcnir_arch.devices import PRECISIONS, precision_of, seconds
from vqcnir_arch.devices import peak_memory as process_peak
from vqcnir_arch.inspection.cost import multiply_adds

MATMUL_SIZE = {"cpu": 1536, "cuda": 8192}
"""Of the square matrices whose product is the machine's peak; large enough that a larger one is not faster."""
DARKNESS = 0.2


def night_image(case: Case) -> Tensor:
    """Return a darkened photograph of the case's size, [B, 3, H, W]."""
    photo = cv2.resize(skimage.data.astronaut(), case.size[::-1], interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(photo.astype(np.float32) * DARKNESS / 255).permute(2, 0, 1)
    return image.expand(case.batch, -1, -1, -1).contiguous()


def matmul_work(dtype: torch.dtype, device: torch.device) -> Callable[[], Any]:
    """Return a product of two square matrices."""
    size = MATMUL_SIZE[device.type]
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return lambda: a @ b


def dtype_of(case: Case) -> torch.dtype:
    """Return the type whose matrix products a case is compared with."""
    return PRECISIONS[case.precision] or torch.float32


def time_all(
    works: dict[Any, Callable[[], Any]], device: torch.device, repeats: int, progress: Callable[[], object]
) -> dict[Any, list[float]]:
    """Return the seconds of every work in each round; in a round each has its turn, so that load hits all alike."""
    for work in works.values():
        work()
        progress()
    taken: dict[Any, list[float]] = {key: [] for key in works}
    for _ in range(repeats):
        for key, work in works.items():
            taken[key].append(seconds(work, device))
            progress()
    return taken


def work_size(case: Case, net: nn.Module) -> float:
    """Count the multiply-adds of a case at the size that it pads to."""
    fakes = FakeTensorMode()
    with FakeCopyMode(fakes):
        net = copy.deepcopy(net)
    if not case.train:
        net.requires_grad_(False)  # the counter asks each parameter that a module is given for its gradient's node
    with fakes:
        return multiply_adds(work_of(case, net, torch.empty(case.batch, 3, *case.size)))


def peak_memory(case: Case, device: torch.device) -> tuple[int, int]:
    """Return the peak memory of a case in a process of its own, and what was held before it began, in bytes.

    On a CPU that is the resident memory of the process, on a GPU what torch allocated there.

    Raises:
        MemoryError: the process died.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        try:
            return executor.submit(memory_worker, case, device, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise MemoryError("the process died") from error


def memory_worker(case: Case, device: torch.device, threads: int) -> tuple[int, int]:
    """Run a case once and measure this process; see `peak_memory`."""
    torch.set_num_threads(threads)
    net = build_network(case.network, device)
    work, before = work_of(case, net, night_image(case).to(device)), process_peak(device)
    work()
    return process_peak(device), before


@torch.inference_mode()
def agreement(net: nn.Module, image: Tensor, precision: str) -> tuple[float, float]:
    """Compare a precision with float32.

    Returns:
        The share of codes that differ, and the PSNR in dB of the image to float32's with float32's codes imposed, its
        peak being the range of float32's image.
    """
    exact, codes = net(image, return_codes=True)
    with precision_of(net, precision):
        differing = net(image, return_codes=True)[1].indices != codes.indices
        handle = net.quantizer.register_forward_hook(
            lambda quantizer, inputs, _: quantizer.choose(inputs[0], codes.indices)
        )
        try:
            low = net(image).float()
        finally:
            handle.remove()
    error = (low - exact).square().mean()
    return differing.float().mean().item(), (10 * ((exact.max() - exact.min()) ** 2 / error).log10()).item()
