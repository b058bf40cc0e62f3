"""What VR's weights look like: how many codes does a feature really come from?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqcnir_arch.analysis.attention_maps import usage_of_mass
from vqcnir_arch.analysis.probe import Probe
from vqcnir_arch.analysis.views import AnalysisPart, View, markdown
from vqcnir_arch.archs import VectorRegression

TOP = (1, 10, 100)
KEPT = 64  # positions per image whose weights the histogram shows


def sparsity(weights: Tensor) -> dict[str, Tensor]:
    """Measure how many of the K weights of each position count, [N, K] to [N] each.

    With p = |w| / Σ|w|: `participation` 1 / Σp² and `perplexity` exp(-Σ p log p), both K for equal and 1 for a single
    weight; `top_n`, the share of Σp in the n largest; `negative`, the share of Σp in weights below zero.
    """
    share = weights.abs().double()
    share = share / share.sum(dim=1, keepdim=True)
    ordered = share.sort(dim=1, descending=True).values
    return {
        "participation": 1 / share.square().sum(dim=1),
        "perplexity": torch.special.entr(share).sum(dim=1).exp(),
        **{f"top_{n}": ordered[:, :n].sum(dim=1) for n in TOP},
        "negative": torch.where(weights < 0, share, 0.0).sum(dim=1),
    }


class RegressionWeights(AnalysisPart):
    """Effective sparsity of VR's weights, mean over all positions and images, and usage of the codebook.

    `mass_perplexity` and `argmax_usage` are as those of the attention: of the codes' mean |w| / Σ|w|, and of the codes
    whose |w| is the largest at some position.
    """

    title = "Regression weights"

    def __init__(self, net: Probe, seed: int) -> None:
        self.net = net
        self.random = np.random.default_rng(seed)
        self.names = [name for name, q in net.quantizers.items() if isinstance(q, VectorRegression)]
        self.measured: dict[str, dict[str, list[Tensor]]] = {name: {} for name in self.names}
        self.totals: dict[str, Tensor] = {}
        self.kept: dict[str, list[Tensor]] = {name: [] for name in self.names}

    def add(self, view: View) -> None:
        if view.lq is None:
            return
        for number, (name, quantizer) in enumerate(self.net.quantizers.items()):
            if name not in self.names:
                continue
            with torch.no_grad():
                weights = quantizer.regress(view.restored.codes[number].features)
            weights = view.restored.rows(number, weights).cpu()
            for measure, values in sparsity(weights).items():
                self.measured[name].setdefault(measure, []).append(values)
            share = weights.abs().double()
            share = share / share.sum(dim=1, keepdim=True)
            largest = torch.bincount(share.argmax(dim=1), minlength=share.shape[1])
            totals = self.totals.setdefault(name, torch.zeros(2, share.shape[1], dtype=torch.float64))
            totals += torch.stack([share.sum(dim=0), largest.double()])
            chosen = self.random.choice(len(weights), min(KEPT, len(weights)), replace=False)
            self.kept[name].append(weights[torch.from_numpy(np.sort(chosen))])

    def result(self) -> dict:
        if not self.totals:
            return {}
        return {"regression": [self.summary(name) for name in self.totals]}

    def summary(self, name: str) -> dict[str, Any]:
        """Return what was measured of one quantizer."""
        means = {measure: float(torch.cat(values).mean()) for measure, values in self.measured[name].items()}
        quantizer = self.net.quantizers[name]
        return {
            "quantizer": name,
            "weights": "softmax" if quantizer.is_softmax else "real",
            "codes": len(quantizer.codebook),
            **means,
            **usage_of_mass(*self.totals[name]),
        }

    def lines(self) -> list[str]:
        if not self.totals:
            return []
        rows = [
            [s["quantizer"], s["weights"], str(s["codes"]), f"{s['participation']:.1f}", f"{s['perplexity']:.1f}",
             *(f"{s[f'top_{n}']:.1%}" for n in TOP), f"{s['negative']:.1%}", f"{s['mass_perplexity']:.1f}",
             f"{s['argmax_usage']:.2%}"]
            for s in self.result()["regression"]
        ]  # fmt: skip
        tops = [f"in the top {n}" for n in TOP]
        return markdown(
            ["quantizer", "weights", "codes", "participation ratio", "perplexity", *tops, "below zero",
             "perplexity of the mean", "codes that are largest somewhere"], rows,
        )  # fmt: skip

    def draw(self, out: Path) -> None:
        from vqcnir_arch.analysis.figures import save_weights

        if self.totals:
            save_weights(out / "weights.png", {name: torch.cat(kept).numpy() for name, kept in self.kept.items()})
