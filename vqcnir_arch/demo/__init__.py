"""`vqcnir demo`: the network that ships, then both training stages on real photographs, in minutes on a CPU."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import NEEDS_BASICSR, has_basicsr

STAGES = {"stage I: the VQ prior": "demo_prior", "stage II: VQCNIR": "demo_vqcnir"}
SHOWN_ROWS = 4


def main(arguments: Sequence[str]) -> None:
    """Show what vqcnir-s restores, then train a small network from nothing and test it; nothing is downloaded."""
    parser = argparse.ArgumentParser(prog="vqcnir demo", description=main.__doc__)
    parser.add_argument("--out", default="demo_out", help="a new folder, or an earlier demo's (default: demo_out)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the pairs and of both trainings (default: 0)")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="your own photographs, restored into OUT/photos")
    known = parser.parse_args(arguments)
    results = run_demo(Path(known.out).expanduser().resolve(), known.seed, known.photos)
    print(results)


def run_demo(out: Path, seed: int, photos: Path | None = None) -> str:
    """Make the pairs, restore with the network that ships, train, test, and write what came out into `out`.

    That is `comparison.png`, `losses.png`, `table.md`, `demo.json` and the folders `shipped` and `photos`.

    Returns:
        The table, where the pictures are, and what can be done next.
    """
    from vqcnir_arch.demo import scenes, shipped
    from vqcnir_arch.demo.stages import option_folder
    from vqcnir_arch.packaged import DEFAULT, packaged_file

    started = time.perf_counter()
    options = option_folder()
    packaged_file(DEFAULT)
    if photos is not None:
        shipped.check_photos(photos, out)
    claim_folder(out)
    scenes.write_pairs(out / "data", seed)
    if photos is not None:
        shipped.restore_folder(photos, out / "photos")
    shipped.restore_folder(out / "data/test/low_blur_noise", out / "shipped")
    shipped_scores = shipped.measure_shipped(out / "data", out / "shipped")
    print(shipped.sentence(shipped_scores), flush=True)
    if not has_basicsr():
        return f"written to {out}: shipped/{', photos/' if photos is not None else ''}\nnot trained: {NEEDS_BASICSR}"
    return train_and_compare(out, options, seed, photos, shipped_scores, started)


def train_and_compare(
    out: Path, options: Path, seed: int, photos: Path | None, shipped_scores: dict[str, float | None], started: float
) -> str:
    """Train both stages on the pairs, test, and write what came out; as `run_demo`."""
    from vqcnir_arch.demo import figures, report, shipped
    from vqcnir_arch.demo.stages import run_stage

    prior = out / "experiments/demo_prior/models/net_g_latest.pth"
    restorer = out / "experiments/demo_vqcnir/models/net_g_latest.pth"
    data = out / "data"
    run_stage("train", options / "train_prior.yml", out, [
        f"manual_seed={seed}",
        f"datasets:train:dataroot={data}/train/high_sharp_scaled",
        f"datasets:val:dataroot={data}/test/high_sharp_scaled",
    ])  # fmt: skip
    run_stage("train", options / "train_vqcnir.yml", out, [
        f"manual_seed={seed}", f"datasets:train:dataroot={data}", f"network_g:prior={prior}",
    ])  # fmt: skip
    run_stage("test", options / "test_vqcnir.yml", out, [
        f"datasets:test:dataroot={data}", f"path:pretrain_network_g={restorer}",
    ])  # fmt: skip

    rows = report.measure(data, out / "results/demo_test/visualization/held_out", out / "shipped")
    summary: dict[str, float | None] = {**report.summarise(rows), **shipped_scores}
    summary["prior_psnr"], summary["codebook_usage"] = report.measure_prior(prior, data / "test/high_sharp_scaled")
    summary["niqe"] = mean(row["restored_niqe"] for row in rows)
    report.save_comparison(out / "comparison.png", rows, SHOWN_ROWS)
    figures.save_curves(out / "losses.png", {title: out / "experiments" / name for title, name in STAGES.items()})
    summary["seconds"] = time.perf_counter() - started
    summary["seed"] = seed
    (out / "demo.json").write_text(json.dumps({**summary, "images": report.plain(rows)}, indent=2), encoding="utf-8")
    table = report.table(rows, summary)
    (out / "table.md").write_text(table, encoding="utf-8")
    pictures = "comparison.png, losses.png, table.md, demo.json, shipped/" + (", photos/" if photos is not None else "")
    return f"\n{table}\n{shipped.sentence(shipped_scores)}\nwritten to {out}: {pictures}\n{next_steps(restorer)}"


def next_steps(checkpoint: Path) -> str:
    """Name the network trained here and the two commands that come next."""
    from vqcnir_arch.demo.stages import option_folder

    return (
        f"the network trained here: {checkpoint}\n"
        f"next, a photograph with it (without -w: with vqcnir-s): vqcnir restore night.jpg -w {checkpoint}\n"
        f"or vqcnir-s on your own pairs: vqcnir train -opt {option_folder('small') / 'finetune_vqcnir.yml'}"
    )


def claim_folder(out: Path) -> None:
    """Make `out` an empty demo folder; an earlier demo's is emptied, anybody else's is left alone.

    Raises:
        UserError: `out` holds something that no demo wrote.
    """
    marker = out / ".vqcnir-demo"
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not marker.exists())):
        raise UserError(f"--out '{out}' exists and no demo wrote it: name a new folder")
    for name in ("data", "experiments", "results", "tb_logger", "shipped", "photos"):
        shutil.rmtree(out / name, ignore_errors=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except OSError as error:
        raise UserError(f"--out '{out}' cannot be written: {error.strerror}") from error
