"""What every step of a degradation is."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict


class Step(BaseModel):
    """Base of the steps; frozen, and written to and read from JSON by pydantic."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        raise NotImplementedError
