"""`vqcnir evaluate` as a user runs it: files, restarts, and everything that must be said."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import numpy as np
import pytest

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch
from vqcnir_arch.evaluation import evaluate
from vqcnir_arch.evaluation.statistics import mean_with_interval


def run(tree, *arguments, protocol="lolblur", gt=True):
    truths = ["--gt", str(tree.gt)] if gt else []
    dispatch(["evaluate", str(tree.results), *truths, "--protocol", protocol, *arguments])


def refused(tree, *arguments, **options):
    with pytest.raises(UserError) as caught:
        run(tree, *arguments, **options)
    return str(caught.value)


def read(tree, protocol="lolblur"):
    out = tree.root / f"results_{protocol}"
    with (out / "images.csv").open(newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    return rows, json.loads((out / "summary.json").read_text()), (out / "table.md").read_text()


@pytest.fixture(autouse=True)
def no_weights(use_hub, tmp_path_factory):
    use_hub(tmp_path_factory.mktemp("empty_hub"))


def test_files(tree, capsys):
    run(tree)
    out = capsys.readouterr().out
    rows, summary, table = read(tree)
    assert list(rows) == ["0000/0030", "0000/0031", "0001/0030", "0001/0031"]
    psnr = [float(row["psnr"]) for row in rows.values()]
    assert psnr == sorted(psnr, reverse=True)  # the later the frame, the noisier: each is its own file
    assert summary["columns"]["psnr"]["mean"] == pytest.approx(np.mean(psnr))
    assert summary["videos"]["psnr"] == pytest.approx({"0000": np.mean(psnr[:2]), "0001": np.mean(psnr[2:])})
    assert summary["columns"]["psnr"]["low"] == pytest.approx(np.mean(psnr[2:]))  # two videos: one drawn twice
    assert summary["interval"]["resampled"] == "videos"
    for text in (
        "PSNR ↑: basicsr calculate_psnr",
        "torch 2",
        "pyiqa 0",
        "basicsr 1.4.2",
        "crop border 0",
        str(tree.gt),
    ):
        assert text in out and text in table
    assert "| VQCNIR | VQCNIR, table 1 | 27.79 ≠[1][2][3] |" in table
    assert "- [1] LOL-Blur has 1,800 images, this is 4" in table
    assert "- [2] input, low_blur_noise or low_blur: not said of these results (--pair)" in table
    assert "- pair of folders: not said (--pair) -> not said (--pair)" in table
    paper = next(entry for entry in summary["papers"] if entry["method"] == "VQCNIR")
    assert paper["values"]["psnr"]["comparable"] == "no"


def test_pair_of_folders(tree):
    """The ground truths' folder by their path, the inputs' by the user."""
    tree.gt = tree.gt.rename(tree.root / "high_sharp_scaled")
    run(tree)
    assert "- pair of folders: not said (--pair) -> high_sharp_scaled" in read(tree)[2]
    run(tree, "--pair", "low_blur", "high_sharp_scaled")
    _, summary, table = read(tree)
    assert summary["pair_of_folders"] == "low_blur -> high_sharp_scaled"
    assert "input, theirs: low_blur_noise; ours: low_blur" in table and "not said of these results" not in table
    assert "protocol bsr have one pair" in refused(tree, "--pair", "low_blur", "high_sharp_scaled", protocol="bsr")


def test_missing_weights_are_said_and_leave_the_rest(tree, capsys):
    run(tree)
    _, err = capsys.readouterr()
    rows, summary, table = read(tree)
    for name in ("lpips", "lpips_vgg"):
        assert f"SKIPPED column {name}: metric" in err
        assert name in summary["skipped"] and name not in summary["columns"]
        assert f"column {name} SKIPPED" in table
    assert "alexnet-owt-7be5be79.pth" in summary["skipped"]["lpips"]
    assert "lpips" not in rows["0000/0030"]


def test_nothing_can_be_measured(tree):
    for name in tree.images:
        cv2.imwrite(f"{tree.results}/{name}.png", np.full((200, 200, 3), 7, np.uint8))
    message = refused(tree, protocol="real-lolblur", gt=False)
    assert "nothing was measured: musiq: metric 'musiq' needs" in message
    assert "nothing was measured: niqe: no image has a value" in message


def test_a_restart_measures_what_is_missing(tree, capsys, monkeypatch):
    import basicsr.metrics

    calls = []
    original = basicsr.metrics.calculate_psnr
    monkeypatch.setattr(basicsr.metrics, "calculate_psnr", lambda **kw: calls.append(1) or original(**kw))
    run(tree)
    first = read(tree)[0]
    journal = tree.root / "results_lolblur/journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    assert (len(calls), len(lines)) == (8, 24)  # PSNR plain and with GT-mean

    journal.write_text("".join(lines[:12]) + lines[12][:20])  # killed in the middle of a line
    capsys.readouterr()
    run(tree)
    assert len(calls) == 12
    assert "2 of 4 images are in the journal" in capsys.readouterr().out
    assert read(tree)[0] == first
    run(tree)
    assert len(calls) == 12

    changed = tree.results / "0001/0030.png"
    cv2.imwrite(str(changed), tree.truths["0001/0030"] // 2)
    run(tree)
    assert len(calls) == 14
    assert "6 values in the journal are of other files or settings: measured again" in capsys.readouterr().out
    assert float(read(tree)[0]["0001/0030"]["psnr"]) < float(first["0001/0030"]["psnr"]) - 5


def test_other_settings_are_measured_anew(tree, capsys):
    run(tree)
    journal = tree.root / "results_lolblur/journal.jsonl"
    journal.write_text(journal.read_text().replace("basicsr 1.4.2", "basicsr 1.4.1"))
    capsys.readouterr()
    run(tree)
    assert "24 values in the journal are of other files or settings" in capsys.readouterr().out


def test_damaged_journal(tree):
    run(tree)
    journal = tree.root / "results_lolblur/journal.jsonl"
    journal.write_text("nonsense\n" + journal.read_text())
    assert "line 1 is damaged" in refused(tree)


# images that have no value, and images that cannot be measured


def test_identical_constant_and_small_images(tree, capsys):
    shutil.copy(tree.gt / "0000/0030.png", tree.results / "0000/0030.png")
    cv2.imwrite(str(tree.results / "0000/0031.png"), np.full((104, 200, 3), 90, np.uint8))
    for folder in (tree.results, tree.gt):
        cv2.imwrite(f"{folder}/0001/0030.png", tree.images["0001/0030"][:64, :64])
    run(tree)
    _, err = capsys.readouterr()
    rows, summary, table = read(tree)
    assert rows["0000/0030"]["psnr"] == "" and "psnr: infinite" in rows["0000/0030"]["notes"]
    assert "niqe" in rows["0000/0031"]["notes"] and "image of 200 x 104, constant" in rows["0000/0031"]["notes"]
    assert "image of 64 x 64" in rows["0001/0030"]["notes"]
    assert summary["columns"]["psnr"]["n"] == 2 and summary["columns"]["niqe"]["n"] == 2
    assert summary["columns"]["ssim"]["n"] == 4
    assert "psnr of 0000/0030 not in the mean: infinite" in err and "psnr of 0000/0030 not in the mean" in table


def test_broken_and_wrongly_sized_images(tree, capsys):
    broken = tree.results / "0000/0031.png"
    broken.write_bytes(broken.read_bytes()[:80])
    cv2.imwrite(str(tree.results / "0001/0030.png"), tree.images["0001/0030"][:, :-8])
    with pytest.raises(SystemExit) as caught:
        run(tree)
    assert caught.value.code == 1
    rows, summary, _ = read(tree)
    assert set(summary["failed"]) == {"0000/0031", "0001/0030"}
    assert f"image '{broken}' cannot be read" in rows["0000/0031"]["notes"]
    assert "is 192 x 104" in summary["failed"]["0001/0030"] and "is 200 x 104" in summary["failed"]["0001/0030"]
    assert summary["columns"]["psnr"]["n"] == 2
    assert "image 0000/0031 FAILED" in capsys.readouterr().err


# folders


def test_flat_names_that_carry_the_video(tree):
    run(tree)
    nested = read(tree)[0]
    for name in tree.images:
        (tree.results / f"{name}.png").rename(tree.results / f"{name.replace('/', '_')}.png")
    run(tree)
    assert {name: row["psnr"] for name, row in read(tree)[0].items()} == {n: r["psnr"] for n, r in nested.items()}


def test_flat_names_that_may_be_two_frames(tree):
    for frame in ("0030", "0031"):
        (tree.results / f"0000/{frame}.png").rename(tree.results / f"{frame}.png")
        (tree.results / f"0001/{frame}.png").unlink()
    assert "the flat result '0030' may be any of 0000/0030 and 0001/0030" in refused(tree)


def test_unpaired_folders(tree):
    (tree.gt / "0001/0031.png").unlink()
    message = refused(tree)
    assert "4 results and 3 ground truths do not pair: 1 without ground truth (0001/0031)" in message


def test_suffix(tree):
    for name in tree.images:
        (tree.results / f"{name}.png").rename(tree.results / f"{name}_ours.png")
    assert "do not pair" in refused(tree)
    run(tree, "--suffix", "_ours")
    assert next(iter(read(tree)[0])) == "0000/0030"
    assert "does not end in the suffix '_other'" in refused(tree, "--suffix", "_other")


def test_refusals(tree, tmp_path):
    assert "there is no protocol 'lolblurr' (did you mean 'lolblur'?)" in refused(tree, protocol="lolblurr")
    assert "--gt is missing" in refused(tree, gt=False)
    assert "leave --gt out" in refused(tree, protocol="real-lolblur")
    assert "leave --reference out" in refused(tree, "--reference", str(tree.gt))
    assert "are the same folder" in refused(tree, "--gt", str(tree.results), gt=False)
    assert "has no test set" in refused(tree, "--set", "DIV2K valid x2")
    assert "did you mean 'results'" in refused(tree, "--gt", str(tmp_path / "result"), gt=False)
    message = refused(tree, protocol="darkir")
    assert "has no .npy files: 8-bit images cannot give its numbers" in message


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((104, 200), np.float32), "expected floats [height, width, 3]"),
        (np.zeros((104, 200, 3), np.uint8), "is uint8"),
        (np.full((104, 200, 3), 200, np.float32), "values up to 200, expected the nominal range [0, 1]"),
        (np.full((104, 200, 3), np.nan, np.float32), "not finite"),
    ],
)
def test_float_files_that_are_none(tree, array, reason):
    for name in tree.images:
        np.save(f"{tree.results}/{name}.npy", array)
    assert reason in refused(tree, protocol="darkir")


def test_faces_without_ground_truth(tree):
    run(tree, protocol="face", gt=False)
    _, summary, _ = read(tree, "face")
    assert set(summary["columns"]) == {"niqe"}
    assert "--gt is not given" in summary["skipped"]["psnr"]
    assert "--reference is not given" in summary["skipped"]["fid"]


# statistics


def test_interval_resamples_videos():
    """Frames of a video are alike: taking them for independent gives far too small an interval."""
    rng = np.random.default_rng(0)
    level = rng.normal(27, 2, 30)
    values = np.repeat(level, 60) + rng.normal(0, 0.1, 1800)
    videos = [f"{i:04d}" for i in range(30) for _ in range(60)]
    by_video, by_image = mean_with_interval(values, videos), mean_with_interval(values, [""] * 1800)
    assert by_video.mean == by_image.mean == pytest.approx(values.mean())
    error = level.std(ddof=1) / np.sqrt(30)
    assert by_video.high - by_video.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert by_image.high - by_image.low < (by_video.high - by_video.low) / 5
    assert mean_with_interval([1.0, 2.0], ["a", "a"]).low is None


def test_evaluate_from_python(tree):
    evaluation = evaluate(tree.results, "lolblur", {name: tree.gt / f"{name}.png" for name in tree.images})
    assert evaluation.about["ground truth"] == "4 files of the data set"
    assert evaluation.means["psnr"].n == 4
