"""What CodeFormer's stage III does at which iteration."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from vqcnir_arch.options.sections import check_section


class FidelityPhase(BaseModel):
    """A phase of `train: fidelity_schedule`."""

    model_config = ConfigDict(extra="forbid")
    until: PositiveInt | None = Field(None, description="last iteration of the phase; the last phase has none")
    w: NonNegativeFloat = Field(1.0, description="fidelity weight where an image is restored")
    image_every: NonNegativeInt = Field(1, description="every n-th iteration restores an image; 0: none does")

    def restores(self, iteration: int) -> bool:
        """Whether an iteration restores the lightly degraded image; the others train codes on the heavier one."""
        return self.image_every > 0 and iteration % self.image_every == 0


def read_schedule(schedule: list[dict[str, Any]] | None) -> tuple[list[FidelityPhase], list[str]]:
    """Return the phases, and one line for each thing that is wrong with them."""
    found: list[str] = []
    blocks = [
        check_section(found, FidelityPhase, block, f"train: fidelity_schedule: {i}")
        for i, block in enumerate(schedule or [])
    ]
    if found or not blocks:
        return [], found
    phases = [FidelityPhase(**block) for block in blocks]
    ends = [phase.until for phase in phases]
    if ends[-1] is not None or None in ends[:-1] or ends[:-1] != sorted(set(ends[:-1])):
        found.append(f"train: fidelity_schedule: 'until' must grow, and the last phase has none, got {ends}")
    return phases, found


def phase_at(phases: list[FidelityPhase], iteration: int) -> FidelityPhase:
    """Return the phase of an iteration."""
    return next(phase for phase in phases if phase.until is None or iteration <= phase.until)
