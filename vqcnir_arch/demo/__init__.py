"""`vqcnir demo`: both training stages and a test on real photographs, in minutes on a CPU, with nothing downloaded."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from vqcnir_arch.errors import UserError

STAGES = {"stage I: the VQ prior": "demo_prior", "stage II: VQCNIR": "demo_vqcnir"}
SHOWN_ROWS = 4


def main(arguments: Sequence[str]) -> None:
    """Run the demo; `--out` is a new or earlier demo folder, `--seed` changes pairs and training alike."""
    parser = argparse.ArgumentParser(prog="vqcnir demo")
    parser.add_argument("--out", default="demo_out", help="folder for everything the demo writes (default: demo_out)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the pairs and of both trainings (default: 0)")
    known = parser.parse_args(arguments)
    results = run_demo(Path(known.out).expanduser().resolve(), known.seed)
    print(results)


def run_demo(out: Path, seed: int) -> str:
    """Make the pairs, train, test, and write `comparison.png`, `losses.png`, `table.md` and `demo.json` into `out`.

    Returns:
        The table, with where the pictures are.
    """
    from vqcnir_arch.demo import figures, report, scenes
    from vqcnir_arch.demo.stages import option_folder, run_stage

    started = time.perf_counter()
    options = option_folder()
    claim_folder(out)
    scenes.write_pairs(out / "data", seed)
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

    rows = report.measure(data, out / "results/demo_test/visualization/held_out")
    summary = report.summarise(rows)
    summary["prior_psnr"], summary["codebook_usage"] = report.measure_prior(prior, data / "test/high_sharp_scaled")
    summary["niqe"] = mean(row["restored_niqe"] for row in rows)
    report.save_comparison(out / "comparison.png", rows, SHOWN_ROWS)
    figures.save_curves(out / "losses.png", {title: out / "tb_logger" / name for title, name in STAGES.items()})
    summary["seconds"] = time.perf_counter() - started
    summary["seed"] = seed
    (out / "demo.json").write_text(json.dumps({**summary, "images": report.plain(rows)}, indent=2), encoding="utf-8")
    table = report.table(rows, summary)
    (out / "table.md").write_text(table, encoding="utf-8")
    return f"\n{table}\nwritten to {out}: comparison.png, losses.png, table.md, demo.json"


def claim_folder(out: Path) -> None:
    """Make `out` an empty demo folder; an earlier demo's is emptied, anybody else's is left alone.

    Raises:
        UserError: `out` holds something that no demo wrote.
    """
    marker = out / ".vqcnir-demo"
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not marker.exists())):
        raise UserError(f"--out '{out}' exists and no demo wrote it: name a new folder")
    for name in ("data", "experiments", "results", "tb_logger"):
        shutil.rmtree(out / name, ignore_errors=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except OSError as error:
        raise UserError(f"--out '{out}' cannot be written: {error.strerror}") from error
