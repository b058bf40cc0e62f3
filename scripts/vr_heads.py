"""Compare heads of VectorRegression: how well night images' features become the prior's features of the truth.

    vqcnir study --out study_out && python scripts/vr_heads.py study_out

Takes prior and pairs of a study. For each seed and head the study's VQCNIR (no fusion, as D plays no part) is trained
by the launcher with VR's loss ‖z - z^h‖² alone, then the held-out pairs give the relative error

    Σ‖z - z^h‖² / Σ‖z^h - mean‖²,  z from the night image, z^h the frozen prior's feature of the truth before its VQ,

which is 0 for the right features and 1 for their mean. The same is measured on the study's own runs, which were trained
with all losses. `quantisation` is the error of the codes that the prior itself chooses for the truth.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import yaml
from torch import Tensor

from vqcnir_arch import load_network
from vqcnir_arch.data import LOLBlurDataset
from vqcnir_arch.demo.stages import run_stage
from vqcnir_arch.study.runs import StudyRun

HEADS = ("quantizer_vr_mlp", "quantizer_vr_conv", "quantizer_vr_linear", "quantizer_vr_softmax")
SEEDS = (0, 1, 2)


def train_alone(study: Path, out: Path, run: StudyRun, iterations: int) -> Path:
    """Train one head with the feature loss alone; return its checkpoint. What is there is kept."""
    checkpoint = out / f"experiments/{run.name}/models/net_g_latest.pth"
    if not checkpoint.exists():
        options = run.options(study, iterations)
        options["network_g"]["fusion"] = {"type": "none"}
        options["train"]["pixel_opt"] = options["train"]["alignment_opt"] = None
        options["val"] = None
        file = out / f"{run.name}.yml"
        file.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
        run_stage("train", file, out, [f"name={run.name}"])
    return checkpoint


def relative_error(study: Path, features: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> float:
    """Compare what `features(lq, gt)` gives, features and their targets, over all held-out pairs."""
    pairs = LOLBlurDataset({"name": "held_out", "dataroot": str(study / "data"), "split": "test", "phase": "val"})
    with torch.no_grad():
        found = [features(pair["lq"][None], pair["gt"][None]) for pair in (pairs[i] for i in range(len(pairs)))]
    z, target = (torch.cat([each.flatten(2) for each in side], dim=2) for side in zip(*found, strict=True))
    return ((z - target).square().sum() / (target - target.mean(2, keepdim=True)).square().sum()).item()


def error_of(study: Path, checkpoint: Path, prior_file: Path) -> float:
    net, prior = load_network(checkpoint), load_network(prior_file)
    return relative_error(
        study, lambda lq, gt: (net(lq, return_codes=True)[1].output, prior(gt, decode=False)[1].features)
    )


def quantisation_error(study: Path, prior_file: Path) -> float:
    prior = load_network(prior_file)

    def codes(lq: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        found = prior(gt, decode=False)[1]
        return found.quantized, found.features

    return relative_error(study, codes)


def cell(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a finished study")
    parser.add_argument("--iterations", type=int, default=300)
    known = parser.parse_args()
    study = known.study.resolve()
    out = study / "vr_heads"
    out.mkdir(exist_ok=True)
    priors = {seed: study / f"experiments/prior_seed{seed}/models/net_g_latest.pth" for seed in SEEDS}
    lines = ["| head | parameters | feature loss alone | in the study |", "|---|---|---|---|"]
    for name in HEADS:
        alone, together = [], []
        for seed in SEEDS:
            run = StudyRun(name, seed)
            checkpoint = train_alone(study, out, run, known.iterations)
            alone.append(error_of(study, checkpoint, priors[seed]))
            together.append(error_of(study, study / f"experiments/{run.name}/models/net_g_latest.pth", priors[seed]))
        head = sum(p.numel() for p in load_network(checkpoint).quantizer.head.parameters())
        lines.append(f"| {name.removeprefix('quantizer_')} | {head:,} | {cell(alone)} | {cell(together)} |")
    lines.append(f"| quantisation | | {cell([quantisation_error(study, prior) for prior in priors.values()])} | |")
    print("\n".join([*lines, "", f"Mean [smallest, largest] over seeds {SEEDS}, {known.iterations} iterations."]))


if __name__ == "__main__":
    main()
