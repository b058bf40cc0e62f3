"""A run's folder: its name, whose it is, and that one run at a time writes into it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from training_runs import change, make_images, options, run_here, test_here, train_here

from vqcnir_arch import UserError
from vqcnir_arch.report.experiments import read_experiment
from vqcnir_arch.training.run_folder import is_event_folder, is_run, make_anew, name_problem
from vqcnir_arch.training.run_lock import RunLock, this_process

# names


@pytest.mark.parametrize("name", ["run", "night/first run", "夜/[1]\u3000a", "001", "..a", "a..b/.c", "x" * 200])
def test_names(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name", ["/srv/photographs", "../x", "a/../../b", "~/x", "~root", "C:/x", "C:x", "a\\b", "..", "a/.."]
)
def test_names_that_lead_elsewhere(name):
    assert "leads elsewhere" in name_problem(name)


@pytest.mark.parametrize(
    "name",
    [
        "a//b",
        "night/models",
        "a/visualization/b",
        "a/",
        ".",
        "a/./b",
        "a\nb",
        "a\0",
        "x" * 201,
        "é" * 101,
        "a/" + "x" * 240,
        "ab/" * 400 + "a",
    ],
)
def test_names_that_no_folder_can_have(name):
    assert name_problem(name)


# whose a folder is


def folder_with(path, *names):
    for name in names:
        (path / name).mkdir(parents=True) if name.endswith("/") else (path / name).write_text("")
    return path


@pytest.mark.parametrize(
    ("names", "ours"),
    [
        ((), True),
        (("models/",), True),  # killed while it was made
        (("visualization/", "images.jsonl"), True),
        (("visualization/holiday/",), False),
        (("models/2020/",), False),
        (("models/", "training_states/", "notes.txt"), True),
        (("train_a_20260102_030405.log", "notes.txt"), True),
        (("test_a b_20260102_030405.log", "visualization/"), True),
        (("holiday.jpg",), False),
        (("first run/",), False),
        (("train_a.log", "models/"), False),
    ],
)
def test_what_a_run_has_written(tmp_path, names, ours):
    assert is_run(folder_with(tmp_path, *names)) is ours


def test_event_folders(tmp_path):
    assert is_event_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    assert not is_event_folder(tmp_path)
    (tmp_path / "events.out.tfevents.1").write_text("")
    assert is_event_folder(tmp_path)


def test_put_aside_twice_in_a_second(tmp_path):
    for number in range(3):
        make_anew(tmp_path / "run")
        (tmp_path / "run/file").write_text(str(number))
    aside = [path for path in tmp_path.iterdir() if path.name != "run"]
    assert sorted((path / "file").read_text() for path in aside) == ["0", "1"]
    assert (tmp_path / "run/file").read_text() == "2"


# one at a time


def lock_file(folder, **changes):
    path = folder.with_name(f".{folder.name}.lock")
    path.write_text(json.dumps({**this_process(), **changes}))
    return path


def test_the_second_is_refused_while_the_first_lives(tmp_path):
    first, second = RunLock(tmp_path / "a/run"), RunLock(tmp_path / "a/run")
    first.acquire()
    with pytest.raises(UserError, match=rf"belongs to a run that .* \(process {os.getpid()} on .*stop that one first"):
        second.acquire()
    second.release()  # it never had it
    RunLock(tmp_path / "a/other").acquire()
    with pytest.raises(UserError):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    assert [path.name for path in (tmp_path / "a").iterdir()] == [".other.lock"]


def test_a_lock_of_a_process_that_is_gone_is_broken(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    for changes in ({"pid": ended.pid}, {"started": 1.0}):  # killed; its number is another process's by now
        lock_file(tmp_path / "run", **changes)
        lock = RunLock(tmp_path / "run")
        lock.acquire()
        lock.release()
        assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_machine(tmp_path, monkeypatch):
    path = lock_file(tmp_path / "run", host="elsewhere", pid=7)
    with pytest.raises(UserError, match=rf"process 7 on elsewhere\): if it is over, .* remove '{path}'"):
        RunLock(tmp_path / "run").acquire()
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    for number, restarts in (("12", 0), ("11", -1)):  # this very start on another node; another job
        lock_file(tmp_path / "run", host="elsewhere", job=[number, restarts])
        with pytest.raises(UserError, match="elsewhere"):
            RunLock(tmp_path / "run").acquire()
    lock_file(tmp_path / "run", host="elsewhere", job=["12", 0])
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    RunLock(tmp_path / "run").acquire()
    assert json.loads(path.read_text())["host"] == socket.gethostname()


ODD = [
    "",
    "{}",
    "[1]",
    "text",
    '{"pid": "x"}',
    "NaN",
    '{"pid": 1e999}',
    '{"pid": -1, "host": "", "since": "", "started": 0}',
]


@pytest.mark.parametrize("content", [*ODD, "\xff"])
def test_a_lock_that_says_nothing(tmp_path, content):
    (tmp_path / ".run.lock").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match="is no lock that a run has written: remove it if"):
        RunLock(tmp_path / "run").acquire()


def test_an_empty_lock(tmp_path, monkeypatch):
    path, lock = tmp_path / ".run.lock", RunLock(tmp_path / "run")

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(UserError, match="cannot be written: No space left"):
        patch.setattr(Path, "write_text", full)
        lock.acquire()
    assert not path.exists()
    path.touch()
    os.utime(path, (1e9, 1e9))  # a machine that went down left it
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "")
    lock.acquire()
    assert json.loads(path.read_text())["job"] == ["12", 0]
    lock.release()
    path.symlink_to("nowhere")
    with pytest.raises(UserError, match="is a link to what does not exist: remove it"):
        lock.acquire()


# through the launcher


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two iterations in a folder of its name."""
    root = tmp_path_factory.mktemp("trained")
    make_images(root / "images")
    run_here("train", short(root, name="night/first run", logger__use_tb_logger=True), root)
    return root


def short(root, **changes):
    made = options(root, val=None, network_d=None, train__gan_opt=None, train__optim_d=None, train__total_iter=2)
    made["logger"]["save_checkpoint_freq"] = 2
    change(made, changes)
    return made


def below(root, *folders):
    return sorted(path.relative_to(root) for folder in folders for path in (root / folder).rglob("*"))


def test_a_name_with_a_folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "experiments/night/first run"
    assert len(list(folder.glob("train_first run_*.log"))) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["first run"]  # the lock is gone
    assert list((tmp_path / "tb_logger/night/first run").glob("events.*"))
    run_here("train", short(trained, name="night/first run", train__total_iter=3), tmp_path, "--auto_resume")
    assert (folder / "training_states/3.state").exists()
    (folder / "metrics.jsonl").unlink()  # then the report reads the event files
    experiment = read_experiment(folder)
    assert experiment.name == "night/first run" and "tb_logger/night/first run" in experiment.source

    tested = short(trained, name="night/held out")
    tested["datasets"] = {"test": {**tested["datasets"]["val"], "max_images": 1}}
    tested["path"] = {"pretrain_network_g": str(folder / "models/net_g_latest.pth")}
    tested["val"] = {"save_img": True}
    test_here(tested, tmp_path)
    results = tmp_path / "results/night/held out"
    assert len(list(results.glob("test_held out_*.log"))) == len(list(results.glob("visualization/val/*.png"))) == 1
    tested["name"] = "night/held out/again"
    with pytest.raises(UserError, match="is the folder of a run of its own"):
        test_here(tested, tmp_path)


def photographs(root):
    folder_with(root / "experiments/run/", "./", "holiday.jpg")


def events_of_another(root):
    folder_with(root / "experiments/run/", "models/", "training_states/")
    folder_with(root / "tb_logger/run/", "./", "notes.txt")


def own_checkpoint(root):
    folder_with(root / "experiments/run/", "models/", "training_states/")
    models = root / "experiments/run/models"
    shutil.copy(root / "experiments/night/first run/models/net_g_latest.pth", models / "net_g_2.pth")


def held(root):
    lock = RunLock(root / "experiments/run")
    lock.acquire()


@pytest.mark.parametrize(
    ("arrange", "expected"),
    [
        (photographs, r"experiments/run' is no run's folder \('holiday.jpg' in it\), so it is not put aside"),
        (events_of_another, r"tb_logger/run' is no run's folder \('notes.txt' in it\)"),
        (own_checkpoint, r"path: pretrain_network_g: .* lies in '.*experiments/run', which a new run of this name"),
        (held, "belongs to a run that has been going since"),
    ],
)
def test_nothing_is_moved(trained, tmp_path, arrange, expected):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    arrange(tmp_path)
    made = short(trained, logger__use_tb_logger=True)
    if arrange is own_checkpoint:
        made["path"]["pretrain_network_g"] = str(tmp_path / "experiments/run/models/net_g_2.pth")
    made["datasets"]["train"]["name"] = "a" * 150 + "/" + "b" * 150  # a text that is no path
    before = below(tmp_path, "experiments", "tb_logger")
    with pytest.raises(UserError, match=expected):
        train_here(made, tmp_path)
    assert below(tmp_path, "experiments", "tb_logger") == before


def test_the_option_file_that_a_run_keeps_can_be_trained_from(trained, tmp_path):
    """It lies in the folder that is put aside, or is copied onto itself."""
    from vqcnir_arch.launch import run

    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    kept = tmp_path / "experiments/night/first run/first run.yml"
    for more in (["--auto_resume"], []):
        run("train", ["-opt", str(kept), "--root", str(tmp_path), *more])
        assert "night/first run" in kept.read_text()
    assert len(list(kept.parents[1].glob("first run_archived_*"))) == 1
