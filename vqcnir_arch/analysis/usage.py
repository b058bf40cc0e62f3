"""How much of the codebook is in use (SinCA figure 2a)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqcnir_arch.analysis.probe import ForwardPass, Probe, printed_figure
from vqcnir_arch.analysis.views import AnalysisPart, View, markdown
from vqcnir_arch.models.code_usage import CodeUsage

SOURCES = {
    "input": "network on the input",
    "clean": "network on the clean image",
    "truth": "prior on the clean image",
    "prior_on_input": "prior on the input",
}


class Usage(AnalysisPart):
    """Share of the codes that are in use, perplexity and counts, per codebook and of all together.

    Continuous quantizers choose no code: counted are the codes nearest to their output.
    """

    title = "Codebook usage"

    def __init__(self, net: Probe | None, prior: Probe | None) -> None:
        self.probes = {"input": net, "clean": net, "truth": prior, "prior_on_input": prior}
        self.usage: dict[str, list[CodeUsage]] = {}

    def add(self, view: View) -> None:
        if view.net and view.lq is not None:
            self.count("input", view.restored)
        if view.net and view.gt is not None:
            self.count("clean", view.restored_clean)
        if view.prior and view.gt is not None:
            self.count("truth", view.truth)
        if view.prior and view.lq is not None:
            self.count("prior_on_input", view.prior_on_lq)

    def count(self, source: str, run: ForwardPass) -> None:
        """Count the codes of one run."""
        quantizers = list(self.probes[source].quantizers.values())
        usage = self.usage.setdefault(source, [CodeUsage(len(q.codebook)) for q in quantizers])
        for number, quantizer in enumerate(quantizers):
            usage[number].add(run.indices(number, quantizer))

    def counts(self, source: str) -> list[Tensor]:
        """Return how often each code of each codebook was counted."""
        return [usage.counts.cpu() for usage in self.usage[source]]

    def result(self) -> dict:
        rows = []
        for source in self.usage:
            quantizers, counts = self.probes[source].quantizers, self.counts(source)
            for (name, quantizer), count in zip(quantizers.items(), counts, strict=True):
                rows.append({"source": source, "codebook": name, "type": type(quantizer).__name__, **read(count)})
            if len(counts) > 1:
                rows.append({"source": source, "codebook": "all", "type": "-", **read(torch.cat(counts))})
            printed = printed_figure(self.probes[source], "usage") if source == "input" else None
            if printed:
                rows[-1]["printed"] = printed
        return {"usage": rows}

    def lines(self) -> list[str]:
        found = self.result()["usage"]
        rows = [
            [SOURCES[r["source"]], r["codebook"], r["type"], f"{r['used']} of {len(r['counts'])}",
             f"{r['codebook_usage']:.2%}", f"{r['perplexity']:.1f}", r.get("printed", "")]
            for r in found
        ]  # fmt: skip
        header = ["features", "codebook", "quantizer", "codes in use", "usage", "perplexity", "printed usage"]
        columns = len(header) if any("printed" in r for r in found) else len(header) - 1
        return markdown(header[:columns], [row[:columns] for row in rows])

    def draw(self, out: Path) -> None:
        from vqcnir_arch.analysis.figures import save_usage

        curves = {
            f"{SOURCES[source]}{'' if len(counts) == 1 else f', {name}'}": count
            for source in self.usage
            for counts in [self.counts(source)]
            for name, count in zip(self.probes[source].quantizers, counts, strict=True)
        }
        save_usage(out / "usage.png", curves)


def read(counts: Tensor) -> dict[str, Any]:
    """Return usage and perplexity as `CodeUsage` has them, and the counts."""
    usage = CodeUsage(len(counts))
    usage.counts = counts
    return {**usage.read(), "used": int((counts > 0).sum()), "counts": counts.tolist()}
