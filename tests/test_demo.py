"""The demo: its parts, and the whole of it with a handful of iterations."""

import json
import re

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch
from vqcnir_arch.demo import baselines, claim_folder, report, scenes, stages


def test_scenes_are_five_and_held_out_ones_are_not_trained_on():
    assert len({*scenes.TRAIN_SCENES, *scenes.TEST_SCENES}) == 5
    for name in (*scenes.TRAIN_SCENES, *scenes.TEST_SCENES):
        image = scenes.load_scene(name)
        assert image.dtype == np.uint8 and image.ndim == 3 and min(image.shape[:2]) >= scenes.CROP
    assert len(scenes.TEST_SCENES) * scenes.TEST_CROPS >= 6


def test_fitted_gamma_is_the_one_that_was_applied():
    truth = scenes.load_scene("coffee")[:64, :64]
    dark = [np.rint(255 * (truth / 255) ** power).astype(np.uint8) for power in (2.0, 2.5)]
    assert baselines.fit_gamma([dark[0]], [truth]) == pytest.approx(1 / 2.0, rel=0.03)
    assert baselines.fit_gamma([dark[1]], [truth]) == pytest.approx(1 / 2.5, rel=0.03)
    assert 1 / 2.5 < baselines.fit_gamma(dark, [truth, truth]) < 1 / 2.0


def test_flat_image_has_the_mean_colour_and_the_psnr_of_the_variance():
    truth = scenes.load_scene("chelsea")[:96, :96]
    flat = baselines.flat(truth)
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1
    assert np.abs(flat[0, 0] - truth.mean(axis=(0, 1))).max() <= 0.5
    psnr, _ = baselines.score(flat, truth)
    assert psnr == pytest.approx(peak_signal_noise_ratio(truth, flat), abs=1e-6)


def test_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/data").mkdir()
    (tmp_path / "mine/data/thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="no demo wrote it"):
        claim_folder(tmp_path / "mine")
    assert (tmp_path / "mine/data/thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="name a new folder"):
        claim_folder(tmp_path / "file")
    claim_folder(tmp_path / "new/folder")
    (tmp_path / "new/folder/data").mkdir()
    claim_folder(tmp_path / "new/folder")  # an earlier demo's: emptied
    assert not (tmp_path / "new/folder/data").exists()


def test_failing_stage_is_one_line(tmp_path):
    options = tmp_path / "train_prior.yml"
    options.write_text("name: broken\ntrain: {total_iter: 4}\n")
    with pytest.raises(UserError, match=r"train train_prior.yml failed \(exit status 2\)") as caught:
        stages.run_stage("train", options, tmp_path, [])
    assert "\n" not in str(caught.value)


def test_whole_demo(tmp_path, monkeypatch, capsys):
    short = tmp_path / "options"
    short.mkdir()
    for file in stages.option_folder().glob("*.yml"):
        text = re.sub(r"total_iter: \d+", "total_iter: 4", file.read_text())
        text = re.sub(r"periods: \[\d+\]", "periods: [4]", text)
        text = re.sub(r"restart_unused_codes: \d+", "restart_unused_codes: 2", text)
        (short / file.name).write_text(re.sub(r"print_freq: \d+", "print_freq: 1", text))
    monkeypatch.setattr(stages, "option_folder", lambda: short)
    monkeypatch.setattr(scenes, "TRAIN_CROPS", 2)
    monkeypatch.setattr(scenes, "TEST_CROPS", 1)
    out = tmp_path / "out"
    dispatch(["demo", "--out", str(out), "--seed", "3"])

    numbers = json.loads((out / "demo.json").read_text())
    methods = ("input", "restored", "gamma", "best_gamma", "flat")
    wanted = {f"{method}_{metric}" for method in methods for metric in ("psnr", "ssim")}
    assert wanted | {"prior_psnr", "codebook_usage", "seconds", "seed"} <= set(numbers)
    assert numbers["seed"] == 3 and numbers["seconds"] > 0 and 0 < numbers["codebook_usage"] <= 1
    assert numbers["best_gamma_psnr"] >= numbers["gamma_psnr"]
    # an independent look at the files: the scores are those of the images that lie there
    scores = []
    for scene in scenes.TEST_SCENES:
        restored = cv2.imread(str(out / f"results/demo_test/visualization/held_out/{scene}/0000.png"))
        truth = cv2.imread(str(out / f"data/test/high_sharp_scaled/{scene}/0000.png"))
        scores.append(peak_signal_noise_ratio(truth, restored))
    assert numbers["restored_psnr"] == pytest.approx(np.mean(scores), abs=1e-6)
    for picture in ("comparison.png", "losses.png"):
        assert min(cv2.imread(str(out / picture)).shape[:2]) > 300
    printed = capsys.readouterr().out
    assert "| mean |" in printed and (out / "table.md").read_text() in printed
    assert methods == report.METHODS
