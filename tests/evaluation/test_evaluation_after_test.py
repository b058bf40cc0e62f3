"""`vqcnir test --protocol`: the run as ever, then the evaluation of what it wrote."""

from __future__ import annotations

import copy
import json

import cv2
import numpy as np
import pytest
import torch
import yaml
from conftest import TINY_OPTIONS, write_night_pairs

from vqcnir_arch import UserError
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.cli import dispatch

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")

FRAMES = ["0000/0030", "0000/0031", "0001/0030", "0001/0031"]


@pytest.fixture
def place(tmp_path, monkeypatch, use_hub):
    """The current folder with night pairs, a checkpoint and an option file; no metric weights."""
    monkeypatch.chdir(tmp_path)
    use_hub(tmp_path / "hub")
    write_night_pairs(tmp_path / "night", "test")
    network = {"type": "VQCNIR", **copy.deepcopy(TINY_OPTIONS["VQCNIR"])}
    torch.save({"params": VQCNIR(**copy.deepcopy(TINY_OPTIONS["VQCNIR"])).state_dict()}, "vqcnir.pth")
    dataset = {"name": "dark", "type": "LOLBlurDataset", "dataroot": "night", "split": "test"}
    options = {
        "name": "tiny", "model_type": "VQRestorationModel", "scale": 1, "num_gpu": 0, "manual_seed": 0,
        "datasets": {"test": dataset}, "network_g": network, "path": {"pretrain_network_g": "vqcnir.pth"},
        "val": {"save_img": False, "suffix": None, "metrics": None},
    }  # fmt: skip
    (tmp_path / "options.yml").write_text(yaml.safe_dump(options))
    return tmp_path


def run(*arguments):
    dispatch(["test", "-opt", "options.yml", *arguments])


def summary(place, protocol):
    return json.loads((place / f"results/tiny/visualization/dark_{protocol}/summary.json").read_text())


def test_darkir_measures_the_networks_floats(place):
    run("--protocol", "darkir", "--force_yml", "val:suffix=ours")
    results = place / "results/tiny/visualization/dark"
    psnr = []
    for frame in FRAMES:
        output = np.load(results / f"{frame}_ours.npy")
        assert output.dtype == np.float32 and output.shape == (48, 64, 3)
        png = cv2.imread(str(results / f"{frame}_ours.png"))[..., ::-1]
        assert np.abs(output.clip(0, 1) * 255 - png).max() <= 0.5 + 1e-3
        truth = cv2.imread(f"night/test/high_sharp_scaled/{frame}.png")[..., ::-1] / 255
        psnr.append(10 * np.log10(1 / ((output - truth) ** 2).mean()))
    measured = summary(place, "darkir")
    assert measured["columns"]["psnr"]["mean"] == pytest.approx(np.mean(psnr), abs=1e-4)
    assert set(measured["skipped"]) == {"lpips_vgg_01"}


def test_only_the_frames_of_the_data_set(place):
    options = yaml.safe_load((place / "options.yml").read_text())
    options["datasets"]["test"]["every_nth"] = 3
    (place / "options.yml").write_text(yaml.safe_dump(options))
    run("--protocol", "lolblur")
    measured = summary(place, "lolblur")
    assert measured["images"] == 2 and set(measured["videos"]["psnr"]) == {"0000", "0001"}
    assert not list((place / "results").rglob("*.npy"))


def test_refused_before_the_run(place):
    with pytest.raises(UserError, match=r"there is no protocol 'lednett' \(did you mean 'lednet'"):
        run("--protocol", "lednett")
    options = yaml.safe_load((place / "options.yml").read_text())
    options["datasets"]["test"]["gt_folder"] = None
    (place / "options.yml").write_text(yaml.safe_dump(options))
    with pytest.raises(UserError, match="compares with ground truths, data set 'dark' has none"):
        run("--protocol", "lolblur")
    options["model_type"] = "SRModel"
    (place / "options.yml").write_text(yaml.safe_dump(options))
    with pytest.raises(UserError, match="needs float outputs, which SRModel does not write"):
        run("--protocol", "darkir")
    assert not (place / "results").exists()


def test_lmdb_is_refused_before_the_run(place):
    """The evaluation reads files."""
    dispatch(["data", "lmdb", "night/test", "--folders", "low_blur_noise", "high_sharp_scaled"])
    options = yaml.safe_load((place / "options.yml").read_text())
    options["datasets"]["test"]["io_backend"] = {"type": "lmdb"}
    (place / "options.yml").write_text(yaml.safe_dump(options))
    with pytest.raises(UserError, match=r"'dark' reads '.*high_sharp_scaled\.lmdb'.* needs a folder of images"):
        run("--protocol", "lolblur")
    assert not (place / "results").exists()


def test_set_by_the_option_file(place, capsys):
    """The table holds the rows of that set and of no other; a data set that is none is said to be none."""
    options = yaml.safe_load((place / "options.yml").read_text())
    run("--protocol", "face", "--reference", "night/test/high_sharp_scaled")
    err = capsys.readouterr().err
    assert "note: by name, folders and scale, data set 'dark' is no test set of protocol face" in err
    measured = summary(place, "face")
    assert measured["test_set"] is None and {row["set"] for row in measured["papers"]} == {
        "CelebA-Test", "CelebChild-Test",
    }  # fmt: skip
    assert measured["reference_set"] == "night/test/high_sharp_scaled" and "fid" in measured["skipped"]

    options["datasets"]["test"]["name"] = "celeba_test"
    (place / "options.yml").write_text(yaml.safe_dump(options))
    run("--protocol", "face")
    assert "is no test set" not in capsys.readouterr().err
    found = place / "results/tiny/visualization/celeba_test_face"
    measured = json.loads((found / "summary.json").read_text())
    assert measured["test_set"] == "CelebA-Test" and measured["reference_set"] == "none"
    table = (found / "table.md").read_text()
    assert {row["set"] for row in measured["papers"]} == {"CelebA-Test"} and "(--set)" not in table
    assert "- test set: CelebA-Test" in table and "FeMaSR" not in table

    run("--protocol", "face", "--set", "CelebChild-Test")
    measured = json.loads((found / "summary.json").read_text())
    assert {row["set"] for row in measured["papers"]} == {"CelebChild-Test"} and len(measured["papers"]) == 6

    run("--protocol", "face", "--row", "SinCA 4: DAEFR + SinCA")  # tables 2 and 3 have it as well
    measured = json.loads((found / "summary.json").read_text())
    assert [(row["source"], row["method"]) for row in measured["papers"]] == [("SinCA, table 4", "DAEFR + SinCA")]


def test_pair_by_the_option_file(place):
    run("--protocol", "lolblur")
    assert summary(place, "lolblur")["pair_of_folders"] == "low_blur_noise -> high_sharp_scaled"
    table = (place / "results/tiny/visualization/dark_lolblur/table.md").read_text()
    assert "not said of these results" not in table and "input, theirs: low_blur; ours: low_blur_noise" in table


def test_set_and_reference_refused_before_the_run(place):
    for arguments, expected in {
        ("--protocol", "face", "--set", "CelebA"): r"no test set 'CelebA' \(did you mean 'CelebA-Test'",
        ("--protocol", "face", "--set", "CelebA-Test", "CelebChild-Test"): "has 1 data sets: dark",
        ("--protocol", "face", "--reference", "nigt"): r"reference set 'nigt' does not exist \(did you mean 'night'",
        ("--protocol", "lolblur", "--reference", "night"): "leave --reference out",
        ("--set", "CelebA-Test"): "--set, --reference and --row are for an evaluation: name its --protocol",
        ("--protocol", "face", "--row", "FeMaSR + SinCA"): "no paper prints a row 'FeMaSR \\+ SinCA' for the test sets",
        (
            "--protocol",
            "face",
            "--set",
            "CelebChild-Test",
            "--row",
            "DAEFR + SA",
        ): r"for CelebChild-Test \(did you mean 'D",
    }.items():
        with pytest.raises(UserError, match=expected):
            run(*arguments)
    assert not (place / "results").exists()
