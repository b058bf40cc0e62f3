"""A test that was stopped goes on: what it had written is read, all else is computed, and the metrics are the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import torch
from basicsr.models.sr_model import SRModel
from launch_place import options_of_test, written
from restore_kills import silent

import vqcnir_arch
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.cli import dispatch
from vqcnir_arch.models.kept_results import RECORD

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")

RECORD_PATH = Path("results/tiny", RECORD)
IMAGES = Path("results/tiny/visualization/held_out")


@pytest.fixture
def seen(monkeypatch):
    """How many images the network restores, and the metrics of each data set."""
    found = {"computed": 0, "metrics": []}
    forward, log = VQCNIR.forward, SRModel._log_validation_metric_values

    def counted(self, *arguments, **keywords):
        found["computed"] += 1
        return forward(self, *arguments, **keywords)

    def noted(self, *arguments):
        found["metrics"].append(dict(self.metric_results))
        log(self, *arguments)

    monkeypatch.setattr(VQCNIR, "forward", counted)
    monkeypatch.setattr(SRModel, "_log_validation_metric_values", noted)
    return found


def run(seen, content=None, *more):
    """Run the test; return how many images were computed and the metrics."""
    seen.update(computed=0, metrics=[])
    dispatch(["test", *written(content or options_of_test()), *more])
    return seen["computed"], seen["metrics"]


def log_text():
    return "".join(path.read_text() for path in Path("results/tiny").glob("test_tiny_*.log"))


def archived():
    return list(Path("results").glob("tiny_archived_*"))


def pixels():
    return {str(path.relative_to(IMAGES)): cv2.imread(str(path)).tobytes() for path in sorted(IMAGES.rglob("*.png"))}


def recorded():
    return RECORD_PATH.read_bytes().count(b"\n") - 1 if RECORD_PATH.exists() else 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed(place, seen, monkeypatch, number):
    for folder in ("low_blur_noise", "high_sharp_scaled"):
        for copy in range(4):
            shutil.copytree(f"night/test/{folder}/0000", f"night/test/{folder}/1{copy}")
    content = options_of_test()
    assert run(seen, content)[0] == 12
    whole, expected = list(seen["metrics"]), pixels()
    shutil.rmtree("results")

    forward = VQCNIR.forward

    def slow(self, *arguments, **keywords):
        time.sleep(0.1)
        return forward(self, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(VQCNIR, "forward", slow)
        process = multiprocessing.get_context("fork").Process(target=silent, args=(["test", *written(content)],))
        process.start()
        end = time.monotonic() + 120
        while process.is_alive() and recorded() < 3 and time.monotonic() < end:
            time.sleep(0.001)
        os.kill(process.pid, number)
        process.join(60)
    assert process.exitcode == -number
    there = recorded()
    assert 3 <= there < 12

    computed, metrics = run(seen, content)
    assert computed == 12 - there
    assert metrics == whole  # bit for bit
    assert pixels() == expected
    assert f"{there} of 12 images were there, of the same checkpoint and options: read, not computed" in log_text()
    assert not archived()


def test_only_what_is_whole_and_of_the_same_input_counts(place, seen):
    assert run(seen)[0] == 4
    lines = RECORD_PATH.read_text().splitlines(keepends=True)
    RECORD_PATH.write_text("".join(lines[:-1]) + lines[-1][:25])  # killed in the middle of a line
    assert run(seen)[0] == 1
    assert run(seen)[0] == 0

    (IMAGES / "0000/0030.png").write_bytes((IMAGES / "0000/0030.png").read_bytes()[:100])
    dark = cv2.imread("night/test/low_blur_noise/0001/0031.png")
    cv2.imwrite("night/test/low_blur_noise/0001/0031.png", dark // 2)
    (IMAGES / "0001/0030.png").unlink()
    assert run(seen)[0] == 3
    assert run(seen)[0] == 0
    assert not archived()


@pytest.mark.parametrize("changed", ["checkpoint", "network", "data set"])
def test_other_settings_are_computed_anew(place, seen, changed):
    shutil.copy("weights/vqcnir.pth", "mine.pth")
    content = options_of_test("mine.pth")
    run(seen, content)
    first = list(seen["metrics"])
    if changed == "checkpoint":
        state = torch.load("mine.pth")
        state["params"]["out_conv.bias"] += 0.1
        torch.save(state, "mine.pth")
    elif changed == "network":
        content["network_g"]["padding"] = "published"
    else:
        content["datasets"]["test"]["every_nth"] = 2
    computed, metrics = run(seen, content)
    assert computed == (2 if changed == "data set" else 4)
    assert len(archived()) == 1
    word = {"checkpoint": "checkpoints", "network": "networks", "data set": "datasets"}[changed]
    assert f"the earlier test are of other settings ({word}): all are computed again" in log_text()
    if changed == "checkpoint":
        assert metrics != first


def test_metrics_and_protocol_may_change(place, seen, use_hub, tmp_path):
    """An evaluation can follow a test that is over, without restoring again; floats must have been written."""
    use_hub(tmp_path / "hub")
    run(seen)
    content = options_of_test()
    content["val"]["metrics"]["ssim"] = {"type": "calculate_ssim", "crop_border": 0, "better": "higher"}
    computed, metrics = run(seen, content, "--protocol", "lolblur")
    assert computed == 0 and set(metrics[0]) == {"psnr", "ssim"}
    summary = json.loads(IMAGES.with_name("held_out_lolblur").joinpath("summary.json").read_text())
    assert summary["columns"]["psnr"]["mean"] == pytest.approx(metrics[0]["psnr"])
    assert run(seen, content, "--protocol", "darkir")[0] == 4
    assert run(seen, content, "--protocol", "darkir")[0] == 0


def test_without_images_nothing_is_kept(place, seen):
    content = options_of_test()
    content["val"]["save_img"] = False
    assert [run(seen, content)[0], run(seen, content)[0]] == [4, 4]
    assert not RECORD_PATH.exists()


def test_two_processes(place, seen):
    """Each reads and computes its share; the record is one."""
    expected = run(seen)[1][0]["psnr"]
    lines = RECORD_PATH.read_text().splitlines(keepends=True)
    RECORD_PATH.write_text("".join(lines[:2]))
    before = set(Path("results/tiny").glob("*.log"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    command += ["vqcnir_arch.test", *written(options_of_test()), "--launcher", "pytorch"]
    env = {**os.environ, "PYTHONPATH": str(Path(vqcnir_arch.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    (log,) = set(Path("results/tiny").glob("*.log")) - before
    assert "1 of 4 images were there" in log.read_text() and f"psnr: {expected:.4f}" in log.read_text()
    assert recorded() == 4
    assert run(seen)[0] == 0
    assert not archived()
