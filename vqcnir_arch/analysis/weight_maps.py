"""How much each of several codebooks contributes (AdaCode's weight maps)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqcnir_arch.analysis.probe import ForwardPass, Probe
from vqcnir_arch.analysis.views import AnalysisPart, View, as_picture, markdown


class WeightMaps(AnalysisPart):
    """Mean weight of each codebook over all positions and images: of the inputs or, for a prior, of the clean images.

    SinCA chooses the depth of each codebook's transformer by this mean (appendix A). The weights are any real numbers:
    beside the mean stand that of their size |w| and the share of the positions where the codebook weighs most.
    """

    title = "Weights of the codebooks"

    def __init__(self, net: Probe | None, prior: Probe | None) -> None:
        self.net = net
        self.names = list((net or prior).quantizers)
        self.weights: list[Tensor] = []
        self.pictures: list[dict[str, np.ndarray]] = []

    def run_of(self, view: View) -> tuple[ForwardPass, Tensor] | None:
        """Return the run that counts, and its image; None where there is none."""
        if self.net is not None:
            return None if view.lq is None else (view.restored, view.lq_tensor)
        return None if view.gt is None else (view.truth, view.gt_tensor)

    def add(self, view: View) -> None:
        found = self.run_of(view)
        if found is None or found[0].weights is None:
            return
        run, image = found
        weights = run.weights[0].cpu()
        self.weights.append(weights.flatten(1))
        if view.shown:
            picture = as_picture(image)
            maps = {
                name: grey(of_codebook, picture.shape) for name, of_codebook in zip(self.names, weights, strict=True)
            }
            self.pictures.append({"image": picture, **maps})

    def result(self) -> dict:
        if not self.weights:
            return {}
        weights = torch.cat(self.weights, dim=1).double()
        largest = torch.bincount(weights.abs().argmax(dim=0), minlength=len(weights)) / weights.shape[1]
        rows = zip(self.names, weights.mean(1), weights.abs().mean(1), largest, strict=True)
        return {
            "weights": [
                {"codebook": name, "mean": float(mean), "mean_size": float(size), "weighs_most": float(most)}
                for name, mean, size, most in rows
            ]
        }

    def lines(self) -> list[str]:
        if not self.weights:
            return []
        rows = [
            [row["codebook"], f"{row['mean']:.4f}", f"{row['mean_size']:.4f}", f"{row['weighs_most']:.2%}"]
            for row in self.result()["weights"]
        ]
        return markdown(["codebook", "mean weight", "mean of its size", "weighs most at"], rows)

    def draw(self, out: Path) -> None:
        from vqcnir_arch.analysis.figures import save_grid

        save_grid(out / "weight_maps.png", self.pictures)


def grey(weights: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Show a map [h, w] from its smallest weight, black, to its largest, white, at the size of an image."""
    low, high = weights.min(), weights.max()
    levels = (weights - low) / (high - low).clamp_min(1e-12)
    enlarged = torch.nn.functional.interpolate(levels[None, None].float(), size=shape[:2], mode="nearest")
    return as_picture(enlarged.repeat(1, 3, 1, 1))
