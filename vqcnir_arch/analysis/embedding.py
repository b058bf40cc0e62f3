"""Codes, features of inputs and of clean images in the plane, with the chosen and the right code (SinCA figure 3)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vqcnir_arch.analysis.probe import ForwardPass, Probe
from vqcnir_arch.analysis.views import AnalysisPart, View, markdown
from vqcnir_arch.errors import UserError

Method = Literal["tsne", "umap", "none"]
PACKAGES = {"tsne": ("sklearn", "scikit-learn"), "umap": ("umap", "umap-learn")}
POSITIONS = 150
PERPLEXITY = 30


def check_method(method: Method) -> None:
    """Raise `UserError` where the package that a method needs is missing."""
    if method != "none" and importlib.util.find_spec(PACKAGES[method][0]) is None:
        extra = " or pip install 'vqcnir[analysis]'" if method == "tsne" else ""
        raise UserError(
            f"--embedding {method} needs {PACKAGES[method][1]}: pip install {PACKAGES[method][1]}{extra}, or leave it "
            "out with --embedding none"
        )


def embed(points: np.ndarray, method: Method, seed: int) -> np.ndarray:
    """Lay [N, d] points out in the plane, [N, 2]; the same for the same seed."""
    if method == "umap":
        from umap import UMAP

        return UMAP(n_components=2, random_state=seed).fit_transform(points)
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    return TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)


class Embedding(AnalysisPart):
    """t-SNE or UMAP of each codebook with features of the input and of the clean image at the same random positions.

    The features are those before quantising: of the input by the network's encoder (by the prior's, if it is alone),
    of the clean image by the prior's. Distances are means over these positions, before the embedding.

    Args:
        net, prior: either may be missing.
        images: how many images there will be; they share the positions.
        method: `tsne` or `umap`.
        seed: of the positions and of the embedding.
    """

    title = "Features and codes"

    def __init__(self, net: Probe | None, prior: Probe | None, images: int, method: Method, seed: int) -> None:
        self.quantizers = (net or prior).quantizers
        self.knows_truth = prior is not None
        self.has_net = net is not None
        self.method, self.seed = method, seed
        self.per_image = max(1, POSITIONS // images)
        self.random = np.random.default_rng(seed)
        self.sampled: dict[str, dict[str, list[torch.Tensor]]] = {name: {} for name in self.quantizers}

    def add(self, view: View) -> None:
        runs: dict[str, ForwardPass] = {}
        if view.lq is not None:
            runs["input"] = view.restored if self.has_net else view.prior_on_lq
        if view.gt is not None and self.knows_truth:
            runs["truth"] = view.truth
        for number, (name, quantizer) in enumerate(self.quantizers.items()):
            height, width = next(iter(runs.values())).cells[number]
            count = min(self.per_image, height * width)
            positions = torch.from_numpy(np.sort(self.random.choice(height * width, count, replace=False)))
            for source, run in runs.items():
                sampled = self.sampled[name]
                rows = run.rows(number, run.codes[number].features).cpu()[positions]
                indices = run.indices(number, quantizer).flatten().cpu()[positions]
                sampled.setdefault(source, []).append(rows)
                sampled.setdefault(f"{source}_codes", []).append(indices)

    def data(self, name: str) -> dict[str, np.ndarray]:
        """Return what was sampled of one codebook, features [N, d] and codes [N]."""
        return {key: torch.cat(parts).numpy() for key, parts in self.sampled[name].items()}

    def result(self) -> dict:
        return {
            "embedding": {
                name: {"method": self.method, "seed": self.seed, **self.distances(name)} for name in self.quantizers
            }
        }

    def distances(self, name: str) -> dict[str, Any]:
        """Return the mean distances between sampled features and codes of one codebook."""
        data, codebook = self.data(name), self.quantizers[name].codebook.detach().cpu().numpy()
        pairs = [("input", "input_codes"), ("input", "truth_codes"), ("truth", "truth_codes")]
        found = {
            f"{features}_to_{codes}": float(np.linalg.norm(data[features] - codebook[data[codes]], axis=1).mean())
            for features, codes in pairs
            if features in data and codes in data
        }
        return {"positions": len(next(iter(data.values()))), "distance": found}

    def lines(self) -> list[str]:
        titles = {
            "input_to_input_codes": "input's feature to its own code",
            "input_to_truth_codes": "input's feature to the ground-truth code",
            "truth_to_truth_codes": "clean image's feature to the ground-truth code",
        }
        rows = [
            [name, str(found["positions"]), *(f"{d:.4f}" if (d := found["distance"].get(t)) is not None else "-"
             for t in titles)]
            for name, found in self.result()["embedding"].items()
        ]  # fmt: skip
        return markdown(["codebook", "positions", *(f"mean distance, {title}" for title in titles.values())], rows)

    def draw(self, out: Path) -> None:
        from vqcnir_arch.analysis.figures import save_embedding

        for number, (name, quantizer) in enumerate(self.quantizers.items(), 1):
            data, codebook = self.data(name), quantizer.codebook.detach().cpu().numpy()
            kinds = [kind for kind in ("input", "truth") if kind in data]
            points = embed(np.concatenate([codebook, *(data[kind] for kind in kinds)]), self.method, self.seed)
            places = np.split(points, np.cumsum([len(codebook), *(len(data[kind]) for kind in kinds)])[:-1])
            file = "embedding.png" if len(self.quantizers) == 1 else f"embedding_{number}.png"
            save_embedding(out / file, self.method, places[0], dict(zip(kinds, places[1:], strict=True)), data)
