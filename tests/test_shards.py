"""Which part of the files a process takes, by its flag or its environment, and folders walked once."""

import itertools
import os
from argparse import ArgumentTypeError

import pytest
import torch

from vqcnir_arch import cli
from vqcnir_arch.devices import choose_device
from vqcnir_arch.errors import PartError, UserError
from vqcnir_arch.folders import visible_files
from vqcnir_arch.shards import WHOLE, Shard, alone, chosen_shard, shard, shard_of_environment


def array(number, numbers, step=1):
    names = {"ID": number, "COUNT": len(numbers), "MIN": min(numbers), "MAX": max(numbers), "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in names.items()}


def test_parts_are_disjoint_and_whole():
    items = list(range(11))
    for count in (1, 2, 3, 20):
        parts = [Shard(i, count).of(items) for i in range(1, count + 1)]
        assert sorted(itertools.chain(*parts)) == items and max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "-1/2", "1/2/3", "a/b", "", "1 / 2", "١/٢"])
def test_no_part(text):
    with pytest.raises(ArgumentTypeError, match="counted from 1, such as 1/4 to 4/4, got"):
        shard(text)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (1, 1)),
        ({"RANK": "3"}, (1, 1)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (1, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, (4, 8)),  # torchrun within srun
        ({"RANK": "0", "WORLD_SIZE": "1", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (2, 2)),  # one torchrun in each
        (array(5, range(2, 6)), (4, 4)),
        (array(8, range(0, 13, 4), 4), (3, 4)),
        (array(7, [7]), (1, 1)),
        ({**array(1, range(3)), "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (4, 6)),
    ],
)
def test_environment(variables, expected):
    assert shard_of_environment(variables)[:2] == expected


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2"}, "variable RANK is 'x', expected a whole number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2 and WORLD_SIZE is 2: there is no such part"),
        (array(3, [1, 3, 7]), "the 3 numbers of SLURM's array, 1 to 7, have gaps: give --shard I/N"),
    ],
)
def test_environment_that_cannot_be(variables, line):
    with pytest.raises(UserError, match=line):
        shard_of_environment(variables)


def test_the_flag_wins(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert chosen_shard(shard("1/1")) == WHOLE and not capsys.readouterr().err
    assert chosen_shard(None).label == "part 2 of 4: "
    assert "note: part 2 of 4, since RANK and WORLD_SIZE are set" in capsys.readouterr().err


def test_an_error_of_one_part_is_said(monkeypatch, capsys):
    """What all parts have in common the first one says."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")

    def of_all():
        raise UserError("of all")

    def of_one():
        with alone(Shard(2, 4)):
            raise UserError("of one")

    for function in (of_all, of_one):
        with pytest.raises(SystemExit):
            cli.exit_with_one_line(function)
    assert capsys.readouterr().err == "vqcnir: error: of one\n"
    monkeypatch.setenv("LOCAL_RANK", "0")  # of another machine, which has a log of its own
    with pytest.raises(SystemExit):
        cli.exit_with_one_line(of_all)
    assert capsys.readouterr().err == "vqcnir: error: of all\n"
    monkeypatch.setenv("WORLD_SIZE", "none")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit):
        cli.exit_with_one_line(lambda: chosen_shard(None))
    assert "variable WORLD_SIZE is 'none'" in capsys.readouterr().err
    with pytest.raises(UserError) as caught, alone(WHOLE):
        raise UserError("of the whole")
    assert not isinstance(caught.value, PartError)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_links_that_loop_are_gone_through_once(tmp_path):
    for name in ("x/1", "x/deep/2", "y/3", "../beside/4", "x/.git/5", "x/@eaDir/6.jpg", "Thumbs.db"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).touch()
    top = tmp_path / "top"
    links = {"again": ".", "x/up": "..", "x/deep/out": "../../..", "self": "self", "y/to_x": "../x", "x/to_y": "../y"}
    for place, target in links.items():
        (top / place).symlink_to(target)
    (top / "beside").symlink_to("../beside")
    found = sorted(path.relative_to(top).as_posix() for path in visible_files(top))
    assert found == [
        "beside/4", "self", "x/1", "x/deep/2", "x/to_y/3", "y/3", "y/to_x/1", "y/to_x/deep/2",
    ]  # fmt: skip
    assert sorted(visible_files(top / "again/again")) == [top / "again/again" / name for name in found]


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    (tmp_path / "a").touch()
    scandir = os.scandir

    def refuses(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    with pytest.raises(UserError, match=r"folder '.*locked' cannot be read: Permission denied"):
        list(visible_files(tmp_path))
    said = []
    assert list(visible_files(tmp_path, said.append)) == [tmp_path / "a"] and len(said) == 1


# --- devices ---------------------------------------------------------------------------------------------------------


def test_each_process_of_a_machine_has_its_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device().index == 0
    monkeypatch.setenv("SLURM_LOCALID", "3")
    assert choose_device().index == 1
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert choose_device().index == 0
