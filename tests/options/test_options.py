"""Reading option files: numbers, duplicate keys, forced values, names."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from vqcnir_arch import UserError
from vqcnir_arch.options import check_options, read_options
from vqcnir_arch.registry import ARCH_REGISTRY, names

TRAIN = Path(__file__).parents[2] / "options/vqcnir/train_vqcnir_lolblur.yml"


def test_numbers_as_strings_become_numbers():
    """YAML 1.1 reads `1e-4` as a string."""
    content = yaml.safe_load("lr: 1e-4\nbetas: [9e-1, 0.99]")
    assert content == {"lr": "1e-4", "betas": ["9e-1", 0.99]}
    options = read_options(TRAIN)
    options["train"]["optim_g"].update(content)
    options["train"]["scheduler"].update(milestones=["10", 20], gamma="5e-1")
    options["train"]["ema_decay"] = "9.99e-1"
    options["network_g"]["codebook_size"] = "1024"
    before = copy.deepcopy(options)
    checked = check_options(options, is_train=True)
    assert checked["train"]["optim_g"]["lr"] == 1e-4
    assert list(checked["train"]["optim_g"]["betas"]) == [0.9, 0.99]
    assert checked["train"]["scheduler"]["gamma"] == 0.5
    assert checked["train"]["ema_decay"] == 0.999
    assert checked["network_g"]["codebook_size"] == 1024
    assert options == before  # the given options stay
    for part in ("train", "network_g", "datasets"):
        assert list(checked[part]) == list(options[part])  # in the order of the file, which the log shows


def test_duplicate_key_in_a_nested_block(tmp_path):
    (tmp_path / "x.yml").write_text("train:\n  total_iter: 5\n  total_iter: 6\n")
    with pytest.raises(UserError, match=r"line 3: 'total_iter' stands there twice"):
        read_options(tmp_path / "x.yml")


def test_yaml_aliases(tmp_path):
    (tmp_path / "x.yml").write_text("a: &a {x: 1}\nb: *a\n")
    assert read_options(tmp_path / "x.yml") == {"a": {"x": 1}, "b": {"x": 1}}
    (tmp_path / "x.yml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 3}\n")  # BasicSR cannot read merged keys either
    with pytest.raises(UserError, match=r"x\.yml', line 2 is not YAML"):
        read_options(tmp_path / "x.yml")


def test_force_reads_yaml_values(tmp_path):
    (tmp_path / "x.yml").write_text("train: {total_iter: 5, name: a}\nseed: 1\n")
    forced = ["train:total_iter=-3", "train:name=[1, 'x', y=z]", "seed=~"]
    assert read_options(tmp_path / "x.yml", forced) == {
        "train": {"total_iter": -3, "name": [1, "x", "y=z"]},
        "seed": None,
    }


def test_names_leave_basicsrs_suffix_out():
    assert "UNetDiscriminatorSN" in names(ARCH_REGISTRY)
    assert "UNetDiscriminatorSN_basicsr" not in names(ARCH_REGISTRY)
