"""LMDBs in the place of folders: written by the command, read by the data sets."""

import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import skimage.data
import torch
from basicsr.utils import FileClient
from conftest import write_night_pairs
from odd_images import READABLE, REFUSED, write_odd
from PIL import Image
from torch.utils.data import DataLoader

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch
from vqcnir_arch.data import LOLBlurDataset, SharpImageDataset
from vqcnir_arch.data.storage import lmdb_client

PAIRS = ("--folders", "low_blur_noise", "high_sharp_scaled")
LMDB = {"io_backend": {"type": "lmdb"}}


def night(root, phase="test", **more):
    return LOLBlurDataset({"name": "Night", "dataroot": str(root), "phase": phase, **more})


@pytest.fixture
def root(tmp_path):
    """A small LOL-Blur; the cache of open databases is emptied, so that a test may break its own."""
    write_night_pairs(tmp_path / "LOLBlur", "test")
    yield tmp_path / "LOLBlur"
    lmdb_client.cache_clear()


def write_lmdbs(root):
    dispatch(["data", "lmdb", str(root / "test"), *PAIRS])


def refusal(function, *arguments, **keywords):
    with pytest.raises(UserError) as caught:
        function(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_same_samples_as_from_folders(root):
    write_lmdbs(root)
    folders, databases = night(root), night(root, **LMDB)
    assert databases.names == folders.names == ["0000/0030", "0000/0031", "0001/0030", "0001/0031"]
    for one, two in zip(folders, databases, strict=True):
        assert one["name"] == two["name"]
        assert torch.equal(one["lq"], two["lq"]) and torch.equal(one["gt"], two["gt"])
    assert two["lq_path"] == str(root / "test/low_blur_noise.lmdb/0001/0031.png")
    assert night(root, every_nth=2, gt_folder=None, **LMDB).names == ["0000/0030", "0001/0030"]
    client = lmdb_client(root / "test/low_blur_noise.lmdb")  # opened once for all data sets
    assert isinstance(client, FileClient) and lmdb_client.cache_info().currsize == 2


def test_basicsr_reads_them(root):
    from basicsr.data.paired_image_dataset import PairedImageDataset

    write_lmdbs(root)
    opt = {"phase": "val", "scale": 1, "io_backend": {"type": "lmdb"}}
    opt |= {f"dataroot_{k}": str(root / f"test/{n}.lmdb") for k, n in (("lq", PAIRS[1]), ("gt", PAIRS[2]))}
    for one, two in zip(PairedImageDataset(opt), night(root), strict=True):
        assert torch.equal(one["gt"], two["gt"]) and one["lq_path"] == two["name"]


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_loader_workers(root, method):
    write_lmdbs(root)
    expected, data = night(root), night(root, **LMDB)
    assert torch.equal(data[0]["lq"], expected[0]["lq"])  # open in this process, too
    loader = DataLoader(data, num_workers=2, multiprocessing_context=method)
    for one, two in zip(loader, expected, strict=True):
        assert torch.equal(one["lq"][0], two["lq"]) and torch.equal(one["gt"][0], two["gt"])


def test_sharp_images(tmp_path):
    for folder in ("DIV2K", "Flickr2K"):
        write_odd("CMYK", skimage.data.coffee()[:40, :60].copy(), tmp_path / folder / "a/b.c")
        dispatch(["data", "lmdb", str(tmp_path / folder)])
    opt = {"name": "x", "phase": "val", "dataroot": [str(tmp_path / "DIV2K"), str(tmp_path / "Flickr2K")]}
    one, two = SharpImageDataset(opt), SharpImageDataset({**opt, **LMDB})
    assert one.names == two.names == ["DIV2K/a/b.c", "Flickr2K/a/b.c"]
    assert torch.equal(one[1]["gt"], two[1]["gt"])
    assert two[1]["gt_path"] == str(tmp_path / "Flickr2K.lmdb/a/b.c.png")


def test_elsewhere(root, tmp_path):
    dispatch(["data", "lmdb", str(root / "test"), *PAIRS, "--out", str(tmp_path / "fast/test"), "--workers", "3"])
    assert torch.equal(night(tmp_path / "fast", **LMDB)[3]["gt"], night(root)[3]["gt"])


@pytest.mark.parametrize("name", READABLE)
def test_odd_images_go_in_as_they_are_read(name, tmp_path):
    path = write_odd(name, skimage.data.chelsea()[:64, :96].copy(), tmp_path / "odd/a")
    dispatch(["data", "lmdb", str(path.parent)])
    opt = {"name": "x", "phase": "val", "dataroot": str(path.parent)}
    assert torch.equal(SharpImageDataset({**opt, **LMDB})[0]["gt"], SharpImageDataset(opt)[0]["gt"])


@pytest.mark.parametrize("name", REFUSED)
def test_broken_image_leaves_nothing(name, root):
    path = write_odd(name, skimage.data.chelsea()[:64, :96].copy(), root / "test/low_blur_noise/0001/broken")
    shutil.copy(root / "test/high_sharp_scaled/0001/0030.png", root / "test/high_sharp_scaled/0001/broken.png")
    assert f"image '{path}' cannot be read" in refusal(write_lmdbs, root)
    assert not list(root.rglob("*.lmdb"))


def test_refusals(root, tmp_path):
    assert f"make it with: vqcnir data lmdb {root / 'test/low_blur_noise'}" in refusal(night, root, **LMDB)
    write_lmdbs(root)
    assert "low_blur_noise.lmdb' exists already" in refusal(write_lmdbs, root)
    assert "(did you mean 'low_blur_noise.lmdb'?)" in refusal(night, root, lq_folder="low_blur_nois", **LMDB)
    (root / "test/high_sharp_scaled/0001/0031.png").unlink()
    assert "do not pair: 1 without ground truth (0001/0031)" in refusal(
        dispatch, ["data", "lmdb", f"{root}/test", *PAIRS]
    )
    Image.new("RGB", (8, 8)).save(root / "Nächte.png")
    assert "keys are ASCII" in refusal(dispatch, ["data", "lmdb", str(root), "--out", str(tmp_path)])
    (tmp_path / "file").write_text("")
    arguments = ["data", "lmdb", str(root / "test/low_blur"), "--out", str(tmp_path / "file/x")]
    assert "cannot be written: Not a directory" in refusal(dispatch, arguments)


def test_broken_databases(root):
    write_lmdbs(root)
    folder = root / "test/low_blur_noise.lmdb"
    meta, data = folder / "meta_info.txt", folder / "data.mdb"
    whole = meta.read_text()
    meta.write_text(whole + "0009/0001.png (48,64,3) 1\n")
    assert "is not whole: 4 images, but 5 in meta_info.txt" in refusal(night, root, **LMDB)
    meta.write_text("nonsense\n")
    assert "expected lines like '0000/0030.png (640,1120,3) 1', got 'nonsense'" in refusal(night, root, **LMDB)
    meta.unlink()
    assert "is no LMDB of BasicSR's layout" in refusal(night, root, **LMDB)
    meta.write_text(whole)
    data.write_bytes(data.read_bytes()[:-4096])  # reading it would end in SIGBUS
    assert "is truncated: data.mdb has" in refusal(night, root, **LMDB)
    data.write_bytes(b"nonsense" * 2000)
    assert "cannot be opened" in refusal(night, root, **LMDB)


def test_key_that_meta_info_alone_has(root):
    write_lmdbs(root)
    meta = root / "test/low_blur_noise.lmdb/meta_info.txt"
    meta.write_text(meta.read_text().replace("0001/0031", "0001/0099"))
    data = night(root, gt_folder=None, **LMDB)
    assert "has no image '0001/0099'" in refusal(data.__getitem__, 3)


def test_killed_run_is_not_taken_for_whole(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(100):
        path = tmp_path / f"noise/{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).resize((640, 480)).save(path)
    code = "import sys; from vqcnir_arch.cli import dispatch; dispatch(sys.argv[1:])"
    arguments = [sys.executable, "-c", code, "data", "lmdb", str(tmp_path / "noise"), "--workers", "1"]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
        part = tmp_path / ".noise.part.lmdb"
        while not (part / "data.mdb").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert part.is_dir() and not (tmp_path / "noise.lmdb").exists()
    assert ".noise.part.lmdb' is from a run that was killed" in refusal(dispatch, arguments[3:])
    shutil.rmtree(part)
    dispatch(arguments[3:])
    assert len(SharpImageDataset({"name": "x", "phase": "val", "dataroot": str(tmp_path / "noise"), **LMDB})) == 100
