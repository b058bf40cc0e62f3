"""`vqcnir restore` as a user runs it, and its Python side."""

import errno
import os

import numpy as np
import pytest
import torch
from PIL import Image

import vqcnir_arch
from vqcnir_arch.atomic_files import temporary_of
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError


@pytest.fixture
def weights(make_tiny, tmp_path):
    net = make_tiny("VQCNIR").eval()
    torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
    return tmp_path / "net.pth"


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for name, size in {"a.png": (16, 24), "b.png": (16, 24), "sub/c.png": (9, 7), "sub/d.png": (16, 24)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    return folder


def restore(weights, out, *arguments):
    dispatch(["restore", *map(str, arguments), "-w", str(weights), "-o", str(out), "--quiet", "--device", "cpu"])


def written(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("batch", [1, 3])
def test_folder(weights, photos, tmp_path, capsys, batch):
    restore(weights, tmp_path / "out", photos, "--batch", batch)
    assert written(tmp_path / "out") == ["a.png", "b.png", "sub/c.png", "sub/d.png"]
    assert "4 restored" in capsys.readouterr().out
    net = vqcnir_arch.load_network(weights)
    for name in written(photos):
        image = torch.from_numpy(np.array(Image.open(photos / name))).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            expected = net(image)[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
        result = np.asarray(Image.open(tmp_path / "out" / name)).astype(int)
        assert abs(result - expected).max() < 0.51


def test_names(weights, photos, tmp_path):
    restore(weights, tmp_path / "one", photos / "a.png", "--suffix", "_bright", "--format", "jpg", "--compare")
    assert written(tmp_path / "one") == ["a_bright.jpg", "a_bright_compare.png"]
    assert Image.open(tmp_path / "one/a_bright_compare.png").size == (48, 16)
    restore(weights, tmp_path / "glob", photos / "**" / "[cd].png")
    assert written(tmp_path / "glob") == ["sub/c.png", "sub/d.png"]


@pytest.mark.parametrize("how", [("--tile", "8"), ("--memory", "auto")], ids=str)
def test_strips_give_the_same_photograph(weights, photos, tmp_path, capsys, monkeypatch, how):
    restore(weights, tmp_path / "whole", photos)
    if how[0] == "--memory":
        monkeypatch.setattr("vqcnir_arch.restoration.tiling.fits_whole", lambda *_: False)
        how = ()
    restore(weights, tmp_path / "strips", photos, *how)
    for name in written(tmp_path / "whole"):
        whole, strips = (np.asarray(Image.open(tmp_path / f / name)).astype(int) for f in ("whole", "strips"))
        assert abs(whole - strips).max() <= 1


def test_limit_that_is_too_low(weights, photos, tmp_path, capsys):
    with pytest.raises(SystemExit):
        restore(weights, tmp_path / "out", photos / "a.png", "--memory", "0.1")
    assert "need a limit of at least" in capsys.readouterr().err


def test_one_bad_file_stops_nothing(weights, photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes(b"no image")
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:200])
    with pytest.raises(SystemExit) as caught:
        restore(weights, tmp_path / "out", photos)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert "broken.png" in shown.err and "cut.png" in shown.err and "4 restored" in shown.out
    assert len(written(tmp_path / "out")) == 4


def test_skip_existing(weights, photos, tmp_path, capsys):
    restore(weights, tmp_path / "out", photos / "a.png")
    (tmp_path / "out" / "a.png").write_bytes(b"mine")
    half = temporary_of(tmp_path / "out" / "b.png")
    half.write_bytes(b"half")
    restore(weights, tmp_path / "out", photos, "--skip-existing")
    assert "3 restored" in capsys.readouterr().out
    assert (tmp_path / "out" / "a.png").read_bytes() == b"mine"
    assert not half.exists()


def test_refused_before_anything_runs(weights, photos, make_tiny, tmp_path):
    Image.open(photos / "a.png").save(photos / "a.jpg")
    with pytest.raises(UserError, match=r"a.jpg' and '.*a.png' would both be written"):
        restore(weights, tmp_path / "out", photos, "--format", "png")
    with pytest.raises(UserError, match="would be overwritten by its result"):
        restore(weights, photos, photos)
    with pytest.raises(UserError, match=r"phots' does not exist \(did you mean 'photos'"):
        restore(weights, tmp_path / "out", tmp_path / "phots")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no images or videos"):
        restore(weights, tmp_path / "out", tmp_path / "empty")
    with pytest.raises(UserError, match="no image or video matches"):
        restore(weights, tmp_path / "out", photos / "*.bmp")
    with pytest.raises(UserError, match="device 'tpu' cannot be used"):
        dispatch(["restore", str(photos), "-w", str(weights), "-o", str(tmp_path / "out"), "--device", "tpu"])
    torch.save(make_tiny("VQGANPrior").state_dict(), tmp_path / "prior.pth")
    with pytest.raises(UserError, match="is a prior"):
        restore(tmp_path / "prior.pth", tmp_path / "out", photos)
    assert not (tmp_path / "out").exists()


def test_failed_write_is_counted(weights, photos, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_bytes(b"a file where the folder should be")
    with pytest.raises(UserError, match=r"folder '.*file' cannot be made: File exists"):
        restore(weights, tmp_path / "file", photos / "a.png")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as caught:
        restore(weights, tmp_path / "out", photos)
    assert caught.value.code == 4
    assert "c.png' cannot be saved: No space left" in capsys.readouterr().err
    assert written(tmp_path / "out") == []


def test_python_side(make_tiny):
    net = make_tiny("VQCNIR").eval()
    image = np.random.default_rng(0).random((15, 18, 3), dtype=np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(image).permute(2, 0, 1)[None])[0].clamp(0, 1)
    torch.testing.assert_close(vqcnir_arch.restore(net, torch.from_numpy(image).permute(2, 0, 1)), expected)
    np.testing.assert_allclose(vqcnir_arch.restore(net, image), expected.permute(1, 2, 0), atol=1e-6)
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535)):
        result = vqcnir_arch.restore(net, np.round(image * top).astype(dtype))
        assert result.dtype == dtype and result.shape == image.shape
    assert [r.shape for r in vqcnir_arch.restore(net, [image, image[:8]])] == [(15, 18, 3), (8, 18, 3)]
    assert vqcnir_arch.restore(net, image, precision="bf16").dtype == np.float32
    for wrong in (image[..., 0], image.astype(np.int32), np.full_like(image, np.nan)):
        with pytest.raises(UserError):
            vqcnir_arch.restore(net, wrong)
    with pytest.raises(UserError, match=r"precision 'bf1' is unknown \(did you mean 'bf16'"):
        vqcnir_arch.restore(net, image, precision="bf1")


def test_video(weights, tmp_path):
    av = pytest.importorskip("av", reason="the extra [video] is not installed")
    from vqcnir_arch.restoration.video import restore_video

    frames = np.repeat(np.arange(40, 200, 32, dtype=np.uint8), 3 * 32 * 48).reshape(5, 32, 48, 3)
    with av.open(str(tmp_path / "in.mp4"), "w") as writer:
        stream = writer.add_stream("libx264", rate=10, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for frame in frames:
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        writer.mux(stream.encode())
    assert restore_video(tmp_path / "in.mp4", tmp_path / "same.mp4", lambda frame: frame) == 5
    with av.open(str(tmp_path / "same.mp4")) as reader:
        decoded = [frame.to_ndarray(format="rgb24") for frame in reader.decode(video=0)]
        assert reader.streams.video[0].average_rate == 10
    assert abs(np.stack(decoded).astype(int) - frames).max() < 6

    restore(weights, tmp_path / "out", tmp_path / "in.mp4")
    assert written(tmp_path / "out") == ["in.mp4"]
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(SystemExit) as caught:
        restore(weights, tmp_path / "out", tmp_path / "broken.mp4")
    assert caught.value.code == 1
    assert written(tmp_path / "out") == ["in.mp4"]
