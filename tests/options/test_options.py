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
    (tmp_path / "x.yml").write_text("train: &a {x: 1}\nval: *a\n")
    assert read_options(tmp_path / "x.yml") == {"train": {"x": 1}, "val": {"x": 1}}


def test_merged_sections(tmp_path):
    """BasicSR reads them, too. What is there to be referred to alone is no option; overriding is no double key."""
    text = """
x-night: &night {type: LOLBlurDataset, dataroot: night}
x-unused: {a: 1}
both: &both {<<: *night, use_rot: true, dataroot: day}
train: &train {lr: 1}
datasets:
  train: {<<: [*both, *night], name: pairs}
  val:
    <<: *night
    name: v
val: *train
"""
    (tmp_path / "x.yml").write_text(text)
    night = {"type": "LOLBlurDataset", "dataroot": "night"}
    assert read_options(tmp_path / "x.yml") == {
        "train": {"lr": 1},
        "datasets": {
            "train": {**night, "dataroot": "day", "use_rot": True, "name": "pairs"},
            "val": {**night, "name": "v"},
        },
        "val": {"lr": 1},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &a {b: *a}", "line 1 is not YAML: a section refers to itself"),
        ("a: &a [1, *a]", "a section refers to itself"),
        ("a: {<<: 5}", "expected a mapping or list of mappings for merging"),
        ("a: *b", "found undefined alias 'b'"),
        ("a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}", "line 2: 'y' stands there twice"),
        ("a: 1\n~: 4", "line 2: '~' is no text to YAML, as on, no and numbers: put it in quotes"),
        ("a: {on: 4}", "line 1: 'on' is no text to YAML"),
        ("a: 1\n# \x1a", "line 2 is not YAML: unacceptable character #x001a: special characters are not allowed"),
        ("name:\u00a0run\nb: 1", r"line 1 has U\+00A0, NO-BREAK SPACE, which YAML takes for a letter"),
    ],
)
def test_what_cannot_be_merged(tmp_path, text, expected):
    (tmp_path / "x.yml").write_text(text)
    with pytest.raises(UserError, match=expected):
        read_options(tmp_path / "x.yml")


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("name: run", "utf-16", "is in UTF-16"),
        ("name: run", "utf-16-le", "is in UTF-16"),
        ("# 训练夜间图像\nname: 数据", "gbk", "is probably in GBK"),
        ("# Größe für Köln\nname: run", "cp1252", "in another encoding, such as Windows-1252"),
        ("# 夜間の画像\nname: run", "shift_jis", "Shift JIS"),
        ("name: run\0", "ascii", "is no text"),
    ],
)
def test_encodings_are_named(tmp_path, text, encoding, expected):
    (tmp_path / "x.yml").write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match=f"{expected}.* expected text in UTF-8"):
        read_options(tmp_path / "x.yml")


def test_whole_numbers_in_powers_of_ten():
    options = read_options(TRAIN)
    options["train"].update(total_iter="3e5", warmup_iter="1.5e3")
    options["train"]["scheduler"]["milestones"] = ["2.5e5", 3e5]
    options["network_g"]["codebook_size"] = "1e3"
    checked = check_options(options, is_train=True)
    assert (checked["train"]["total_iter"], checked["train"]["warmup_iter"]) == (300_000, 1500)
    assert list(checked["train"]["scheduler"]["milestones"]) == [250_000, 300_000]
    assert checked["network_g"]["codebook_size"] == 1000
    assert isinstance(checked["train"]["total_iter"], int)


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
