"""What the prior alone can reconstruct (VQCNIR figure 3), and what quantising costs it (VR's observations 1 and 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.analysis.probe import ForwardPass, Probe
from vqcnir_arch.analysis.views import AnalysisPart, View, as_picture, markdown, mean_scores, score_cells, score_header

PHOTOS = {"sharp": "clean image", "night": "input", "night_to_truth": "input, against its ground truth"}
FEATURES = {
    "unquantised": "unquantised",
    "nearest": "nearest code",
    "least_squares": "least squares over all codes",
}


class Reconstruction(AnalysisPart):
    """The prior's own reconstruction of clean images and of inputs, and how bright both are."""

    title = "The prior's reconstruction"

    def __init__(self) -> None:
        self.scores: dict[str, list[dict[str, float]]] = {}
        self.pictures: list[dict[str, Any]] = []

    def add(self, view: View) -> None:
        picture = {}
        if view.gt is not None:
            image = view.truth.image
            self.note("sharp", view, image, view.gt_tensor, view.gt)
            picture |= {"clean image": as_picture(view.gt_tensor), "reconstructed": as_picture(image)}
        if view.lq is not None:
            image = view.prior_on_lq.image
            self.note("night", view, image, view.lq_tensor, view.lq)
            picture |= {"input": as_picture(view.lq_tensor), "input, reconstructed": as_picture(image)}
            if view.gt is not None and view.gt.shape == view.lq.shape:
                self.note("night_to_truth", view, image, view.gt_tensor, view.gt)
        if view.shown:
            self.pictures.append(picture)

    def note(self, photo: str, view: View, image: Tensor, target: Tensor, target_array: Any) -> None:
        """Keep the scores of one reconstruction and the mean brightness of it and of its target, in [0, 1]."""
        brightness = {"brightness": float(image.clamp(0, 1).mean()), "target_brightness": float(target.mean())}
        self.scores.setdefault(photo, []).append({**view.score(image, target_array), **brightness})

    def result(self) -> dict:
        return {"reconstruction": {photo: mean_scores(scores) for photo, scores in self.scores.items()}}

    def lines(self) -> list[str]:
        found = self.result()["reconstruction"]
        rows = [
            [PHOTOS[photo], *score_cells(s), f"{s['brightness']:.3f}", f"{s['target_brightness']:.3f}"]
            for photo, s in found.items()
        ]
        columns = score_header(next(iter(found.values()), {}))
        return markdown(["the prior reconstructs", *columns, "its brightness", "brightness wanted"], rows)

    def draw(self, out: Path) -> None:
        from vqcnir_arch.analysis.figures import save_grid

        save_grid(out / "prior.png", self.pictures)


class LeastSquares:
    """The nearest vector to a feature among all linear combinations of the codes: min over w of ‖z − w C‖².

    Args:
        codebook: C, [K, d].
    """

    def __init__(self, codebook: Tensor) -> None:
        self.codebook = codebook.detach().double().cpu()
        # the pseudo-inverse of Cᵀ by torch's SVD solver, which also takes codebooks without full rank
        identity = torch.eye(self.codebook.shape[1], dtype=torch.float64)
        solved = torch.linalg.lstsq(self.codebook.t(), identity, driver="gelsd")
        self.inverse, self.rank = solved.solution, int(solved.rank)

    def weights(self, rows: Tensor) -> Tensor:
        """Return the weights of [N, d] features, [N, K] float64; where several fit alike, the shortest."""
        return rows.detach().double().cpu() @ self.inverse.t()

    def combine(self, rows: Tensor) -> Tensor:
        """Return w C of [N, d] features, [N, d] float64."""
        return self.weights(rows) @ self.codebook


class Features(AnalysisPart):
    """The prior's features of clean images, decoded unquantised, with the nearest codes, and with the best combination.

    The error is ‖z − ẑ‖² over ‖z‖², summed over all positions of an image.
    """

    title = "What quantising costs the prior"

    def __init__(self, prior: Probe) -> None:
        self.solvers = [LeastSquares(quantizer.codebook) for quantizer in prior.quantizers.values()]
        self.names = list(prior.quantizers)
        self.scores: dict[str, list[dict[str, float]]] = {}
        self.pictures: list[dict[str, Any]] = []

    def add(self, view: View) -> None:
        if view.gt is None:
            return
        truth = view.truth
        candidates = {
            "unquantised": [codes.features for codes in truth.codes],
            "nearest": [codes.quantized for codes in truth.codes],
            "least_squares": [
                as_map(solver.combine(codes.features[0].flatten(1).t()), codes.features)
                for solver, codes in zip(self.solvers, truth.codes, strict=True)
            ],
        }
        picture = {"clean image": as_picture(view.gt_tensor)}
        for kind, features in candidates.items():
            image = view.decode_truth(features).image
            error = relative_error(truth, candidates["unquantised"], features)
            self.scores.setdefault(kind, []).append({**view.score(image, view.gt), "relative_error": error})
            picture[FEATURES[kind]] = as_picture(image)
        if view.shown:
            self.pictures.append(picture)

    def result(self) -> dict:
        if not self.scores:
            return {}
        ranks = {name: solver.rank for name, solver in zip(self.names, self.solvers, strict=True)}
        return {"features": {**{k: mean_scores(s) for k, s in self.scores.items()}, "codebook_rank": ranks}}

    def lines(self) -> list[str]:
        if not self.scores:
            return []
        rows = []
        for kind, scores in self.scores.items():
            s = mean_scores(scores)
            rows.append([FEATURES[kind], *score_cells(s), f"{s['relative_error']:.2%}"])
        lines = markdown(["features of the clean image", *score_header(s), "feature error"], rows)
        for name, solver in zip(self.names, self.solvers, strict=True):
            size, dim = solver.codebook.shape
            spans = "spans the whole feature space" if solver.rank == dim else "does not span the feature space"
            lines += ["", f"Codebook {name}, {size} codes of length {dim}, has rank {solver.rank} and {spans}."]
        return lines

    def draw(self, out: Path) -> None:
        from vqcnir_arch.analysis.figures import save_grid

        save_grid(out / "features.png", self.pictures)


def relative_error(run: ForwardPass, features: list[Tensor], others: list[Tensor]) -> float:
    """Return ‖z − ẑ‖² / ‖z‖² over all codebooks, without the padding."""
    pairs = [
        (run.rows(n, z).double().cpu(), run.rows(n, other).double().cpu())
        for n, (z, other) in enumerate(zip(features, others, strict=True))
    ]
    return float(sum((z - other).square().sum() for z, other in pairs) / sum(z.square().sum() for z, _ in pairs))


def as_map(rows: Tensor, like: Tensor) -> Tensor:
    """Turn [N, d] rows into a feature map of the shape, type and device of `like`, [1, d, h, w]."""
    return rows.t().reshape(like.shape).to(like)
