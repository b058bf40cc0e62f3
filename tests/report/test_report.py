"""`vqcnir report`: the page's values are those of the runs' files, and everything that it needs is inside."""

from __future__ import annotations

import base64
import csv
import re
import shutil

import cv2
import numpy as np
import pytest
from report_pages import NAMES, make_results, make_runs, report, result_arguments
from skimage.metrics import peak_signal_noise_ratio
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from training_runs import options, train_here

import vqcnir_arch
from vqcnir_arch.report.basicsr_log import read_log_curves
from vqcnir_arch.report.charts import POINTS
from vqcnir_arch.report.curves import Curve
from vqcnir_arch.training.metrics_log import NAME, read_metrics


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    make_runs(root)
    make_results(root)
    return root


@pytest.fixture(scope="module")
def page(root):
    experiments = [root / "experiments/run", root / "experiments/second", root / "results/tested"]
    crops = ["--crop", "0000/0030:10,20,24,16"]
    return report(root / "out/report.html", *experiments, *result_arguments(root), *crops, "--images", 1)


def scalars(folder):
    """Every scalar of a folder's event files, straight from their records."""
    found = {}
    for path in sorted(folder.glob("events*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.tensor.float_val[0]
    return found


def image_of(source):
    assert source.startswith("data:image/")
    return cv2.imdecode(np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("name", ["run", "second"])
def test_every_measurement_is_drawn(root, page, name):
    """What stands in `metrics.jsonl` to the last bit; and that is what TensorBoard got, in float32."""
    written = scalars(root / "tb_logger" / name)
    assert {"losses/l_pix", "metrics/val/psnr", "lr_g", "codebook_usage", "perplexity"} <= set(written)
    drawn = set(page.charts) - {"psnr against ssim, each image"}
    assert drawn == {tag.removeprefix("losses/").removeprefix("metrics/") for tag in written}
    for tag, by_step in written.items():
        steps, values = page.curve(tag.removeprefix("losses/").removeprefix("metrics/"), name)
        assert dict(zip(steps, values, strict=True)) == pytest.approx(by_step, rel=1e-6)
        assert steps == sorted(steps)
    for line in read_metrics(root / "experiments" / name):
        values = {"l_pix": line["l_pix"]} if line["kind"] == "training" else {"val/psnr": line["metrics"]["psnr"]}
        for title, value in values.items():
            assert dict(zip(*page.curve(title, name), strict=True))[line["iter"]] == value


def test_event_files_that_are_asked_for(root, tmp_path):
    page = report(tmp_path / "page.html", root / "experiments/run", "--tb", root / "tb_logger")
    assert "event files in" in page.words
    for tag, by_step in scalars(root / "tb_logger/run").items():
        curve = page.curve(tag.removeprefix("losses/").removeprefix("metrics/"), "run")
        assert dict(zip(*curve, strict=True)) == by_step
    page = report(tmp_path / "page.html", root / "experiments/run", "--tb", root / "images")
    assert "no event files in" in page.words and "curves from metrics.jsonl" in page.words


def test_event_files_of_a_run_that_is_not_ours(root, tmp_path):
    shutil.copytree(root / "experiments/run", tmp_path / "experiments/run")
    shutil.copytree(root / "tb_logger/run", tmp_path / "tb_logger/run")
    ours = report(tmp_path / "ours.html", tmp_path / "experiments/run")
    (tmp_path / "experiments/run" / NAME).unlink()
    page = report(tmp_path / "page.html", tmp_path / "experiments/run")
    for tag, by_step in scalars(root / "tb_logger/run").items():
        curve = page.curve(tag.removeprefix("losses/").removeprefix("metrics/"), "run")
        assert dict(zip(*curve, strict=True)) == by_step
    cells = [row[ours.rows[0].index("val psnr")] for row in (ours.rows[1], page.rows[1])]
    assert cells[0] == cells[1] and "(best " in cells[0]  # the log says the same


def test_tables_across_experiments(root, page):
    head, run, second, tested = page.rows[:4]
    assert [run[0], second[0], tested[0]] == ["run", "second", "tested"]
    assert [row[head.index("iterations")] for row in (run, second, tested)] == ["8", "4", "-"]
    last = scalars(root / "tb_logger/run")["metrics/val/psnr"][8]
    assert run[head.index("val psnr")].startswith(f"{last:.4f} (best ")
    assert re.fullmatch(r"\d+\.\d{4}", tested[head.index("val psnr")])
    assert page.row("network_g: codebook_size") == ["network_g: codebook_size", "16", "32", "16"]
    assert page.row("manual_seed") == ["manual_seed", "7", "3", "7"]


def test_options_and_versions_are_those_of_the_run(root, page):
    assert (root / "experiments/run/run.yml").read_text() in page.words
    assert "train: scheduler: milestones: [5]" in page.words
    import torch

    for library in (f"PyTorch {torch.__version__}", f"vqcnir {vqcnir_arch.__version__}", f"numpy {np.__version__}"):
        assert library in page.words


def test_nothing_is_loaded_from_outside(page):
    assert page.addresses
    assert [address for address in page.addresses if not address.startswith("data:")] == []
    assert "url(" not in page.styles
    assert "@import" not in page.styles
    assert "sourceMappingURL=" not in page.text


def test_measured_values_and_their_order(root, page):
    psnr = {}
    for name in NAMES:
        truth = cv2.imread(str(root / f"pairs/test/high_sharp_scaled/{name}.png"))
        psnr[name] = peak_signal_noise_ratio(truth, cv2.imread(str(root / f"brightened/bright/{name}.png")))
    assert float(page.row("bright")[2]) == pytest.approx(np.mean(list(psnr.values())), abs=1e-4)
    ordered = sorted(psnr, key=psnr.get)
    worst, best = page.titles.index("Worst"), page.titles.index("Best")
    assert [page.titles[worst + 1], page.titles[best + 1]] == [ordered[0], ordered[-1]]
    line = page.charts["psnr against ssim, each image"]["data"][0]
    assert dict(zip(line["text"], line["x"], strict=True)) == pytest.approx(psnr, abs=1e-6)
    assert "LPIPS was not measured" in page.words


def test_images_on_the_page_are_those_of_the_folders(root, page):
    name = page.titles[page.titles.index("Best") + 1]
    pairs = {"input": "pairs/test/low_blur_noise", "ground truth": "pairs/test/high_sharp_scaled"}
    for title, folder in {**pairs, "bright": "brightened/bright"}.items():
        image = cv2.imread(str(root / folder / f"{name}.png"))
        assert peak_signal_noise_ratio(image, image_of(page.images[f"{name}, {title}"])) > 28


def test_crops_are_exact_on_the_page_and_in_the_png(root, page):
    png = cv2.imread(str(root / "out/report_0000_0030_10_20_24_16.png"))
    versions = ("pairs/test/low_blur_noise", "brightened/bright", "brightened/brighter", "pairs/test/high_sharp_scaled")
    titles = ("input", "bright", "brighter", "ground truth")
    for column, (folder, title) in enumerate(zip(versions, titles, strict=True)):
        crop = cv2.imread(str(root / folder / "0000/0030.png"))[20:36, 10:34]
        np.testing.assert_array_equal(image_of(page.images[f"0000/0030, {title}"]), crop)
        factor = 384 // 16
        left = column * (24 * factor + 8)
        enlarged = png[: 16 * factor, left : left + 24 * factor]
        np.testing.assert_array_equal(enlarged, crop.repeat(factor, 0).repeat(factor, 1))


@pytest.mark.parametrize("place", ["brightened/{}/per_image.csv", "brightened/{}_lolblur/images.csv"])
def test_values_of_an_evaluation_are_taken_over(root, tmp_path, place):
    values = {name: (20 + i, 0.5 - i / 10) for i, name in enumerate(reversed(NAMES))}
    files = [root / place.format(results) for results in ("bright", "brighter")]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        with open(path, "w", newline="") as file:
            rows = [[name, name.split("/")[0], *pair, ""] for name, pair in values.items()]
            csv.writer(file).writerows([["image", "video", "psnr", "lpips", "notes"], *rows])
    try:
        page = report(tmp_path / "page.html", *result_arguments(root), "--rank", "lpips", "--images", 1)
        line = page.charts["psnr against lpips, each image"]["data"][0]
        assert dict(zip(line["text"], zip(line["x"], line["y"], strict=True), strict=True)) == values
        assert page.titles[page.titles.index("Worst") + 1] == NAMES[-1]  # the highest LPIPS
        assert page.row("bright")[2:4] == ["21.5000", "0.3500"]
        assert "LPIPS was not measured" not in page.words
    finally:
        for path in files:
            path.unlink()


def test_without_event_files_the_log_gives_the_curves(root, tmp_path, capsys):
    train_here(options(root, name="silent"), root)
    page = report(tmp_path / "page.html", root / "experiments/silent")
    assert len(page.curve("val/psnr", "silent")[0]) == 2 and "no event files" not in page.words
    (root / "experiments/silent" / NAME).unlink()  # as of a run by BasicSR's own launcher
    page = report(tmp_path / "page.html", root / "experiments/silent")
    steps, values = page.curve("l_pix", "silent")
    assert steps == list(range(1, 9))
    expected = scalars(root / "tb_logger/run")["losses/l_pix"]  # the same run with the same seed
    assert values == pytest.approx(list(expected.values()), rel=1e-4)
    assert "no event files in" in page.words
    assert "no event files in" in capsys.readouterr().out


def test_a_results_folder_of_a_test_alone(root, tmp_path):
    page = report(tmp_path / "page.html", "--results", root / "results/tested", "--gt", root / "images", "--images", 9)
    restored = sorted(path.stem for path in (root / "results/tested/visualization/val").glob("*.png"))
    assert len(restored) == 3
    assert sorted(set(page.titles) & set(restored)) == restored
    logged = re.search(r"# psnr: (\S+)", next((root / "results/tested").glob("test_*.log")).read_text())[1]
    assert float(page.row("tested")[2]) == pytest.approx(float(logged), abs=0.1)  # which measures before it rounds


def test_log_lines_after_a_resume_overrule():
    line = (
        "2026-01-01 00:00:00,000 INFO: [x..][epoch:  0, iter:   {:,}, lr:(1.000e-04,2.000e-04,)] "
        "[eta: 1 day, 0:00:00, time (data): 0.100 (0.001)] l_pix: {:.4e} \n"
    )
    first = "".join(line.format(step, step / 10) for step in (1000, 2000, 3000))
    curves = read_log_curves([first, line.format(2000, 7)])
    assert curves["losses/l_pix"] == Curve([1000, 2000], [100.0, 7.0])
    assert curves["lr_1"].values == [2e-4, 2e-4]


@pytest.mark.parametrize("count", [1, POINTS, POINTS + 1, 5 * POINTS - 3])
def test_long_curves_are_thinned_to_their_last_point(count):
    curve = Curve(list(range(count)), [float(i) for i in range(count)])
    thin = curve.thinned(POINTS)
    assert POINTS / 2 < len(thin.steps) <= POINTS or thin == curve
    assert thin.steps[-1] == count - 1
    assert len(set(np.diff(thin.steps))) <= 1
