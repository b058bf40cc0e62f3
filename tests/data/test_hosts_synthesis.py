"""The hosts' test sets as `vqcnir data synth` writes them, and the data sets in validation, which make the same."""

import cv2
import numpy as np
import pytest
import skimage.data
from basicsr.data import build_dataset

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch

SHARP = {"Set/a": "chelsea", "Set/b": "coffee", "c": "astronaut"}


@pytest.fixture(scope="module")
def sharp(tmp_path_factory):
    root = tmp_path_factory.mktemp("sharp")
    for name, photo in SHARP.items():
        image = cv2.resize(getattr(skimage.data, photo)()[:300, :300], (101, 101), interpolation=cv2.INTER_AREA)
        (root / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(root / f"{name}.png"), image[..., ::-1])
    return root


def synth(sharp, out, recipe, *flags):
    dispatch(["data", "synth", str(sharp), str(out), "--recipe", recipe, "--workers", "0", *flags])


def levels(tensor):
    return (tensor.permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("recipe", "flags", "options"),
    [
        ("bsrgan", ["--scale", "2"], {"type": "BSRGANDataset", "scale": 2}),
        ("bsrgan_plus", ["--scale", "2"], {"type": "BSRGANDataset", "scale": 2, "variant": "bsrgan_plus"}),
        ("bsrgan_plus", ["--seed", "7"], {"type": "BSRGANDataset", "scale": 4, "variant": "bsrgan_plus", "seed": 7}),
        (
            "bsrgan_plus",
            ["--sharpen-gt", "true"],
            {"type": "BSRGANDataset", "scale": 4, "variant": "bsrgan_plus", "sharpen_gt": True},
        ),
        (
            "codeformer",
            ["--gt-size", "96"],
            {"type": "FaceDegradationDataset", "setting": "codeformer_stage2", "gt_size": 96},
        ),
        ("daefr", ["--gt-size", "101"], {"type": "FaceDegradationDataset", "setting": "daefr", "gt_size": 101}),
    ],
)
def test_validation_shows_what_synth_writes(sharp, tmp_path, recipe, flags, options):
    synth(sharp, tmp_path, recipe, *flags)
    data = build_dataset({"name": "val", "phase": "val", "dataroot": str(sharp), **options})
    assert sorted(data.names) == sorted(SHARP)
    for sample in data:
        for key in ("lq", "gt"):
            written = cv2.imread(str(tmp_path / key / f"{sample['name']}.png"))
            np.testing.assert_array_equal(written, levels(sample[key]))


def test_written_sets_pair(sharp, tmp_path):
    """BasicSR's own paired data set reads what was written."""
    synth(sharp / "Set", tmp_path, "bsrgan_plus", "--scale", "4")
    data = build_dataset(
        {
            "name": "test",
            "type": "PairedImageDataset",
            "dataroot_gt": str(tmp_path / "gt"),
            "dataroot_lq": str(tmp_path / "lq"),
            "io_backend": {"type": "disk"},
            "scale": 4,
            "phase": "test",
        }
    )
    assert [tuple(data[i][key].shape) for i in range(2) for key in ("gt", "lq")] == 2 * [(3, 100, 100), (3, 25, 25)]


def test_refusals(sharp, tmp_path, capsys):
    with pytest.raises(UserError, match="scale: input should be 2 or 4, got 3"):
        synth(sharp, tmp_path / "a", "bsrgan", "--scale", "3")
    with pytest.raises(UserError, match="3 photographs could not be used"):
        synth(sharp, tmp_path / "b", "codeformer")
    assert "a face is expected as a square of 512 pixels or more, got 101 x 101" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"no recipe 'bsrgan\+' \(did you mean 'bsrgan'\?\)"):
        synth(sharp, tmp_path / "c", "bsrgan+")
