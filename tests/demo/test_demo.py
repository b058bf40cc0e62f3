"""The demo: its parts, and the whole of it with a handful of iterations."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage.metrics import peak_signal_noise_ratio

from vqcnir_arch import UserError, packaged
from vqcnir_arch.cli import dispatch
from vqcnir_arch.demo import baselines, claim_folder, report, scenes, shipped, stages


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


@pytest.fixture
def ships(make_tiny, tmp_path, monkeypatch):
    """A tiny network in the place of the one that ships."""
    (tmp_path / "weights").mkdir()
    save_file(make_tiny("VQCNIR").state_dict(), tmp_path / "weights/vqcnir-s.safetensors")
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "weights")


@pytest.mark.parametrize("content", ["nothing", "text", "video", "result"])
def test_photos_without_a_photograph_are_one_line_before_anything(content, ships, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "run_stage", lambda *arguments: pytest.fail("a stage was run"))
    photos = tmp_path / "mine"
    photos.mkdir()
    if content == "text":
        (photos / "notes.txt").write_text("no photograph")
    elif content == "video":
        (photos / "film.mp4").write_bytes(b"frames")
    elif content == "result":
        cv2.imwrite(str(tmp_path / "night.png"), np.full((16, 16, 3), 9, np.uint8))
        dispatch(["restore", str(tmp_path / "night.png"), "-o", str(photos), "--quiet"])
    with pytest.raises(UserError, match=r"mine'? has no ") as caught:
        dispatch(["demo", "--out", str(tmp_path / "out"), "--photos", str(photos)])
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_photos_inside_the_demos_folder_are_not_emptied(ships, tmp_path):
    claim_folder(tmp_path / "out")
    kept = tmp_path / "out/photos/mine/night.png"
    kept.parent.mkdir(parents=True)
    cv2.imwrite(str(kept), np.full((16, 16, 3), 9, np.uint8))
    with pytest.raises(UserError, match="lies in the demo's own folder"):
        dispatch(["demo", "--out", str(tmp_path / "out"), "--photos", str(kept.parent)])
    assert kept.exists()


def test_missing_weights_are_one_line_before_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "none")
    with pytest.raises(UserError, match="the weights of 'vqcnir-s' are missing") as caught:
        dispatch(["demo", "--out", str(tmp_path / "out")])
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.fixture
def few_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "TRAIN_CROPS", 1)
    monkeypatch.setattr(scenes, "TEST_CROPS", 1)
    scenes.write_pairs(tmp_path / "data", 0)
    return tmp_path / "data"


def test_lpips_of_the_network_that_ships(few_pairs, lpips_files, use_hub):
    use_hub(lpips_files)
    truths = few_pairs / "test/high_sharp_scaled"
    assert shipped.measure_shipped(few_pairs, truths)["shipped_lpips"] == pytest.approx(0, abs=1e-6)
    scores = shipped.measure_shipped(few_pairs, few_pairs / "test/low_blur_noise")
    assert scores["shipped_lpips"] > 1e-3 and f"LPIPS {scores['shipped_lpips']:.3f}" in shipped.sentence(scores)


def test_lpips_without_weights_is_null_and_said(few_pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    scores = shipped.measure_shipped(few_pairs, few_pairs / "test/low_blur_noise")
    assert scores["shipped_lpips"] is None and 5 < scores["shipped_psnr"] < 20
    assert "alexnet-owt-7be5be79.pth" in shipped.sentence(scores) and "LPIPS not measured" in shipped.sentence(scores)


def test_whole_demo(ships, tmp_path, monkeypatch, capsys):
    short = tmp_path / "options"
    short.mkdir()
    photos = tmp_path / "mine"
    photos.mkdir()
    cv2.imwrite(str(photos / "night.jpg"), np.full((30, 40, 3), 9, np.uint8))
    (photos / "broken.png").write_bytes(b"no photograph")
    own_folder = stages.option_folder
    for file in own_folder().glob("*.yml"):
        text = re.sub(r"total_iter: \d+", "total_iter: 4", file.read_text())
        text = re.sub(r"periods: \[\d+\]", "periods: [4]", text)
        text = re.sub(r"restart_unused_codes: \d+", "restart_unused_codes: 2", text)
        (short / file.name).write_text(re.sub(r"print_freq: \d+", "print_freq: 1", text))
    monkeypatch.setattr(stages, "option_folder", lambda name="demo": short if name == "demo" else own_folder(name))
    monkeypatch.setattr(scenes, "TRAIN_CROPS", 2)
    monkeypatch.setattr(scenes, "TEST_CROPS", 1)
    out = tmp_path / "out"
    dispatch(["demo", "--out", str(out), "--seed", "3", "--photos", str(photos)])

    numbers = json.loads((out / "demo.json").read_text())
    methods = ("input", "restored", "gamma", "best_gamma", "flat")
    wanted = {f"{method}_{metric}" for method in methods for metric in ("psnr", "ssim")}
    wanted |= {"shipped_psnr", "shipped_ssim", "shipped_lpips"}
    assert wanted | {"prior_psnr", "codebook_usage", "seconds", "seed"} <= set(numbers)
    assert numbers["seed"] == 3 and numbers["seconds"] > 0 and 0 < numbers["codebook_usage"] <= 1
    assert numbers["best_gamma_psnr"] >= numbers["gamma_psnr"]
    # an independent look at the files: the scores are those of the images that lie there
    for method, folder in {"restored": "results/demo_test/visualization/held_out", "shipped": "shipped"}.items():
        scores = []
        for scene in scenes.TEST_SCENES:
            restored = cv2.imread(str(out / folder / scene / "0000.png"))
            truth = cv2.imread(str(out / f"data/test/high_sharp_scaled/{scene}/0000.png"))
            scores.append(peak_signal_noise_ratio(truth, restored))
        assert numbers[f"{method}_psnr"] == pytest.approx(np.mean(scores), abs=1e-6)
    assert cv2.imread(str(out / "photos/night.jpg")).shape == (30, 40, 3)
    assert not (out / "photos/broken.png").exists()
    for picture in ("comparison.png", "losses.png"):
        assert min(cv2.imread(str(out / picture)).shape[:2]) > 300
    printed, progress = capsys.readouterr()
    assert "| mean |" in printed and (out / "table.md").read_text() in printed
    assert "broken.png" in progress and "2/2" in progress.split("demo_test")[-1]  # the bar of the test counts
    restore, train = re.findall(r": vqcnir (restore .*|train .*)", printed)
    assert Path(restore.split()[-1]).is_file() and Path(train.split()[-1]).is_file()
    assert Path(restore.split()[-1]).is_relative_to(out)
    assert methods == report.METHODS
