"""Whether the right codes are chosen, and what right ones or no feature fusion would change (SinCA figures 2 to 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.analysis.fusion_off import fusion_variants
from vqcnir_arch.analysis.probe import ForwardPass, Probe, printed_figure
from vqcnir_arch.analysis.views import AnalysisPart, View, as_picture, markdown, mean_scores, score_cells, score_header

CODES = {
    "input": "of the input (the network as it is)",
    "clean": "of the clean image",
    "truth": "ground truth",
    "truth_features": "ground truth, unquantised",
}
PICTURES = {
    "input": "codes of the input",
    "clean": "codes of the clean image",
    "truth": "ground-truth codes",
    "truth_features": "ground-truth features",
}
PRINTED = {"input": "accuracy", "clean": "accuracy of clean"}
"""What papers print the accuracy of."""
FULL = "full network"


class Choice(AnalysisPart):
    """Accuracy of the code choice, and the output with other codes and without feature fusion.

    The right code of a position is the one that the frozen prior chooses on the clean image. Accuracy is the share of
    all positions of all images whose code is right. With the codes of the clean image or of the ground truth, all but
    the quantizer's output still comes from the input. Where a quantizer chooses no code, accuracy counts the code
    nearest to its output, and what is taken from the clean image is its output.
    """

    title = "Code choice and feature fusion"

    def __init__(self, net: Probe, prior: Probe | None) -> None:
        self.net = net
        self.knows_truth = prior is not None
        self.variants = fusion_variants(net.net)
        self.images: list[dict[str, Any]] = []
        self.chosen: dict[str, list[list[Tensor]]] = {}
        self.pictures: list[dict[str, Any]] = []

    def add(self, view: View) -> None:
        if view.lq is None or view.gt is None:
            return
        imposed: dict[str, Sequence[Tensor] | None] = {
            "input": None,
            "clean": [codes.output for codes in view.restored_clean.codes],
        }
        if self.knows_truth:
            imposed["truth"] = [codes.quantized for codes in view.truth.codes]
            imposed["truth_features"] = [codes.features for codes in view.truth.codes]
            self.remember(view)
        scores: dict[str, dict[str, dict[str, float]]] = {}
        picture = {"input": as_picture(view.lq_tensor), "ground truth": as_picture(view.gt_tensor)}
        for source, features in imposed.items():
            scores[source] = {}
            # every variant on the network's own codes; on others the first, in which the input acts as codes alone
            titles = list(self.variants) if source == "input" else list(self.variants)[:1]
            for title in [FULL, *titles]:
                image = self.net.run(view.lq_tensor, features, self.variants.get(title)).image
                scores[source][title] = view.score(image, view.gt)
                if title == FULL:
                    picture[PICTURES[source]] = as_picture(image)
                elif source == "input":
                    picture[title] = as_picture(image)
        self.images.append({"name": view.name, "scores": scores})
        if view.shown:
            self.pictures.append(picture)

    def remember(self, view: View) -> None:
        """Keep the codes of an image as chosen from the input, the clean image, and by the prior."""
        for source, run in (("input", view.restored), ("clean", view.restored_clean), ("truth", view.truth)):
            probe = view.prior if source == "truth" else self.net
            self.chosen.setdefault(source, []).append(all_indices(run, probe))

    def accuracy(self, source: str) -> dict[str, float]:
        """Return the share of right codes per codebook, and of all together if there are several."""
        return self.share_right(self.chosen[source])

    def share_right(self, chosen: list[list[Tensor]]) -> dict[str, float]:
        """Compare codes, [image][codebook], with the ground truth's."""
        pairs = zip(chosen, self.chosen["truth"], strict=True)
        right = [[a == b for a, b in zip(*pair, strict=True)] for pair in pairs]
        pooled = [torch.cat([image[number].flatten() for image in right]) for number in range(len(right[0]))]
        shares = {n: float(r.double().mean()) for n, r in zip(self.net.quantizers, pooled, strict=True)}
        return {**shares, **({"all": float(torch.cat(pooled).double().mean())} if len(pooled) > 1 else {})}

    def most_frequent(self) -> dict[str, float]:
        """Return the accuracy of choosing the ground truths' most frequent code everywhere."""
        truths = self.chosen["truth"]
        modes = [torch.cat([image[n].flatten() for image in truths]).mode().values for n in range(len(truths[0]))]
        return self.share_right([[mode.expand_as(t) for mode, t in zip(modes, image, strict=True)] for image in truths])

    def result(self) -> dict:
        if not self.images:
            return {}
        rows = {}
        for source, variants in self.images[0]["scores"].items():
            means = {v: mean_scores([image["scores"][source][v] for image in self.images]) for v in variants}
            accuracy = self.accuracy(source) if source in self.chosen else None
            rows[source] = {"accuracy": accuracy, "scores": means}
            printed = printed_figure(self.net, PRINTED.get(source, ""))
            if printed:
                rows[source]["printed"] = printed
        baseline = {"most_frequent_code_accuracy": self.most_frequent()} if self.knows_truth else {}
        return {"choice": {"codes": rows, **baseline}, "per_image": self.images}

    def lines(self) -> list[str]:
        if not self.images:
            return []
        choice = self.result()["choice"]
        columns = [FULL, *self.variants]
        rows = []
        for source, row in choice["codes"].items():
            accuracy = ", ".join(percentages(row["accuracy"])) if row["accuracy"] else "-"
            cells = [f"{s['psnr']:.2f} / {s['ssim']:.4f}" if (s := row["scores"].get(c)) else "-" for c in columns]
            rows.append([CODES[source], accuracy, *cells])
        header = ["codes", "accuracy", *(f"{c}, PSNR / SSIM" for c in columns)]
        if any("printed" in row for row in choice["codes"].values()):
            header.insert(2, "printed accuracy")
            for cells, row in zip(rows, choice["codes"].values(), strict=True):
                cells.insert(2, row.get("printed", ""))
        lines = markdown(header, rows)
        full = {source: row["scores"][FULL] for source, row in choice["codes"].items()}
        header = ["codes", *(f"{FULL}, {title}" for title in score_header(full["input"])[2:])]
        lines += ["", *markdown(header, [[CODES[source], *score_cells(s)[2:]] for source, s in full.items()])]
        if self.knows_truth:
            share = ", ".join(percentages(choice["most_frequent_code_accuracy"]))
            lines += ["", f"The ground truths' most frequent code, chosen everywhere, would be right at {share}."]
        return lines

    def draw(self, out: Path) -> None:
        from vqcnir_arch.analysis.figures import save_grid

        save_grid(out / "choice.png", self.pictures)


def all_indices(run: ForwardPass, probe: Probe) -> list[Tensor]:
    """Return the codes of every codebook, [h, w] each, on the CPU."""
    return [run.indices(number, quantizer).cpu() for number, quantizer in enumerate(probe.quantizers.values())]


def percentages(shares: dict[str, float]) -> list[str]:
    """Return shares as text, with the codebook's name where there are several."""
    return [f"{share:.2%}" if len(shares) == 1 else f"{name} {share:.2%}" for name, share in shares.items()]
