"""The study: its variants against the paper-size option files, its numbers, and the whole of it as a user runs it."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from skimage.metrics import peak_signal_noise_ratio
from training_runs import ENVIRONMENT, stop, wait_until

from vqcnir_arch import UserError, load_network
from vqcnir_arch.cli import dispatch
from vqcnir_arch.demo import scenes
from vqcnir_arch.options import check_options, read_options
from vqcnir_arch.registry import QUANTIZER_REGISTRY, with_defaults
from vqcnir_arch.study import MARKER, VARIANTS, claimed, cost, report, runs
from vqcnir_arch.study.rows import BASE
from vqcnir_arch.study.runs import StudyRun

OPTIONS = Path(__file__).parents[2] / "options"
SIZES = ("depth", "num_heads", "heads", "window", "offset_groups", "splits", "curve_order", "expansion", "mlp_ratio")
BLOCKS = ("quantizer", "enhancer", "fusion")
LOSSES = ("matching_opt", "token_opt", "alignment_opt")


def comparable(options):
    """What a variant is, without its size."""
    network = options["network_g"]
    blocks = {**network, "quantizer": with_defaults(QUANTIZER_REGISTRY, network["quantizer"])}
    found = {block: {k: v for k, v in blocks[block].items() if k not in SIZES} for block in BLOCKS}
    return {**found, "upsample": network.get("upsample"), **{loss: options["train"].get(loss) for loss in LOSSES}}


ABLATIONS = [
    path
    for path in sorted(OPTIONS.glob("vqcnir/ablations/*.yml"))
    if path.stem not in ("printed_upsample_d_and_g", "quantizer_vr_feature_alone")  # another prior; after the study
]


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_every_ablation_is_in_the_study(path):
    options = read_options(path)
    name = path.stem
    if name == "quantizer_vr":
        name += "_mlp"  # the default head; the study has all three
    assert comparable(StudyRun(name, 0).options(Path("out"), 10)) == comparable(options)


def test_variants_differ_in_their_row_alone():
    base = StudyRun(BASE, 1).options(Path("out"), 10)
    assert base["manual_seed"] == 1 and base["train"]["total_iter"] == 10
    for name, variant in VARIANTS.items():
        options = StudyRun(name, 1).options(Path("out"), 10)
        check_options(options, is_train=variant.trains)
        assert options["val"]["metrics"] == base["val"]["metrics"]
        if not variant.trains:
            continue
        assert options["network_g"]["prior"] == "out/experiments/prior_seed1/models/net_g_latest.pth"
        changed = {key for key in options["network_g"] if options["network_g"][key] != base["network_g"].get(key)}
        assert changed == set(variant.network)
        for loss in variant.losses.get("vqcnir", ()):
            del options["train"][loss]
        for key in ("datasets", "train", "val", "logger", "path"):
            assert options[key] == base[key]
    assert len({json.dumps(v.network, sort_keys=True) for v in VARIANTS.values() if v.trains}) == len(VARIANTS) - 1


def test_paired_differences_against_scipy():
    values, base = [15.2, 16.1, 15.9], [15.0, 15.2, 15.5]
    found = report.paired(values, base)
    low, high = ttest_rel(values, base).confidence_interval(0.95)
    assert found["mean"] == pytest.approx((low + high) / 2)
    assert found["interval"] == pytest.approx((high - low) / 2)
    assert (found["min"], found["max"]) == pytest.approx((0.2, 0.9))
    assert report.verdict(found) == " *"
    assert report.verdict(report.paired([1.0, 2.01, 3.0], [0.0, 1.0, 2.01])) == " **"
    assert report.verdict(report.paired([1.0, 2.0], [2.0, 1.0])) == ""
    assert report.verdict(report.paired([1.0], [0.0])) == ""  # one seed says nothing of the spread


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "fusion_ad"], "no variant 'fusion_ad' .did you mean 'fusion_add'"),
        (["--seeds", "1", "1"], "--seeds 1 1: expected different numbers"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        dispatch(["study", "--out", str(tmp_path / "out"), *arguments])
    assert not (tmp_path / "out").exists()


def test_folder_in_use_or_of_somebody_else(tmp_path):
    with claimed(tmp_path / "out"), pytest.raises(UserError, match="another study is at work there"):
        dispatch(["study", "--out", str(tmp_path / "out")])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="no study wrote it"):
        dispatch(["study", "--out", str(tmp_path / "mine")])


def test_failed_run_is_named(tmp_path):
    with claimed(tmp_path) as lock:
        (tmp_path / "data/train/high_sharp_scaled").mkdir(parents=True)
        runs.write_options(tmp_path, [StudyRun(None, 0)], 4)
        with pytest.raises(UserError, match=r"run prior_seed0 failed \(exit status 2\), see .*has no images"):
            runs.run_all(tmp_path, [StudyRun(None, 0)], 1, lock, "stage I")
    assert not (tmp_path / "runs/prior_seed0.json").exists()
    with pytest.raises(UserError, match="is from a study with other options"):
        runs.write_options(tmp_path, [StudyRun(None, 0)], 5)


def test_whole_study_interrupted_and_gone_on_with(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setattr(scenes, "CROP", 64)
    monkeypatch.setattr(scenes, "TRAIN_CROPS", 2)
    monkeypatch.setattr(scenes, "TEST_CROPS", 1)
    monkeypatch.setattr(cost, "ROUNDS", 2)
    scenes.write_pairs(out / "data", 0)
    (out / "data/.whole").touch()
    (out / MARKER).touch()
    arguments = ["study", "--out", str(out), "--only", "fusion_add", "--seeds", "5", "--iterations", "12"]
    code = "from vqcnir_arch.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--jobs", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    states = out / "experiments/vqcnir_seed5/training_states"
    try:
        wait_until(lambda: any(states.glob("*.state")) or process.poll() is not None, 400)
        assert process.poll() is None, process.stderr.read()
    finally:
        status, _ = stop(process)
    assert status == 143
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["prior_seed5.json"]
    prior_time = os.stat(out / "runs/prior_seed5.json").st_mtime_ns

    before = signal.getsignal(signal.SIGTERM)
    dispatch(arguments)
    assert signal.getsignal(signal.SIGTERM) is before
    assert "Resuming training from epoch" in (out / "logs/vqcnir_seed5.log").read_text()
    assert os.stat(out / "runs/prior_seed5.json").st_mtime_ns == prior_time
    study = json.loads((out / "study.json").read_text())
    assert [row["name"] for row in study["rows"]] == ["vqcnir", "fusion_add"]
    assert study["seeds"] == [5] and study["iterations"] == 12
    for row in study["rows"]:
        # an independent look: the checkpoint that lies there gives the score on the pairs that lie there
        net = load_network(out / f"experiments/{row['name']}_seed5/models/net_g_latest.pth")
        scores = []
        for scene in scenes.TEST_SCENES:
            lq, gt = (
                cv2.imread(str(out / f"data/test/{kind}/{scene}/0000.png"))[..., ::-1].copy()
                for kind in ("low_blur_noise", "high_sharp_scaled")
            )
            with torch.no_grad():
                restored = net(torch.from_numpy(lq).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0).clamp(0, 1)
            scores.append(peak_signal_noise_ratio(gt, (restored * 255).round().byte().numpy()))
        assert row["psnr"]["mean"] == pytest.approx(np.mean(scores), abs=0.01)
        assert row["parameters"] == sum(p.numel() for p in net.parameters())
        assert row["step_seconds"] > 0 and row["memory_mb"] > 10
    add = study["rows"][1]
    assert add["psnr"]["difference"]["mean"] == add["psnr"]["mean"] - study["rows"][0]["psnr"]["mean"]
    lines = list(csv.DictReader((out / "table.csv").open()))
    assert [float(line["psnr_5"]) for line in lines] == [row["psnr"]["mean"] for row in study["rows"]]
    assert min(cv2.imread(str(out / "study.png")).shape[:2]) > 150
    assert (out / "table.md").read_text() in capsys.readouterr().out

    monkeypatch.setattr(runs, "start", None)
    monkeypatch.setattr(cost, "measure", None)
    dispatch(arguments)  # everything is there: nothing is trained or measured again
    assert os.stat(out / "runs/prior_seed5.json").st_mtime_ns == prior_time
