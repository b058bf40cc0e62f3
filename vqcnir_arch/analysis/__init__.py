"""`vqcnir inspect CKPT --codebook`: what a checkpoint's codebook does on given photos."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vqcnir_arch.arguments import not_negative
from vqcnir_arch.errors import UserError
from vqcnir_arch.version import __version__

MAX_IMAGES = 20


def main(arguments: Sequence[str]) -> None:
    """Analyse the codebook of a checkpoint on photos: usage, right and wrong codes, what quantising costs."""
    parser = argparse.ArgumentParser(
        prog="vqcnir inspect", description=main.__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("checkpoint", help="a restoration network, or a prior alone")
    parser.add_argument("--codebook", action="store_true", help="analyse its codebook")
    parser.add_argument("--data", type=Path, help="folder of degraded images; a prior can do without")
    parser.add_argument("--gt", type=Path, help="folder of their clean images, of the same names")
    parser.add_argument("--prior", help="the prior that a restoration network was trained with: gives the right codes")
    parser.add_argument("--out", type=Path, help="folder for the results (default: codebook_<checkpoint's name>)")
    parser.add_argument(
        "--max-images", type=not_negative, default=MAX_IMAGES, help=f"spread over all; 0: all (default: {MAX_IMAGES})"
    )
    parser.add_argument("--embedding", choices=("tsne", "umap", "none"), default="tsne", help="default: tsne")
    parser.add_argument("--query", type=position, action="append", default=[], metavar="X,Y",
                        help="pixel to show the attention map of; may be repeated")  # fmt: skip
    parser.add_argument("--lpips", action="store_true", help="also measure LPIPS (AlexNet; pyiqa needs its weights)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampled positions and the embedding (default: 0)")
    parser.add_argument("--device", default="cpu", help="where the networks run (default: cpu)")
    known = parser.parse_args(arguments)
    print(analyse(known))


def position(text: str) -> tuple[int, int]:
    """Read `X,Y`."""
    x, y = text.split(",")
    return int(x), int(y)


def analyse(options: argparse.Namespace) -> str:
    """Run the analysis and write `analysis.json`, `analysis.md` and the figures.

    Args:
        options: what `main` reads.

    Returns:
        The tables as Markdown, with where the files are.

    Raises:
        UserError: a file, a folder, the pairing or an image is wrong; or a package is missing.
    """
    from vqcnir_arch.analysis.attention_maps import AttentionMaps, check_queries
    from vqcnir_arch.analysis.choice import Choice
    from vqcnir_arch.analysis.embedding import Embedding, check_method
    from vqcnir_arch.analysis.reconstruction import Features, Reconstruction
    from vqcnir_arch.analysis.regression_weights import RegressionWeights
    from vqcnir_arch.analysis.usage import Usage
    from vqcnir_arch.analysis.views import find_pairs, read_views
    from vqcnir_arch.analysis.weight_maps import WeightMaps
    from vqcnir_arch.metrics.pyiqa_metric import built_metric

    if options.lpips:
        built_metric("lpips")  # whose weights may be missing: before all that takes time
    net, prior = load_probes(options)
    check_method(options.embedding)
    check_queries(net, options.query)
    if options.data is None and (net is not None or options.gt is None):
        expected = "the prior needs --data or --gt" if net is None else "a restoration network needs --data"
        raise UserError(f"no photos are given: {expected}, a folder of images")
    pairs, count = find_pairs(options.data, options.gt, options.max_images)
    out = make_folder(options.out or Path(f"codebook_{Path(options.checkpoint).stem}"))

    parts = [Usage(net, prior), WeightMaps(net, prior)]
    parts += [Choice(net, prior)] if net else []
    parts += [Reconstruction(), Features(prior)] if prior else []
    parts += [AttentionMaps(net, options.query), RegressionWeights(net, options.seed)] if net else []
    if options.embedding != "none":
        parts.append(Embedding(net, prior, len(pairs), options.embedding, options.seed))
    for view in read_views(pairs, net, prior, options.lpips):
        for part in parts:
            part.add(view)

    notes = missing(options, net, prior)
    report: dict[str, Any] = {**describe(options, net, prior), "images": len(pairs), "of": count, "notes": notes}
    lines = [f"# {Path(options.checkpoint).name}: {report['network']} on {len(pairs)} of {count} images"]
    for part in parts:
        report |= part.result()
        table = part.lines()
        lines += ["", f"## {part.title}", "", *table] if table else []
    lines += ["", *(f"Note: {note}" for note in notes)] if notes else []
    try:
        (out / "analysis.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
        (out / "analysis.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
        for part in parts:
            part.draw(out)
    except OSError as error:
        raise UserError(f"--out '{out}' cannot be written: {error.strerror}") from error
    files = ", ".join(sorted(path.name for path in out.iterdir()))
    return "\n".join([*lines, "", f"written to {out}: {files}"])


def load_probes(options: argparse.Namespace) -> tuple[Any, Any]:
    """Return the restoration network (None for a prior's checkpoint) and the prior (None if it is not given).

    Raises:
        UserError: a file is no checkpoint, or `--prior` is not the prior of this network.
    """
    from vqcnir_arch.analysis.probe import Probe, check_prior
    from vqcnir_arch.archs.loading import load_network

    def load(path: str, what: str) -> Probe:
        try:
            net = load_network(path, device=options.device)
        except (RuntimeError, AssertionError) as error:  # torch's, for a device that is not there
            raise UserError(f"--device '{options.device}': {str(error).splitlines()[0]}") from error
        net.padding = "exact"
        return Probe(net, f"{what} '{path}'")

    first = load(options.checkpoint, "checkpoint")
    if first.net.is_prior:
        if options.prior:
            raise UserError(f"checkpoint '{options.checkpoint}' is a prior itself: leave --prior out")
        return None, first
    if not options.prior:
        return first, None
    prior = load(options.prior, "prior")
    if not prior.net.is_prior:
        raise UserError(f"prior '{options.prior}' is a {type(prior.net).__name__}, expected a prior")
    check_prior(prior, first)
    return first, prior


def make_folder(out: Path) -> Path:
    """Return the folder for the results, made if it is missing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out '{out}' cannot be written: {error.strerror}") from error
    return out


def describe(options: argparse.Namespace, net: Any, prior: Any) -> dict[str, Any]:
    """Return what was analysed, and with which versions."""
    import torch

    probe = net or prior
    return {
        "checkpoint": options.checkpoint,
        "network": type(probe.net).__name__,
        "options": probe.net.options,
        "prior": options.prior,
        "data": str(options.data) if options.data else None,
        "gt": str(options.gt) if options.gt else None,
        "seed": options.seed,
        "padding": "exact",
        "versions": {"vqcnir": __version__, "torch": torch.__version__},
    }


def missing(options: argparse.Namespace, net: Any, prior: Any) -> list[str]:
    """Return what is left out, and why."""
    from vqcnir_arch.analysis.fusion_off import fusion_variants

    notes = []
    if options.gt is None:
        notes.append("without --gt: no scores, no codes of the clean image, no ground-truth codes")
    if net and prior is None:
        notes.append("without --prior: no ground-truth codes, no accuracy, no reconstruction by the prior")
    if net and not fusion_variants(net.net):
        notes.append(f"feature fusion off: not defined for {type(net.net).__name__}")
    if net is None and options.data is None:
        notes.append("without --data: the prior sees clean images alone")
    if options.embedding == "none":
        notes.append("--embedding none: no picture of features and codes")
    return notes
