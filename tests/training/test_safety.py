"""Checkpoints are whole or not there, and nothing runs blind."""

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess

import pytest
import torch
from training_runs import (
    checkpoint,
    differences,
    make_images,
    options,
    sr_options,
    start,
    stop,
    train_here,
    wait_for,
    write,
)

from vqcnir_arch import UserError
from vqcnir_arch.cli import exit_with_one_line
from vqcnir_arch.launch import run
from vqcnir_arch.losses.codebook_loss import CodebookLoss
from vqcnir_arch.models import VQModel
from vqcnir_arch.options import check_options
from vqcnir_arch.training import saved_runs


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_images(root / "images")
    return root


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """An undisturbed run with checkpoints at 2, 4, 6 and 8; tests copy it."""
    root = tmp_path_factory.mktemp("finished")
    train_here(options(images, logger__save_checkpoint_freq=2), root)
    return root


def files(root):
    return sorted(p.relative_to(root / "experiments/run").as_posix() for p in root.rglob("*.*") if "run/" in str(p))


# broken checkpoints


@pytest.mark.parametrize("broken", ["training_states/8.state", "models/net_g_8.pth", "models/net_d_8.pth"])
@pytest.mark.parametrize("how", ["truncated", "empty", "garbage", "missing"])
def test_resume_walks_back(images, finished, tmp_path, broken, how):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "experiments/run" / broken
    content = {"truncated": path.read_bytes()[:-100], "empty": b"", "garbage": b"garbage" * 99}
    path.unlink()
    if how != "missing":
        path.write_bytes(content[how])
    log = train_here(options(images), tmp_path, "--auto_resume")
    assert differences(checkpoint(finished, 8), checkpoint(tmp_path, 8)) == []
    if (how, broken) != ("missing", "training_states/8.state"):  # then there is no such checkpoint
        kind = "training state" if broken.endswith(".state") else "network"
        assert f"Checkpoint of iteration 8 is skipped: {kind} '{path}' " in log
    assert "iter: 6." in log


def test_no_checkpoint_can_be_used(images, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "experiments/run/training_states").iterdir():
        path.write_bytes(b"")
    before = files(tmp_path)
    with pytest.raises(UserError, match=r"no checkpoint in .* can be used"):
        train_here(options(images), tmp_path, "--auto_resume")
    assert files(tmp_path) == before


def test_named_state_that_is_broken(images, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "experiments/run/models/net_d_4.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"network '.*net_d_4.pth' is empty"):
        train_here(options(images, path__resume_state="experiments/run/training_states/4.state"), tmp_path)


def test_leftovers_of_a_killed_save_go(images, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    leftover = tmp_path / "experiments/run/models/.net_g_10.pth.saving"
    leftover.write_bytes(b"half")
    train_here(options(images), tmp_path, "--auto_resume")
    assert not leftover.exists()


# full disks


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net_g_latest.pth"
    saved_runs.write_whole(path, {"a": torch.ones(2)})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"net_g_latest.pth' cannot be saved: No space left on device"):
        saved_runs.write_whole(path, {"a": torch.zeros(2)})
    assert torch.equal(torch.load(path)["a"], torch.ones(2))
    assert os.listdir(tmp_path) == ["net_g_latest.pth"]


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of so many bytes, or a limit on the size of a file where we may not mount."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
    ).returncode
    if mounted != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(images, finished, tmp_path, capsys):
    one = sum((finished / "experiments/run" / name).stat().st_size for name in files(finished) if "_2.p" in name)
    one += (finished / "experiments/run/training_states/2.state").stat().st_size
    with small_disk(tmp_path / "disk", int(2.5 * one)) as root:
        made = options(images, logger__save_checkpoint_freq=2, val=None)
        with pytest.raises(SystemExit) as left:
            exit_with_one_line(lambda: train_here(made, root))
        assert left.value.code == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert "cannot be saved: No space left on device" in message
        assert message.endswith(f"the last good checkpoint is '{root}/experiments/run/training_states/4.state'")
        assert differences(checkpoint(finished, 2), checkpoint(root, 2)) == []
        assert [name for name in files(root) if "_6" in name or "/6" in name or "/." in name] == []


def test_file_size_limit(images, tmp_path):
    """Any user can make a write fail in the middle like this; torch's writer reports it in its own way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(UserError, match=r"cannot be saved: File too large; there is no checkpoint yet"):
            train_here(options(images, logger__save_checkpoint_freq=2, val=None), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [name for name in files(tmp_path) if not name.endswith((".log", ".yml", ".jsonl"))] == []


# which checkpoints stay


def test_keep_last_and_best(images, finished, tmp_path):
    made = options(images, logger__save_checkpoint_freq=1, logger__keep_last=2, val__val_freq=1)
    log = train_here(made, tmp_path)
    kept = [name for name in files(tmp_path) if name.endswith((".pth", ".state"))]
    assert kept == [
        "models/net_d_7.pth", "models/net_d_8.pth", "models/net_d_latest.pth",
        "models/net_g_7.pth", "models/net_g_8.pth", "models/net_g_best.pth", "models/net_g_latest.pth",
        "training_states/7.state", "training_states/8.state",
    ]  # fmt: skip
    assert differences(checkpoint(finished, 8)["net_g_8.pth"], checkpoint(tmp_path, 8)["net_g_8.pth"]) == []
    best = int(log.rpartition("@ ")[2].split()[0])
    if best in (7, 8):
        saved = torch.load(tmp_path / "experiments/run/models/net_g_best.pth")
        assert differences(saved, checkpoint(tmp_path, best)[f"net_g_{best}.pth"]) == []


# steps that must not be taken


@pytest.fixture
def not_finite(monkeypatch):
    """Return a function that makes the codebook loss NaN or infinite at some calls, from 1."""

    def arrange(calls, value=float("nan")):
        original, count = CodebookLoss.forward, iter(range(1, 1000))

        def forward(self, features, quantized):
            loss = original(self, features, quantized)
            return loss * value if next(count) in calls else loss

        monkeypatch.setattr(CodebookLoss, "forward", forward)

    return arrange


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_step_is_skipped(images, tmp_path, not_finite, monkeypatch, value):
    seen = []
    original = VQModel.optimize_parameters

    def optimize(self, current_iter):
        before = {n: p.clone() for net in ("net_g", "net_d") for n, p in getattr(self, net).named_parameters()}
        original(self, current_iter)
        after = {n: p for net in ("net_g", "net_d") for n, p in getattr(self, net).named_parameters()}
        seen.append(any(not torch.equal(before[n], after[n]) for n in before))

    monkeypatch.setattr(VQModel, "optimize_parameters", optimize)
    not_finite({3, 5}, value)
    log = train_here(options(images), tmp_path)
    assert seen == [True, True, False, True, False, True, True, True]
    assert "Iteration 3: not finite (l_codebook, gradient of net_g), step skipped (1 in a row, 1 in all)" in log
    assert "Iteration 5: not finite (l_codebook, gradient of net_g), step skipped (1 in a row, 2 in all)" in log
    saved = checkpoint(tmp_path, 8)
    assert saved["state"]["vqcnir"]["step_guard"]["skipped"] == 2
    assert all(t.isfinite().all() for t in saved["net_g_8.pth"]["params_ema"].values())


def test_too_many_skipped_steps_end_the_run(images, tmp_path, not_finite):
    not_finite(range(5, 100))
    with pytest.raises(UserError) as caught:
        train_here(options(images, train__max_skipped_steps=3), tmp_path)
    state = tmp_path / "experiments/run/training_states/4.state"
    assert str(caught.value) == (
        "iteration 7: not finite for 3 steps in a row (l_codebook, gradient of net_g), the run ends; "
        f"the last good checkpoint is '{state}'"
    )


def test_foreign_model_is_guarded(images, tmp_path, monkeypatch):
    from basicsr.losses.basic_loss import L1Loss

    original, count = L1Loss.forward, iter(range(1, 1000))

    def forward(self, *arguments, **keywords):
        return original(self, *arguments, **keywords) * (float("nan") if next(count) == 2 else 1)

    monkeypatch.setattr(L1Loss, "forward", forward)
    log = train_here(sr_options(images), tmp_path)
    assert "Iteration 2: not finite (gradient of net_g), step skipped" in log
    assert all(t.isfinite().all() for t in checkpoint(tmp_path, 8)["net_g_8.pth"]["params"].values())


def test_gradient_clipping(images, tmp_path, monkeypatch):
    norms = []
    original = torch.optim.SGD.step

    def step(self, *arguments, **keywords):
        gradients = [p.grad.norm() for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(torch.stack(gradients).norm().item())
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    made = options(images, train__grad_clip=0.01, train__optim_g={"type": "SGD", "lr": 0.1})
    log = train_here(made, tmp_path)
    assert len(norms) == 8
    assert all(0.009 < norm < 0.0101 for norm in norms)
    assert "grad_norm_g: " in log
    assert "grad_norm_d: " in log


# refused before anything is built


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        (
            {"train__scheduler": {"type": "CosineAnnealingRestartLR", "periods": [3, 4], "restart_weights": [1, 1]}},
            "train: scheduler (CosineAnnealingRestartLR): periods end at iteration 7, train: total_iter is 8",
        ),
        (
            {"train__scheduler": {"type": "CosineAnnealingRestartLR", "periods": [4, 4]}},
            "train: scheduler (CosineAnnealingRestartLR): periods has 2 values, restart_weights has 1",
        ),
        ({"val__key_metric": "psn"}, "val: key_metric 'psn' is not in val: metrics (did you mean 'psnr'?)"),
        ({"train__grad_clip": 0}, "train: grad_clip: input should be greater than 0, got 0"),
        ({"logger__keep_last": 0}, "logger: keep_last: input should be greater than 0, got 0"),
    ],
)
def test_refused(images, changes, finding):
    with pytest.raises(UserError) as caught:
        check_options(options(images, **changes), is_train=True)
    assert str(caught.value) == finding


def test_batch_larger_than_the_data(images, tmp_path):
    path = write(tmp_path / "run.yml", options(images, datasets__train__batch_size_per_gpu=7))
    with pytest.raises(UserError, match=r"a batch of 7 is larger than the data set \(6 samples\)"):
        run("train", ["-opt", str(path), "--root", str(tmp_path)])
    assert not (tmp_path / "experiments").exists()


# signals, to a process of its own


def test_stop_with_workers_whose_group_gets_the_signal_too(images, finished, tmp_path):
    made = options(images, train__total_iter=100_000, datasets__train__num_worker_per_gpu=1, val=None)
    process = start(made, tmp_path, start_new_session=True)
    wait_for(process, "iter:       5,")
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "stopped by SIGINT after iteration" in rest
    assert "Traceback" not in rest


def test_second_signal_ends_at_once(images, tmp_path):
    made = options(images, train__total_iter=100_000, datasets__train__batch_size_per_gpu=6, val=None)
    made["network_g"]["channels"] = [64, 64, 64, 64]  # an iteration that takes a while
    process = start(made, tmp_path)
    wait_for(process, "iter:       1,")
    process.send_signal(signal.SIGTERM)
    code, _ = stop(process)
    assert code in (-signal.SIGTERM, 128 + signal.SIGTERM)  # the second may come when the run has just ended


def test_killed_at_random_moments(tmp_path, load_script):
    """The bounded version of `scripts/kill_test.py`."""
    counts = load_script("kill_test").kill_test(tmp_path / "runs", kills=4, seed=1)
    assert sum(counts.values()) == 4
