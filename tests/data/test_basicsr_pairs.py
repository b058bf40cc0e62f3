"""BasicSR's own data set of pairs: the file that it would stop at is named, before a run or in it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from basicsr.data.paired_image_dataset import PairedImageDataset

from vqcnir_arch import UserError
from vqcnir_arch.data.basicsr_pairs import broken_pairs
from vqcnir_arch.training.sampling import SampleKey, SeededSamples


def write(path, width=24, height=16):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def make(tmp_path):
    for name in ("0.png", "1.png", "2.jpg"):
        write(tmp_path / "lq" / name)
        write(tmp_path / "gt" / name, 48, 32)

    def dataset(**more):
        options = {
            "name": "pairs", "phase": "train", "scale": 2, "dataroot_lq": str(tmp_path / "lq"), "gt_size": 32,
            "dataroot_gt": str(tmp_path / "gt"), "io_backend": {"type": "disk"}, "use_hflip": True, "use_rot": True,
        }  # fmt: skip
        return PairedImageDataset({**options, **more})

    return dataset


def test_whole_pairs(make, tmp_path):
    assert broken_pairs(make()) == []
    with open(tmp_path / "lq/1.png", "ab") as file:
        file.write(b"a comment that some cameras leave")
    assert broken_pairs(make()) == []
    write(tmp_path / "gt/1.png", 50, 33)  # a validation crops it, as BasicSR does
    assert broken_pairs(make(phase="val")) == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("arrange", "expected"),
    [
        (lambda root: cut(root / "lq/1.png"), "lq/1.png' cannot be read: truncated or not an image"),
        (lambda root: cut(root / "gt/2.jpg"), "gt/2.jpg' cannot be read: truncated or not an image"),
        (lambda root: (root / "gt/0.png").write_text("<html>"), "gt/0.png' cannot be read: no image's header"),
        (lambda root: write(root / "gt/1.png", 49, 32), "gt/1.png' is 49 x 32, '.*lq/1.png' 24 x 16: expected 48 x 32"),
        (lambda root: [write(root / "lq/1.png", 10, 10), write(root / "gt/1.png", 20, 20)], "smaller than gt_size 32"),
    ],
)  # fmt: skip
def test_broken_pairs(make, tmp_path, arrange, expected):
    arrange(tmp_path)
    (line,) = broken_pairs(make())
    with pytest.raises(UserError, match=expected):
        raise UserError(line)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0.png (32,48,3)\r\n\r\n", "gt/' is a folder, expected an image: meta_info_file '.*' has an empty line"),
        ("\ufeff0.png (32,48,3)\n", "begins with a byte order mark"),
        ("7.png (32,48,3)\n8.png (32,48,3)\n", r"gt/7.png' cannot be read: No such file or directory \(and 1 more\)"),
    ],
)
def test_lists(make, tmp_path, content, expected):
    (tmp_path / "meta.txt").write_bytes(content.encode())
    (line,) = broken_pairs(make(meta_info_file=str(tmp_path / "meta.txt")))
    with pytest.raises(UserError, match=expected):
        raise UserError(line)


def test_a_file_that_breaks_in_a_run(make, tmp_path):
    samples = SeededSamples(make())
    broken = next(i for i, pair in enumerate(samples.paths) if pair["lq_path"].endswith("1.png"))
    assert samples[broken]["lq"].shape == (3, 16, 16)
    cut(tmp_path / "lq/1.png")
    for key in (broken, SampleKey(broken, 0, 0, 0)):
        with pytest.raises(UserError, match=r"PairedImageDataset 'pairs': sample \d \(.*lq/1.png'.*\) cannot be read"):
            samples[key]
