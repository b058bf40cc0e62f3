"""Two processes on the CPU, through torchrun and gloo."""

import re
import signal

import pytest
import torch
from training_runs import (
    checkpoint,
    differences,
    make_images,
    measured,
    options,
    read_logs,
    sr_options,
    start,
    train,
    train_here,
    wait_for,
)

from vqcnir_arch import UserError
from vqcnir_arch.training.distributed import init_processes, slurm_environment


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_images(root / "images", 8)
    return root


@pytest.fixture(scope="module")
def two(images, tmp_path_factory):
    """Two processes with a batch of 2 each, never stopped."""
    root = tmp_path_factory.mktemp("two")
    train(options(images, val__save_img=True), root, processes=2)
    return root


def numbers(log, name):
    return [float(value) for value in re.findall(rf"{name}: (\S+)", log)]


def test_same_as_one_process_with_the_doubled_batch(images, two, tmp_path):
    one = train_here(options(images, datasets__train__batch_size_per_gpu=4), tmp_path)
    both = read_logs(two)
    for name in ("l_pix", "l_codebook", "l_g_gan", "l_d_real", "l_d_fake", "psnr"):
        assert len(numbers(one, name)) >= 2
        assert numbers(both, name) == pytest.approx(numbers(one, name), rel=1e-3, abs=1e-5), name
    saved = [checkpoint(root, 8)["net_g_8.pth"]["params_ema"] for root in (tmp_path, two)]
    for name, tensor in saved[0].items():
        torch.testing.assert_close(tensor, saved[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_micro_batches(images, two, tmp_path):
    """Gradients are exchanged once per step, after the last micro-batch, to the same sums."""
    train(options(images, train__grad_accumulation=2, train__channels_last=True), tmp_path, processes=2)
    saved = [checkpoint(root, 8)["net_g_8.pth"]["params_ema"] for root in (tmp_path, two)]
    for name, tensor in saved[0].items():
        torch.testing.assert_close(tensor, saved[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_every_image_is_validated_once_and_one_process_writes_the_log(two):
    folder = two / "experiments/run"
    assert len(list(folder.glob("visualization/val/*/*_8.png"))) == 3
    assert len(list(folder.glob("*.log"))) == 1
    assert [line["iter"] for line in measured(two)] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    assert not list((two / "experiments").glob("*_archived_*"))


def test_exact_resume(images, two, tmp_path):
    """Stopped by torchrun's signal in the middle, resumed with another number of workers."""
    made = options(images, val__save_img=True, train__total_iter=5)
    train(made, tmp_path, processes=2)
    made = options(images, val__save_img=True, datasets__train__num_worker_per_gpu=1)
    train(made, tmp_path, "--auto_resume", processes=2)
    assert differences(checkpoint(two, 8), checkpoint(tmp_path, 8)) == []
    assert measured(tmp_path) == measured(two)


def test_signal_to_torchrun(images, tmp_path):
    made = options(images, train__total_iter=100_000, val=None, logger__save_checkpoint_freq=100_000)
    process = start(made, tmp_path, processes=2)
    wait_for(process, "iter:       3,")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=100)
    assert process.returncode != 0
    log = read_logs(tmp_path)
    stopped = int(re.search(r"stopped by SIGTERM after iteration (\d+)", log)[1])
    assert checkpoint(tmp_path, stopped)["state"]["iter"] == stopped


def test_foreign_model_does_not_hang(images, tmp_path):
    train(sr_options(images, train__total_iter=4), tmp_path, processes=2)
    log = read_logs(tmp_path)
    assert "Best: " in log
    assert len(checkpoint(tmp_path, 4)["state"]["vqcnir"]["random"]) == 2


def test_without_torchrun(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UserError, match="start with torchrun"):
        init_processes("pytorch", use_gpu=False)


def test_slurm(monkeypatch):
    for name, value in {
        "SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_NODELIST": "n[1-2]",
        "MASTER_ADDR": "n1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    assert slurm_environment(29501) == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "n1", "MASTER_PORT": "29501",
    }  # fmt: skip
    monkeypatch.delenv("SLURM_PROCID")
    with pytest.raises(UserError, match="start with srun"):
        slurm_environment()
