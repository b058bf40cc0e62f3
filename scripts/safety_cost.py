"""Measure in one run what the safety of our launchers costs per training step.

    python scripts/safety_cost.py --out safety_cost_out

In every other iteration the step guard, the seeding of the samples and the late reduction of the losses are left out,
as in BasicSR's own loop; the medians of both kinds of iterations are compared.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from training_runs import make_images, options, train_here  # noqa: E402

from vqcnir_arch.models import VQPriorModel  # noqa: E402
from vqcnir_arch.training.safe_model import SafeTraining  # noqa: E402
from vqcnir_arch.training.safe_saving import SafeSaving  # noqa: E402
from vqcnir_arch.training.sampling import SeededSamples  # noqa: E402


def measure(out: Path, iterations: int) -> dict[bool, list[float]]:
    """Return the seconds of the iterations without and with safety."""
    shutil.rmtree(out, ignore_errors=True)
    make_images(out / "images")
    made = options(out, train__total_iter=iterations, val=None, datasets__train__batch_size_per_gpu=6)
    made["logger"].update(print_freq=10_000, save_checkpoint_freq=10_000)
    made["network_g"].update(channels=[48, 48, 64, 64], norm_groups=8)
    safe, seconds, began = True, {False: [], True: []}, time.perf_counter()
    may_step, get_item = SafeTraining.may_step, SeededSamples.__getitem__
    begin, reduce_losses = SafeTraining.update_learning_rate, SafeTraining.reduce_loss_dict

    def next_iteration(self: Any, current_iter: int, warmup_iter: int = -1) -> None:
        nonlocal safe, began
        now = time.perf_counter()
        if current_iter > 10:  # the first ones are slow
            seconds[safe].append(now - began)
        began, safe = now, current_iter % 2 == 0
        begin(self, current_iter, warmup_iter)

    SafeTraining.update_learning_rate = next_iteration
    SafeTraining.may_step = lambda self, *given: may_step(self, *given) if safe else True
    SeededSamples.__getitem__ = lambda self, key: get_item(self, key) if safe else self.dataset[key.index]
    SafeTraining.reduce_loss_dict = lambda self, losses: (
        reduce_losses(self, losses) if safe else super(SafeSaving, self).reduce_loss_dict(losses)
    )
    assert issubclass(VQPriorModel, SafeTraining)
    train_here(made, out)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True, help="folder for the run; what is in it goes")
    given = parser.parse_args()
    seconds = measure(given.out, given.iterations)
    without, with_safety = (statistics.median(seconds[safe]) for safe in (False, True))
    print(f"without: {1 / without:.3f} it/s ({1000 * without:.1f} ms), with: {1 / with_safety:.3f} it/s "
          f"({1000 * with_safety:.1f} ms), {100 * (with_safety / without - 1):+.2f} %")  # fmt: skip


if __name__ == "__main__":
    main()
