"""Steps with a non-finite loss or gradient are not taken; gradients are measured and, if asked for, clipped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from vqcnir_arch.errors import UserError
from vqcnir_arch.signals import StopRequest
from vqcnir_arch.training.distributed import largest

MAX_SKIPPED_STEPS = 20


class StepGuard:
    """Judges every optimiser step before it is taken; all processes come to the same verdict.

    It waits for the device once per step, where BasicSR waits once per logged loss.

    Args:
        optimizers: by the label of their network.
        grad_clip: largest norm of the gradients of one optimiser, None for any.
        max_skipped: as many skipped steps in a row end the run.
        stop: a signal that one process got is made known to all with the same message.
    """

    def __init__(
        self,
        optimizers: Mapping[str, Optimizer],
        grad_clip: float | None = None,
        max_skipped: int = MAX_SKIPPED_STEPS,
        stop: StopRequest | None = None,
    ) -> None:
        self.labels = {id(optimizer): label for label, optimizer in optimizers.items()}
        self.grad_clip = grad_clip
        self.max_skipped = max_skipped
        self.stop = stop or StopRequest()
        self.norms: dict[str, float] = {}
        self.skipped = 0
        self.skipped_in_a_row = 0
        self.agreed_stop = 0
        """Number of the signal on which all processes agreed, 0 for none."""

    def allows(
        self, losses: Mapping[str, Tensor], *optimizers: Optimizer, iteration: int = 0, checkpoint: str = ""
    ) -> bool:
        """Tell whether these optimisers may step now, all or none; clip their gradients.

        Args:
            losses: scalars that must be finite.
            optimizers: those with fresh gradients.
            iteration: for the log.
            checkpoint: the last good one, for the error.

        Raises:
            UserError: too many steps in a row would have been skipped.
        """
        gradients = {
            self.labels[id(optimizer)]: [p.grad for group in optimizer.param_groups for p in group["params"]]
            for optimizer in optimizers
        }
        gradients = {label: [g for g in tensors if g is not None] for label, tensors in gradients.items()}
        norms = {label: get_total_norm(tensors) for label, tensors in gradients.items() if tensors}
        values = [loss.detach().float().mean() for loss in losses.values()] + list(norms.values())
        numbers = torch.stack(values).tolist() if values else []
        names = [*losses, *(f"gradient of net_{label}" for label in norms)]
        self.norms.update(zip((f"grad_norm_{label}" for label in norms), numbers[len(losses) :], strict=True))

        bad = [name for name, number in zip(names, numbers, strict=True) if not math.isfinite(number)]
        any_bad, self.agreed_stop = largest(int(bool(bad)), self.stop.signal)
        if any_bad:
            self._skip(bad or ["another process"], iteration, checkpoint)
            return False
        self.skipped_in_a_row = 0
        if self.grad_clip is not None:
            for label, norm in norms.items():
                parameters = [p for o in optimizers if self.labels[id(o)] == label for p in parameters_of(o)]
                clip_grads_with_norm_(parameters, self.grad_clip, norm)
        return True

    def _skip(self, bad: list[str], iteration: int, checkpoint: str) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        what = ", ".join(bad)
        if self.skipped_in_a_row >= self.max_skipped:
            raise UserError(
                f"iteration {iteration}: not finite for {self.skipped_in_a_row} steps in a row ({what}), the run ends; "
                f"{checkpoint}"
            )
        get_root_logger().warning(
            f"Iteration {iteration}: not finite ({what}), step skipped "
            f"({self.skipped_in_a_row} in a row, {self.skipped} in all)"
        )

    def state(self) -> dict[str, int]:
        """Return the counts, for the training state."""
        return {"skipped": self.skipped, "skipped_in_a_row": self.skipped_in_a_row}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.skipped = int(state["skipped"])
        self.skipped_in_a_row = int(state["skipped_in_a_row"])


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return all parameters of an optimiser."""
    return [p for group in optimizer.param_groups for p in group["params"]]
