"""`vqcnir data check` on made-up trees, against a table of a few images."""

import json
import shutil

import cv2
import numpy as np
import pytest
import skimage.data
from odd_images import READABLE, REFUSED, write_odd

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch
from vqcnir_arch.data import catalogue
from vqcnir_arch.data.catalogue import DATA_SETS, DataSet, SetPart

SIZE = (48, 32)
SMALL = {
    "LOL-Blur": DataSet(
        "datasets/LOLBlur",
        (
            SetPart("train", 4, ("train/low_blur_noise", "train/high_sharp_scaled"), ("train/low_blur",), 2, (SIZE,)),
            SetPart("test", 2, ("test/low_blur_noise", "test/high_sharp_scaled"), (), 1, (SIZE,)),
        ),
        "a made-up page",
    ),
    "DIV2K": DataSet("datasets/DIV2K", (SetPart("train", 5, ("DIV2K_train_HR",), numbers=range(1, 6)),), "a page"),
    "Real-LOL-Blur": DataSet("x", (SetPart("test", 2, among=("blurred ones", r"blur_\d+$", 1)),), "a page"),
}


def picture(path, seed, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    cv2.imwrite(str(path), noise)
    return path


@pytest.fixture(autouse=True)
def small_table(monkeypatch):
    monkeypatch.setattr(catalogue, "DATA_SETS", SMALL)


@pytest.fixture
def root(tmp_path):
    """A complete data set of the small table."""
    seed = 0
    for split, frames in (
        ("train", ("0000/0030", "0000/0031", "0001/0030", "0001/0031")),
        ("test", ("0002/0030", "0002/0031")),
    ):
        for version in ("low_blur_noise", "high_sharp_scaled"):
            for frame in frames:
                picture(tmp_path / f"LOLBlur/{split}/{version}/{frame}.png", seed := seed + 1)
    return tmp_path / "LOLBlur"


@pytest.fixture
def check(root, capsys):
    """Return a function that runs the command and gives its exit status and what it printed."""

    def run(*more, name="LOL-Blur", folder=root):
        status = 0
        try:
            dispatch(["data", "check", name, str(folder), "--workers", "2", *more])
        except SystemExit as stop:
            status = stop.code
        return status, capsys.readouterr().out

    return run


def test_complete(check):
    status, text = check()
    assert status == 0 and text.endswith("LOL-Blur: complete, nothing wrong\n")
    assert "train/high_sharp_scaled       4          4  48 x 32" in text
    status, text = check("--quick")
    assert status == 0 and "only headers were read" in text
    assert check(name="lolblur")[0] == 0


def test_subset_is_no_mistake(root, check, tmp_path):
    shutil.rmtree(root / "test")
    for version in ("low_blur_noise", "high_sharp_scaled"):
        shutil.rmtree(root / f"train/{version}/0001")
    status, text = check("--json", str(tmp_path / "report.json"))
    assert status == 0 and text.endswith("LOL-Blur: a subset, nothing wrong with it\n")
    assert "incomplete: train/low_blur_noise: 2 of 4 images, 1 of 2 videos" in text
    assert "incomplete: test: not there: test/low_blur_noise, test/high_sharp_scaled" in text
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"][0] == {
        "part": "train", "folder": "train/low_blur_noise", "images": 2, "published": 4, "sizes": {"48 x 32": 2}
    }  # fmt: skip
    assert {finding["kind"] for finding in report["findings"]} == {"incomplete"}


def test_too_many_and_unpaired(root, check):
    picture(root / "train/low_blur_noise/0001/0032.png", 50)
    status, text = check()
    assert status == 1 and text.endswith("2 things wrong\n")
    assert "wrong: train/low_blur_noise: 5 images, 4 were published" in text
    assert "5 inputs and 4 ground truths do not pair: 1 without ground truth (0001/0032)" in text


def test_missing_partner_folder(root, check):
    (root / "test/high_sharp_scaled").rename(root / "test/high_sharp_scald")
    status, text = check()
    assert status == 1 and "does not exist (did you mean 'high_sharp_scald'?)" in text


def test_sizes(root, check):
    picture(root / "train/low_blur_noise/0001/0030.png", 50, (48, 31))
    status, text = check("--quick")
    assert status == 1 and "1 image is not 48 x 32: 0001/0030" in text
    assert "train/high_sharp_scaled: 1 image is of another size than in train/low_blur_noise: 0001/0030" in text
    status, text = check("--size", "64x32")
    assert status == 1 and "test/low_blur_noise: 2 images are not 64 x 32: 0002/0030, 0002/0031" in text


def test_duplicates(root, check):
    sharp = root / "train/high_sharp_scaled"
    twin = cv2.imread(str(sharp / "0000/0031.png"))
    cv2.imwrite(str(root / "test/high_sharp_scaled/0002/0031.png"), twin, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    shutil.copy(sharp / "0001/0030.png", root / "train/low_blur_noise/0001/0030.png")
    status, text = check()
    assert status == 1 and text.endswith("2 things wrong\n")
    same = "train/high_sharp_scaled/0000/0031 = test/high_sharp_scaled/0002/0031"
    assert f"wrong: train and test: 1 image is in both: {same}" in text
    assert "train/high_sharp_scaled: 1 image is the same as in train/low_blur_noise: 0001/0030" in text
    assert check("--quick")[0] == 0  # which says that it does not look for them


def test_twice_in_one_folder_is_a_remark(root, check):
    for version in ("low_blur_noise", "high_sharp_scaled"):
        folder = root / "train" / version / "0000"
        shutil.copy(folder / "0030.png", folder / "0031.png")
    status, text = check()
    assert status == 0 and "note: train/low_blur_noise: 2 images are there more than once: 0000/0030, 0000/0031" in text


def test_optional_folder_is_checked_too(root, check):
    picture(root / "train/low_blur/0000/0030.png", 60)
    status, text = check()
    assert status == 1 and "4 inputs and 1 ground truths do not pair" in text


def test_numbers(tmp_path, check):
    for number in (1, 2, 5):
        picture(tmp_path / f"DIV2K/DIV2K_train_HR/000{number}.png", number)
    status, text = check(name="DIV2K", folder=tmp_path / "DIV2K")
    assert status == 0 and "incomplete: DIV2K_train_HR: missing numbers: 3, 4" in text
    picture(tmp_path / "DIV2K/DIV2K_train_HR/0806.png", 6)
    status, text = check(name="DIV2K", folder=tmp_path / "DIV2K")
    assert status == 1 and "1 name does not end in a number from 1 to 5: 0806" in text


def test_composition(tmp_path, check):
    for number in (1, 2):
        picture(tmp_path / f"Real/075_blur_{number}.png", number)
    status, text = check(name="Real-LOL-Blur", folder=tmp_path / "Real")
    assert status == 0 and "2 of the names are those of blurred ones, 1 were published" in text


@pytest.mark.parametrize("name", REFUSED)
def test_broken_images_are_named(name, root, check):
    (root / "train/low_blur_noise/0000/0031.png").unlink()
    path = write_odd(name, skimage.data.chelsea()[:32, :48].copy(), root / "train/low_blur_noise/0000/0031")
    status, text = check()
    assert status == 1 and f"wrong: train/low_blur_noise: image '{path}' cannot be read" in text
    assert text.endswith("1 thing wrong\n")


@pytest.mark.parametrize("name", [name for name in READABLE if name != "1x1"])
@pytest.mark.parametrize("quick", [True, False])
def test_odd_images_are_remarked_upon(name, quick, root, check):
    (root / "train/low_blur_noise/0000/0031.png").unlink()
    write_odd(name, skimage.data.chelsea()[:32, :48].copy(), root / "train/low_blur_noise/0000/0031")
    status, text = check(*["--quick"] * quick)
    assert status == 0
    kind = name.removesuffix(" JPEG").removesuffix(" PNG")
    if kind in ("grey", "16 bit", "alpha", "CMYK", "EXIF-rotated"):
        assert f"1 image is {kind}, read as 8-bit RGB: 0000/0031" in text


def test_refusals(root, tmp_path, check):
    with pytest.raises(UserError, match=r"no data set 'LOL-Blurr' \(did you mean 'LOL-Blur'\?\)"):
        check(name="LOL-Blurr")
    layout = "LOL-Blur is laid out as train/low_blur_noise, train/high_sharp_scaled, test/low_blur_noise"
    with pytest.raises(UserError, match=rf"has LOLBlur; {layout}.* \(did you mean '{root}'\?\)"):
        check(folder=tmp_path)
    with pytest.raises(
        UserError, match=rf"has high_sharp_scaled, low_blur_noise; {layout}.* \(did you mean '{root}'\?\)"
    ):
        check(folder=root / "train")
    with pytest.raises(UserError, match=r"LOLBlurr' does not exist; .* \(did you mean 'LOLBlur'\?\)"):
        check(folder=tmp_path / "LOLBlurr")
    with pytest.raises(UserError, match=r"report '/no/where.json' cannot be written: No such file"):
        check("--json", "/no/where.json")


def test_published_counts():
    """The table itself, against the papers' figures."""
    counts = {name: [part.count for part in entry.parts] for name, entry in DATA_SETS.items()}
    assert counts == {
        "LOL-Blur": [10_200, 1_800], "Real-LOL-Blur": [482 + 872], "RealBlur": [3_758, 980], "DIV2K": [800, 100],
        "Flickr2K": [2_650], "FFHQ": [70_000], "CelebA-Test": [3_000], "CelebChild-Test": [180], "Urban100": [100],
        "BSDS100": [100], "Manga109": [109],
    }  # fmt: skip
    for entry in DATA_SETS.values():
        assert all(part.numbers is None or len(part.numbers) == part.count for part in entry.parts)
        assert all(part.sizes == ((1120, 640),) for part in entry.parts if part.videos)
