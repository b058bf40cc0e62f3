"""`metrics.jsonl`: what stands in it comes back, and a resumed run drops what it will measure again."""

from __future__ import annotations

import json
import math
import os

import pytest

from vqcnir_arch import UserError
from vqcnir_arch.demo.figures import save_curves
from vqcnir_arch.training.metrics_log import NAME, MetricsLog, last_validation, read_metrics


def training(iteration, **values):
    return {"kind": "training", "epoch": 0, "iter": iteration, "lrs": [1e-4], "time": 0.25, **values}


def validation(iteration, dataset="night", **metrics):
    best = {name: {"value": value, "iter": iteration} for name, value in metrics.items()}
    return {"kind": "validation", "iter": iteration, "dataset": dataset, "metrics": metrics, "best": best}


def written(folder, *lines):
    log = MetricsLog(folder)
    for line in lines:
        log.append(line)
    return log


def test_values_come_back_to_the_last_bit(tmp_path):
    lines = [training(10, l_pix=1 / 3, skipped_steps=2), validation(10, psnr=20.123456789012345)]
    written(tmp_path, *lines)
    assert read_metrics(tmp_path) == lines
    assert last_validation(tmp_path) == {"psnr": 20.123456789012345}
    assert read_metrics(tmp_path / "away") == [] and last_validation(tmp_path / "away") == {}


def test_values_that_json_does_not_have(tmp_path):
    values = {"l_nan": math.nan, "l_inf": math.inf, "grad_norm_g": -math.inf}
    written(tmp_path, training(1, **values), validation(1, dataset="nan", niqe=math.nan))

    def never(text):
        raise AssertionError(f"{text} is no JSON")

    for text in (tmp_path / NAME).read_text().splitlines():
        json.loads(text, parse_constant=never)
    first, second = read_metrics(tmp_path)
    assert math.isnan(first["l_nan"]) and first["l_inf"] == math.inf and first["grad_norm_g"] == -math.inf
    assert second["dataset"] == "nan" and math.isnan(second["best"]["niqe"]["value"])


@pytest.mark.parametrize(
    ("last", "validated", "kept"),
    [
        (8, {"night": 4, "day": 4}, 6),  # the validations at 8 came after its checkpoint
        (8, {"night": 8, "day": 4}, 7),
        (8, {"night": 8, "day": 8}, 8),  # a run that was stopped after them
        (4, {"night": 4, "day": 4}, 4),
        (3, {}, 1),
        (0, {}, 0),
        (20, {"night": 8, "day": 8}, 9),
    ],
)
def test_what_a_resumed_run_measures_again_is_dropped(tmp_path, last, validated, kept):
    lines = [training(2), training(4), validation(4), validation(4, "day"), training(6), training(8)]
    lines += [validation(8), validation(8, "day"), training(10)]
    log = written(tmp_path, *lines)
    with open(tmp_path / NAME, "a") as file:
        file.write('{"kind": "training", "iter": 1')  # a line that the disk had no room for
    log.go_back({"iter": last, "vqcnir": {"validated": validated}})
    assert read_metrics(tmp_path) == lines[:kept]
    log.append(training(12))
    assert read_metrics(tmp_path) == [*lines[:kept], training(12)]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_state_of_basicsr_and_a_run_without_a_record(tmp_path):
    log = MetricsLog(tmp_path)
    log.go_back({"iter": 4})
    assert not (tmp_path / NAME).exists()
    written(tmp_path, training(4), validation(4))
    log.go_back({"iter": 4})
    assert read_metrics(tmp_path) == [training(4)]


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    written(tmp_path, training(1), training(2))
    text = (tmp_path / NAME).read_text()
    (tmp_path / NAME).write_text(text[:-5])
    assert read_metrics(tmp_path) == [training(1)]


BROKEN = [
    "",
    "[]",
    "7",
    "{}",
    '"kind"',
    '{"kind": "training"}',
    '{"kind": "other", "iter": 1}',
    '{"kind": "training", "iter": "far"}',
    '{"kind": "training", "iter": null}',
    '{"kind": "training", "iter": 1, "l_pix": "bright"}',
    '{"kind": "validation", "iter": 1}',
    '{"kind": "test", "dataset": "night", "metrics": 7}',
]


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_file_is_named(tmp_path, line):
    written(tmp_path, training(1))
    with open(tmp_path / NAME, "a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl', line 2: is no line of a run's metrics") as caught:
        read_metrics(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / NAME).write_bytes(b"\xff\xfe\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl' cannot be read"):
        read_metrics(tmp_path)


def test_a_full_disk_is_one_line(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("has no /dev/full")
    (tmp_path / NAME).symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"metrics\.jsonl' cannot be written: No space left on device"):
        written(tmp_path, training(1))


def test_curves_of_the_demo(tmp_path, monkeypatch):
    import matplotlib.axes

    drawn = []
    monkeypatch.setattr(matplotlib.axes.Axes, "plot", lambda self, *points, label: drawn.append((label, *points)))
    monkeypatch.setattr(matplotlib.axes.Axes, "legend", lambda self: None)
    written(tmp_path, training(1, l_pix=0.5, lr_g=1e-4), validation(1, psnr=9.0), training(2, l_pix=0.4, l_new=3.0))
    save_curves(tmp_path / "losses.png", {"stage": tmp_path})
    assert drawn == [("pix", (1, 2), (0.5, 0.4)), ("new", (2,), (3.0,))]
    assert (tmp_path / "losses.png").stat().st_size > 1000
