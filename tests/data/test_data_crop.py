"""`vqcnir data crop`: sub-images that pair and together show the whole image."""

import numpy as np
import pytest
import skimage.data
from conftest import write_night_pairs
from odd_images import READABLE, REFUSED, write_odd
from PIL import Image

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch
from vqcnir_arch.data import LOLBlurDataset
from vqcnir_arch.data.commands.crop import corners, sub_images

PAIRS = ("--folders", "low_blur_noise", "high_sharp_scaled")


def read(path):
    return np.array(Image.open(path))


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1120, [0, 240, 480, 640]), (640, [0, 160]), (480, [0]), (481, [0, 1]), (720, [0, 240]), (300, [0])],
)
def test_corners(length, expected):
    """Those of BasicSR's documented setting: 480 pixels in steps of 240, the last one at the border."""
    assert corners(length, 480, 240) == expected


def test_every_pixel_is_in_a_crop():
    image = np.arange(37 * 53).reshape(37, 53, 1)
    pieces = sub_images(image, 16, 16)
    assert all(piece.shape == (16, 16, 1) for piece in pieces)
    assert set(np.concatenate([piece.ravel() for piece in pieces])) == set(image.ravel())


def test_pairs_and_names(tmp_path):
    write_night_pairs(tmp_path / "LOLBlur", "train")
    out = tmp_path / "LOLBlur_sub/train"
    dispatch(
        ["data", "crop", str(tmp_path / "LOLBlur/train"), *PAIRS, "--out", str(out), "--size", "32", "--step", "20"]
    )
    data = LOLBlurDataset({"name": "sub", "phase": "train", "dataroot": str(out.parent), "gt_size": 32})
    assert len(data) == 4 * 3 * 2
    assert data.names[:7] == [f"0000/0030_s00{n}" for n in range(1, 7)] + ["0000/0031_s001"]
    for folder in PAIRS[1:]:
        whole = read(tmp_path / f"LOLBlur/train/{folder}/0001/0031.png")
        np.testing.assert_array_equal(read(out / folder / "0001/0031_s005.png"), whole[16:48, 20:52])
        np.testing.assert_array_equal(read(out / folder / "0001/0031_s006.png"), whole[16:48, 32:64])


@pytest.mark.parametrize("name", READABLE)
def test_odd_images(name, tmp_path):
    photo = skimage.data.chelsea()[:64, :96].copy()
    write_odd(name, photo, tmp_path / "odd/a/b")
    dispatch(["data", "crop", str(tmp_path / "odd"), "--out", str(tmp_path / "sub"), "--size", "64", "--step", "32"])
    crops = sorted(path.name for path in (tmp_path / "sub/a").iterdir())
    assert crops == (["b_s001.png"] if name == "1x1" else ["b_s001.png", "b_s002.png"])
    if name in ("alpha", "16 bit", "EXIF-rotated PNG"):
        np.testing.assert_array_equal(read(tmp_path / "sub/a/b_s002.png"), photo[:, 32:])


@pytest.mark.parametrize("name", REFUSED)
def test_broken_image_leaves_nothing(name, tmp_path):
    photo = skimage.data.chelsea()[:64, :96].copy()
    write_odd("grey", photo, tmp_path / "odd/a")
    path = write_odd(name, photo, tmp_path / "odd/b")
    with pytest.raises(UserError, match=f"image '{path}' cannot be read"):
        dispatch(["data", "crop", str(tmp_path / "odd"), "--out", str(tmp_path / "sub")])
    assert [entry.name for entry in tmp_path.iterdir()] == ["odd"]


def test_refusals(tmp_path):
    write_night_pairs(tmp_path, "train")
    source = str(tmp_path / "train")

    def refusal(*arguments):
        with pytest.raises(UserError) as caught:
            dispatch(["data", "crop", *arguments])
        return str(caught.value)

    assert "(did you mean 'train'?)" in refusal(source[:-1], "--out", str(tmp_path / "sub"))
    assert "train' exists already" in refusal(source, *PAIRS, "--out", source)
    assert "is inside" in refusal(source, "--out", f"{source}/sub")
    assert "(did you mean 'low_blur'?)" in refusal(source, "--folders", "low_blurr", "--out", str(tmp_path / "sub"))
    path = tmp_path / "train/low_blur_noise/0001/0030.png"
    Image.open(path).crop((0, 0, 30, 30)).save(path)
    assert "sizes of a pair differ" in refusal(source, *PAIRS, "--out", str(tmp_path / "sub"))
    path.unlink()
    assert "1 without input (0001/0030)" in refusal(source, *PAIRS, "--out", str(tmp_path / "sub"))
    assert not (tmp_path / "sub").exists()
    with pytest.raises(SystemExit):
        dispatch(["data", "crop", source, "--out", "x", "--size", "0"])
