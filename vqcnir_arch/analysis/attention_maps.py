"""Where a quantizer's attention goes: the features themselves or the codebook (SinCA figure 7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqcnir_arch.analysis.probe import Probe
from vqcnir_arch.analysis.views import AnalysisPart, View, as_picture, markdown
from vqcnir_arch.archs import Quantizer, SinCAAttention
from vqcnir_arch.errors import UserError

MAP_VALUES = 2**24  # of the map, that is held at a time: 64 MB
SHOWN = 100  # figure 7 shows the first 100 of each part
DEFAULT_QUERIES = ((0.25, 0.25), (0.5, 0.5), (0.75, 0.75))


def attention_inputs(quantizer: Quantizer, features: Tensor) -> list[tuple[SinCAAttention, Tensor]]:
    """Run a quantizer on [1, d, h, w] and return its attention layers, each with what it saw, [1, N, d]."""
    layers = [module for module in quantizer.modules() if isinstance(module, SinCAAttention)]
    seen: dict[int, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda module, inputs, n=n: seen.update({n: inputs[0]}))
        for n, layer in enumerate(layers)
    ]
    try:
        with torch.no_grad():
            if layers:
                quantizer(features)
    finally:
        for hook in hooks:
            hook.remove()
    return [(layer, seen[n]) for n, layer in enumerate(layers)]


def split_parts(weights: Tensor, layer: SinCAAttention, count: int) -> tuple[Tensor, Tensor]:
    """Split [..., N+K] into the features' part, [..., N], and the codes' part, [..., K]; a part not seen is empty."""
    seen = count if layer.sees_features else 0
    return weights[..., :seen], weights[..., seen:]


def check_queries(net: Probe | None, queries: Sequence[tuple[int, int]]) -> None:
    """Raise `UserError` for positions to show the attention of where there is no attention."""
    modules = net.net.modules() if net else ()
    if queries and not any(isinstance(module, SinCAAttention) for module in modules):
        raise UserError("--query: this checkpoint has no attention layer to show (SinCA, CrossAttention, ... have)")


def even_share(layer: SinCAAttention, positions: int, codes: int) -> float:
    """Return the share of attention on the codes if all that the layer sees had the same weight."""
    of_codes = codes * layer.sees_codebook
    return of_codes / (positions * layer.sees_features + of_codes)


def head_mean_maps(layer: SinCAAttention, features: Tensor, codebook: Tensor, rows: Tensor) -> Iterator[Tensor]:
    """Return the attention map of some rows, mean over heads, [P, N+K], in pieces that fit into the memory."""
    chunk = max(1, MAP_VALUES // (layer.num_heads * (features.shape[1] + len(codebook))))
    with torch.no_grad():
        for piece in rows.split(chunk):
            yield layer.attention_map(features, codebook, piece)[0].mean(dim=0)


class AttentionMaps(AnalysisPart):
    """Share of the attention on the codebook, and which codes it goes to, per layer.

    `even_share` is what the share would be if all positions and codes had the same weight, K / (N + K).
    Taken over all positions of the image and all heads. `mass_perplexity` is exp(entropy) of the codes' mean weight:
    the number of codes that would share it evenly. `argmax_usage` is the share of codes that are, at one position at
    least, the code with the largest weight.

    Args:
        net: the restoration network.
        queries: positions to draw the map of, (x, y) in pixels of the input; default: three on its diagonal.
    """

    title = "Attention"

    def __init__(self, net: Probe, queries: Sequence[tuple[int, int]] = ()) -> None:
        self.net, self.queries = net, queries
        self.images: list[dict[str, Any]] = []
        self.totals: dict[tuple[str, int], Tensor] = {}
        self.even: dict[str, list[float]] = {}
        self.pictures: list[dict[str, Any]] = []

    def add(self, view: View) -> None:
        if view.lq is None:
            return
        image: dict[str, list[float]] = {}
        for number, (name, quantizer) in enumerate(self.net.quantizers.items()):
            codes, cells = view.restored.codes[number], view.restored.cells[number]
            layers = attention_inputs(quantizer, codes.features)
            if not layers:
                continue
            height, width = codes.features.shape[-2:]
            self.even.setdefault(name, []).append(even_share(layers[0][0], height * width, len(quantizer.codebook)))
            positions = torch.arange(height * width, device=codes.features.device).view(height, width)
            inside = positions[: cells[0], : cells[1]].flatten()
            image[name] = [
                self.measure(name, n, layer, features, quantizer.codebook, inside)
                for n, (layer, features) in enumerate(layers)
            ]
            if view.shown:
                self.pictures.append(self.picture(view, layers, quantizer.codebook, (height, width), cells, name))
        if image:
            self.images.append({"name": view.name, "code_share": image})

    def measure(self, name: str, number: int, layer: SinCAAttention, features: Tensor, codebook: Tensor,
                rows: Tensor) -> float:  # fmt: skip
        """Add one layer of one image to the totals, and return its share of attention on the codes."""
        empty = torch.zeros(2, len(codebook), dtype=torch.float64)
        mass, largest = self.totals.setdefault((name, number), empty)
        share = 0.0
        if layer.sees_codebook:
            for piece in head_mean_maps(layer, features, codebook, rows):
                _, on_codes = split_parts(piece, layer, features.shape[1])
                of_piece = on_codes.sum(dim=0).double().cpu()
                mass += of_piece
                largest += torch.bincount(on_codes.argmax(dim=1).cpu(), minlength=len(codebook))
                share += float(of_piece.sum()) / len(rows)
        return share

    def picture(
        self,
        view: View,
        layers: list[tuple[SinCAAttention, Tensor]],
        codebook: Tensor,
        grid: tuple[int, int],
        cells: tuple[int, int],
        name: str,
    ) -> dict[str, Any]:
        """Return what the figures of one image show."""
        points = [self.cell_of(view, query, cells) for query in self.queries_of(view)]
        rows = torch.tensor([y * grid[1] + x for x, y in points], device=codebook.device)
        first = torch.arange(min(SHOWN, grid[0] * grid[1]), device=codebook.device)
        shown = []
        for layer, features in layers:
            weights = torch.cat(list(head_mean_maps(layer, features, codebook, rows)))
            own, on_codes = split_parts(weights, layer, features.shape[1])
            maps = own.reshape(len(rows), *grid)[:, : cells[0], : cells[1]] if layer.sees_features else None
            shown.append((None if maps is None else maps.cpu().numpy(), on_codes.cpu().numpy()))
        layer, features = layers[0]
        matrix = torch.cat(list(head_mean_maps(layer, features, codebook, first)))
        own, on_codes = split_parts(matrix, layer, features.shape[1])
        return {
            "title": view.name if len(self.net.quantizers) == 1 else f"{view.name}, {name}",
            "image": as_picture(view.lq_tensor),
            "queries": self.queries_of(view),
            "layers": shown,
            "matrix": np.concatenate([own[:, :SHOWN].cpu().numpy(), on_codes[:, :SHOWN].cpu().numpy()], axis=1),
            "own_columns": min(SHOWN, own.shape[1]),
        }

    def queries_of(self, view: View) -> list[tuple[int, int]]:
        """Return the chosen positions in pixels (x, y) of an image.

        Raises:
            UserError: one of them is outside.
        """
        height, width = view.lq.shape[:2]
        for x, y in self.queries:
            if not (0 <= x < width and 0 <= y < height):
                raise UserError(f"--query {x},{y} is outside of '{view.name}', {width} x {height}")
        return list(self.queries) or [(int(x * width), int(y * height)) for x, y in DEFAULT_QUERIES]

    @staticmethod
    def cell_of(view: View, query: tuple[int, int], cells: tuple[int, int]) -> tuple[int, int]:
        """Return the position (x, y) on the feature map of a pixel (x, y)."""
        height, width = view.lq.shape[:2]
        return query[0] * cells[1] // width, query[1] * cells[0] // height

    def result(self) -> dict:
        if not self.images:
            return {}
        layers = [
            {
                "quantizer": name,
                "layer": number + 1,
                "code_share": float(np.mean([image["code_share"][name][number] for image in self.images])),
                "even_share": float(np.mean(self.even[name])),
                **usage_of_mass(mass, largest),
            }
            for (name, number), (mass, largest) in self.totals.items()
        ]
        return {"attention": {"layers": layers, "per_image": self.images}}

    def lines(self) -> list[str]:
        if not self.images:
            return []
        rows = []
        for layer in self.result()["attention"]["layers"]:
            used = ["-", "-"]
            if layer["mass_perplexity"] is not None:
                used = [f"{layer['mass_perplexity']:.1f}", f"{layer['argmax_usage']:.2%}"]
            rows.append([layer["quantizer"], str(layer["layer"]), f"{layer['code_share']:.2%}",
                         f"{layer['even_share']:.2%}", *used])  # fmt: skip
        return markdown(
            ["quantizer", "layer", "attention on the codes", "if even", "codes that share it (perplexity)",
             "codes that are largest somewhere"], rows,
        )  # fmt: skip

    def draw(self, out: Path) -> None:
        from vqcnir_arch.analysis.figures import save_attention, save_attention_matrices

        if self.pictures:
            save_attention_matrices(out / "attention_matrix.png", self.pictures)
        for number, picture in enumerate(self.pictures, 1):
            save_attention(out / f"attention_{number}.png", picture)


def usage_of_mass(mass: Tensor, largest: Tensor) -> dict[str, float | None]:
    """Return how many codes share a mass [K], and the share of codes that were the largest somewhere ([K] counts).

    Without any mass on the codes (self-attention) both are None.
    """
    if not mass.sum():
        return {"mass_perplexity": None, "argmax_usage": None}
    entropy = torch.special.entr(mass / mass.sum()).sum()
    return {"mass_perplexity": float(entropy.exp()), "argmax_usage": float((largest > 0).double().mean())}
