"""Draw the steps of a degradation; nothing here touches an image."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from vqcnir_arch.data.degradations.steps import (
    GaussianBlur,
    GaussianNoise,
    Jpeg,
    PoissonNoise,
    Resize,
    Step,
)

Range = tuple[float, float]
T = TypeVar("T")

RESIZE_MODES = ("linear", "cubic", "area")
LARGEST_SEED = 2**53  # exact in every JSON reader


class Drawing:
    """The steps drawn so far for one image, and the size that the image has after them.

    Args:
        rng: the only source of the draws.
        size: height and width of the image.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng = rng
        self.first_size = self.size = size
        self.steps: list[Step] = []

    def record(self, **more: Any) -> dict[str, Any]:
        """Return all draws, in types that JSON has; `remake` takes them."""
        return {**more, "size": list(self.first_size), "steps": [step.model_dump(mode="json") for step in self.steps]}

    def uniform(self, bounds: Range) -> float:
        return float(self.rng.uniform(*bounds))

    def integer(self, bounds: tuple[int, int]) -> int:
        """Draw an integer; both bounds belong to it."""
        return int(self.rng.integers(*bounds, endpoint=True))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one_of(self, values: tuple[T, ...]) -> T:
        return values[int(self.rng.integers(len(values)))]

    def seed(self) -> int:
        """Draw the seed of a noise field."""
        return int(self.rng.integers(LARGEST_SEED))

    def resize(self, size: tuple[float, float], mode: str | None = None) -> None:
        """Add a resize to `size`, cut to integers; without a mode it is one of linear, cubic, area."""
        self.size = tuple(max(1, int(side)) for side in size)
        self.steps.append(Resize(size=self.size, mode=mode or self.one_of(RESIZE_MODES)))

    def blur(self, scale: int) -> None:
        """Add BSRGAN's blur: half anisotropic, half isotropic Gaussians, the wider the larger the scale."""
        size = 2 * self.integer((2, 11)) + 3
        if self.chance(0.5):
            # the eigenvalues of the covariance are uniform, not their roots
            sigma = tuple(float(np.sqrt(self.uniform((0, 4 + scale)))) for _ in range(2))
            angle = self.uniform((0, np.pi))
        else:
            sigma, angle = (self.uniform((0, 2 + 0.2 * scale)),) * 2, 0.0
        self.steps.append(GaussianBlur(size=size, sigma=sigma, angle=angle))

    def gaussian_noise(self, levels: tuple[int, int], speckle: bool = False) -> None:
        """Add BSRGAN's noise of an integer level: 40 % colour, 40 % grey, 20 % correlated between the channels."""
        kind = self.rng.random()
        if kind < 0.8:
            level = self.integer(levels)
            noise = GaussianNoise(
                kind="color" if kind < 0.4 else "gray", level=level, speckle=speckle, seed=self.seed()
            )
        else:
            covariance = self.channel_covariance(levels[1] / 255)
            noise = GaussianNoise(kind="correlated", covariance=covariance, speckle=speckle, seed=self.seed())
        self.steps.append(noise)

    def channel_covariance(self, level: float) -> list[list[float]]:
        """Draw |L² Uᵀ D U| with D diagonal in (0, 1) and U orthogonal.

        The absolute value is that of each element. A 3x3 covariance stays one under it: its 2x2 minors do not change,
        and its determinant can only grow.
        """
        basis, _, _ = np.linalg.svd(self.rng.random((3, 3)))
        return np.abs(level**2 * basis.T @ np.diag(self.rng.random(3)) @ basis).tolist()

    def poisson_noise(self, exponents: Range) -> None:
        """Add shot noise of 10 to the power of a uniform exponent photons; half of it grey."""
        peak = 10 ** self.uniform(exponents)
        self.steps.append(PoissonNoise(peak=peak, gray=self.chance(0.5), seed=self.seed()))

    def jpeg(self, qualities: tuple[int, int]) -> None:
        self.steps.append(Jpeg(quality=self.integer(qualities)))
