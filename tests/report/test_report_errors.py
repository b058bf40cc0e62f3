"""`vqcnir report` on bad input: every finding is one line that names the thing, and nothing is written."""

from __future__ import annotations

import os
import shutil
import sys

import cv2
import numpy as np
import pytest
from report_pages import make_results, result_arguments
from training_runs import make_images, options, train_here

from vqcnir_arch.cli import dispatch, main
from vqcnir_arch.errors import UserError
from vqcnir_arch.report import page as page_module


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("errors")
    make_images(root / "images")
    train_here(options(root, train__total_iter=1, train__gan_opt=None, network_d=None), root)
    make_results(root)
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(made, tmp_path / "root")
    return tmp_path / "root"


def refused(root, *arguments):
    """Run the command, which must refuse; return its lines. No file may have changed."""
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    with pytest.raises(UserError) as error:
        dispatch(["report", *map(str, arguments), "--out", str(root / "out/report.html")])
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    return str(error.value).splitlines()


def test_folders_that_are_no_experiments_are_named_one_line_each(root):
    lines = refused(root, root / "experiments", root / "experiments/rum", root / "experiments/run/run.yml")
    assert len(lines) == 3
    assert f"'{root / 'experiments'}' is no experiment" in lines[0]
    assert "below it there are: run" in lines[0]
    assert "did you mean 'run'?" in lines[1]
    assert "is a file, expected a folder" in lines[2]


def test_a_training_that_kept_no_scalar(root):
    (root / "experiments/run/metrics.jsonl").unlink()
    log = next((root / "experiments/run").glob("train_*.log"))
    log.write_text("".join(line for line in log.read_text().splitlines(True) if "iter:" not in line))
    (line,) = refused(root, root / "experiments/run")
    assert f"no event files in '{root / 'tb_logger/run'}'" in line
    (root / "tb_logger/run").mkdir(parents=True)
    (root / "tb_logger/run/events.out.tfevents.1.broken").write_bytes(b"no record of TensorBoard's, but some text")
    (line,) = refused(root, root / "experiments/run")
    assert f"the event files in '{root / 'tb_logger/run'}' hold no scalars" in line


def test_a_log_that_is_none(root):
    log = next((root / "experiments/run").glob("train_*.log"))
    log.write_bytes(bytes(range(256)))
    (line,) = refused(root, root / "experiments/run")
    assert "is no log of BasicSR" in line
    assert log.name in line


def test_a_broken_line_of_metrics(root):
    with open(root / "experiments/run/metrics.jsonl", "a") as file:
        file.write("no JSON\n")
    (line,) = refused(root, root / "experiments/run")
    assert line.endswith("metrics.jsonl', line 3: is no line of a run's metrics: no JSON")


def test_results_that_do_not_pair(root):
    (root / "brightened/brighter/0001/0031.png").unlink()
    (line,) = refused(root, *result_arguments(root))
    assert line.endswith("do not hold the same images: only 'bright' has 1 (0001/0031)")
    (root / "pairs/test/high_sharp_scaled/0000/0030.png").unlink()
    truths = root / "pairs/test/high_sharp_scaled"
    (line,) = refused(root, "--results", root / "brightened/bright", "--gt", truths)
    assert line == f"--gt '{truths}' lacks 1 (0000/0030) of 4 result images"


def test_a_broken_image(root):
    path = root / "brightened/bright/0001/0030.png"
    path.write_bytes(path.read_bytes()[:60])
    (line,) = refused(root, *result_arguments(root))
    assert str(path) in line
    assert "cannot be read" in line


@pytest.mark.parametrize("side", ["high_sharp_scaled", "low_blur_noise"])
def test_an_image_of_another_size(root, side):
    path = root / f"pairs/test/{side}/0001/0030.png"
    cv2.imwrite(str(path), np.zeros((10, 12, 3), np.uint8))
    (line,) = refused(root, *result_arguments(root))
    assert "12 x 10" in line
    assert str(path) in line


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,psnr\n0000/0030,3\n", "expected a column image and one for each metric, got name, psnr"),
        ("image,psnr\n0000/0030,high\n", "has a value that is no number: could not convert string to float: 'high'"),
        ("image,psnr\n0000/0099,3\n", "has 1 rows for 4 images: 1 (0000/0099) without a file"),
        ("image,psnr\n0000/0030,3\n", "has 1 rows for 4 images: expected one row each"),
        ("", "expected a column image and one for each metric, got none"),
    ],
)
def test_a_table_of_values_that_does_not_fit(root, table, message):
    path = root / "brightened/bright/per_image.csv"
    path.write_text(table)
    (line,) = refused(root, "--results", root / "brightened/bright")
    assert line == f"'{path}' {message}" or line == f"'{path}': {message}"


def test_which_of_several_evaluations(root):
    for protocol in ("lolblur", "bsr"):
        folder = root / f"brightened/bright_{protocol}"
        folder.mkdir()
        (folder / "images.csv").write_text("image,psnr\n")
    (line,) = refused(root, "--results", root / "brightened/bright")
    assert "name a --protocol of bsr, lolblur" in line
    (line,) = refused(root, "--results", root / "brightened/bright", "--protocol", "lolblurr")
    assert "did you mean 'lolblur'?" in line


def test_several_data_sets_in_a_test(root):
    for dataset in ("a", "b"):
        shutil.copytree(root / "brightened/bright", root / f"results/t/visualization/{dataset}")
    (line,) = refused(root, "--results", root / "results/t")
    assert "2 data sets, expected one: name one of a, b" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to report"),
        (["--gt", "x"], "nothing to report"),
        (["--crop", "0000/0030"], "expected NAME:x,y,width,height"),
        (["--crop", "0000/0030:0,0,0,9"], "expected NAME:x,y,width,height"),
        (["--crop", "0000/003:0,0,9,9"], "there is no image '0000/003' in the results (did you mean '0000/003"),
        (["--crop", "0000/0030:90,0,9,9"], "ends at 99,9, outside the image of 96 x 72"),
        (["--rank", "psrn"], "has no values of 'psrn' (did you mean 'psnr'?)"),
        (["--results", "bright=there"], "two folders are named 'bright'"),
    ],
)
def test_wrong_arguments(root, monkeypatch, arguments, message):
    (root / "there").symlink_to(root / "brightened/bright")
    monkeypatch.chdir(root)
    given = [] if message == "nothing to report" else result_arguments(root)
    (line,) = refused(root, *given, *arguments)
    assert message in line


def test_flags_about_results_without_results(root):
    (line,) = refused(root, root / "experiments/run", "--gt", root / "images")
    assert line == "--gt is about results: add --results NAME=DIR"


def test_the_out_path_is_a_folder_or_below_a_file(root):
    with pytest.raises(UserError, match="is a folder, expected a file"):
        dispatch(["report", str(root / "experiments/run"), "--out", str(root)])
    with pytest.raises(UserError, match=r"folder '.*run\.yml' cannot be made: "):
        dispatch(["report", str(root / "experiments/run"), "--out", str(root / "run.yml/report.html")])


def test_a_disk_that_fills_up_leaves_the_old_page(tmp_path, monkeypatch):
    old, crop = tmp_path / "report.html", tmp_path / "report_crop.png"
    old.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot be saved: No space left on device"):
        page_module.write_all({crop: b"png", old: b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert old.read_text() == "old"


def test_a_page_that_would_be_too_large(root, monkeypatch):
    monkeypatch.setattr(page_module, "LIMIT", 2**20)
    (line,) = refused(root, *result_arguments(root))
    assert "MiB, more than 1: take fewer --images or --crop" in line


def test_a_missing_library_is_named_with_the_way_to_get_it(root, monkeypatch):
    import vqcnir_arch.report

    monkeypatch.setattr(vqcnir_arch.report, "find_spec", lambda name: None if name == "plotly" else object())
    (line,) = refused(root, root / "experiments/run")
    assert line == "vqcnir report needs plotly: pip install 'vqcnir[report]'"


def test_the_command_ends_with_status_2_and_one_line(root, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vqcnir", "report", str(root / "experiments")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("vqcnir: error: ")
