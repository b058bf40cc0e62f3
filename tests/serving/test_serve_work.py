"""What `vqcnir serve` does behind its page: checkpoints by name, limits, one line for every bad photo."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from conftest import scene
from PIL import ExifTags, Image

from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.packaged import DEFAULT
from vqcnir_arch.restoration import restore
from vqcnir_arch.restoration.attention_time import PassTime
from vqcnir_arch.restoration.results import is_result
from vqcnir_arch.restoration.tiling import GB, used_memory
from vqcnir_arch.serving.command import parse
from vqcnir_arch.serving.example import example_photo
from vqcnir_arch.serving.offered import Networks, find_checkpoints, short_names
from vqcnir_arch.serving.passes import stopped_after
from vqcnir_arch.serving.sizes import size_in_time
from vqcnir_arch.serving.work import Limits, RestorationService

LIMITS = Limits(megapixels=0.1, megabytes=1, seconds=60, memory=100)


@pytest.fixture
def nets(make_tiny, tmp_path):
    """Two restoration checkpoints, a prior and a text file in one folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("one", "two"):
        torch.save({"params": make_tiny("VQCNIR").state_dict()}, folder / f"{name}.pth")
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, folder / "prior.pth")
    (folder / "notes.txt").write_text("nothing")
    return folder


def service(nets, tmp_path, limits=LIMITS):
    folder = tmp_path / "page"
    folder.mkdir(exist_ok=True)
    paths = {name: nets / name for name in ("one.pth", "two.pth")}
    return RestorationService(Networks(paths, torch.device("cpu")), limits, folder)


def photo(path, width=56, height=40):
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), scene("astronaut", width, height)[..., ::-1])
    return path


def refused(shop, path, checkpoint="one.pth"):
    with pytest.raises(UserError) as caught:
        shop.restore(path, checkpoint)
    message = str(caught.value)
    assert "\n" not in message and str(path.parent) not in message
    return message


def test_a_folder_offers_what_restores_and_says_what_it_leaves_out(nets, capsys):
    assert find_checkpoints([str(nets), str(nets / "one.pth")]) == {n: nets / n for n in ("one.pth", "two.pth")}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "prior.pth" in said[0] and "expected stage II" in said[0]


def test_bad_checkpoints_are_refused_at_the_start(nets, tmp_path):
    for given, words in (
        (nets / "prior.pth", "is a prior"), (nets / "on.pth", "did you mean 'one.pth'"),
        (nets / "notes.txt", "is a text file"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            find_checkpoints([str(given)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no checkpoint that restores"):
        find_checkpoints([str(tmp_path / "empty")])


def test_equal_names_are_told_apart_by_their_folders_alone():
    paths = [Path("/home/me/a/models/net.pth"), Path("/home/me/b/models/net.pth")]
    assert list(short_names(paths)) == ["a/models/net.pth", "b/models/net.pth"]
    assert list(short_names(paths[:1])) == ["net.pth"]


def test_only_offered_checkpoints_can_be_named_and_one_is_kept(nets, tmp_path):
    networks = service(nets, tmp_path).networks
    for name in ("prior.pth", str(nets / "one.pth"), "../models/one.pth", ""):
        with pytest.raises(UserError, match="is not offered"):
            networks.load(name)
    first = networks.load("one.pth")
    assert networks.load("one.pth") is first and networks.load("two.pth") is not first
    (nets / "one.pth").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"'one\.pth' is a text file") as caught:
        networks.load("one.pth")
    assert str(nets) not in str(caught.value)
    assert networks.load("two.pth") is not None


def test_restores_as_the_python_api_and_keeps_the_kind_of_file(nets, tmp_path):
    shop = service(nets, tmp_path)
    path = photo(tmp_path / "uploads/night.png")
    restored = shop.restore(path, "one.pth")
    expected = restore(shop.networks.load("one.pth"), cv2.imread(str(path))[..., ::-1].copy())
    np.testing.assert_array_equal(np.asarray(restored.after), expected)
    np.testing.assert_array_equal(np.asarray(restored.before), cv2.imread(str(path))[..., ::-1])
    assert restored.file.name == "night_restored.png"
    np.testing.assert_array_equal(cv2.imread(str(restored.file))[..., ::-1], expected)
    assert is_result(restored.file)
    assert restored.said.startswith("56 x 40 restored by one.pth in ")
    other = shop.restore(photo(tmp_path / "uploads/other.jpg"), "two.pth")
    assert other.file.name == "other_restored.jpg" and not restored.file.exists()  # only the last one is kept


def test_bad_photos_give_one_line_without_a_path(nets, tmp_path):
    shop = service(nets, tmp_path)
    good = photo(tmp_path / "uploads/good.png")
    broken = tmp_path / "uploads/broken.png"
    broken.write_bytes(good.read_bytes()[:700])
    text = tmp_path / "uploads/text.jpg"
    text.write_text("hello")
    assert "'broken.png' cannot be read" in refused(shop, broken)
    assert refused(shop, text).startswith("image 'text.jpg' cannot be read: not a whole image")
    assert "more than" in refused(shop, photo(tmp_path / "uploads/large.png", 400, 300))
    assert "'three' is not offered" in refused(shop, good, "three")
    assert "cannot be read" in refused(shop, tmp_path / "uploads/gone.png")
    shop.restore(good, "one.pth")  # and goes on


def test_a_photo_that_takes_too_long_is_stopped_between_layers(nets, tmp_path, monkeypatch):
    shop = service(nets, tmp_path, Limits(0.1, 1, seconds=0, memory=100))
    assert "stopped after 0 s" in refused(shop, photo(tmp_path / "uploads/a.png"))
    net = shop.networks.load("one.pth")
    assert not any(module._forward_pre_hooks for module in net.modules())
    clock, started = [0.0], []
    monkeypatch.setattr("vqcnir_arch.serving.passes.time", SimpleNamespace(monotonic=lambda: clock[0]))

    def slow(*_):
        started.append("encoder")
        clock[0] += 10

    net.encoder.register_forward_hook(slow)
    net.before_quant.register_forward_hook(lambda *_: started.append("before_quant"))
    with pytest.raises(UserError, match=r"stopped after 5 s"), stopped_after(5, net):
        net(torch.rand(1, 3, 8, 8))
    assert started == ["encoder"]  # it had started, and did not go on


def test_what_does_not_fit_the_memory_goes_in_strips(nets, tmp_path, monkeypatch):
    path = photo(tmp_path / "uploads/a.png")
    whole = service(nets, tmp_path).restore(path, "one.pth").after
    monkeypatch.setattr("vqcnir_arch.restoration.tiling.fits_whole", lambda *_: False)
    done = []
    shop = service(nets, tmp_path, Limits(0.1, 1, 60, memory=used_memory() / GB + 1))
    strips = shop.restore(path, "one.pth", progress=lambda share, said: done.append(share)).after
    assert np.abs(np.asarray(strips, int) - np.asarray(whole, int)).max() <= 1
    assert done == sorted(done) and done[0] == 0 and done[-2:] == [1, 1] and len(set(done)) > 4
    stopping = service(nets, tmp_path, Limits(0.1, 1, 0, memory=used_memory() / GB + 1))
    assert "stopped after 0 s" in refused(stopping, path)


def test_what_strips_do_not_know_is_restored_at_a_size_that_fits(nets, tmp_path, make_tiny, monkeypatch):
    net = make_tiny("VQCNIR", quantizer={"type": "SinCA", "depth": 1})
    torch.save({"params": net.state_dict()}, nets / "two.pth")
    monkeypatch.setattr(
        "vqcnir_arch.restoration.tiling.fits_whole", lambda _, image, limit: image.numel() <= 3 * 20_000
    )
    shop = service(nets, tmp_path)
    restored = shop.restore(photo(tmp_path / "uploads/a.png", 240, 160), "two.pth")
    assert restored.said.startswith(
        "240 x 160 restored at 167 x 111, as large as time and memory allow, by two.pth in "
    )
    assert restored.after.size == restored.before.size == (167, 111)
    assert cv2.imread(str(restored.file)).shape == (111, 167, 3)
    monkeypatch.setattr("vqcnir_arch.restoration.tiling.fits_whole", lambda *_: False)
    assert "more memory than there is" in refused(shop, photo(tmp_path / "uploads/b.png", 240, 160), "two.pth")


def test_memory_that_runs_out_makes_it_smaller_too(nets, tmp_path, monkeypatch):
    sizes = []

    def short(net, image):
        sizes.append(tuple(image.shape[2:]))
        if image.shape[2] == 160:
            raise torch.OutOfMemoryError("no")
        return image

    monkeypatch.setattr("vqcnir_arch.serving.passes.restore_tensor", short)
    monkeypatch.setattr("vqcnir_arch.serving.passes.layer_calls", lambda net: 1)
    restored = service(nets, tmp_path).restore(photo(tmp_path / "uploads/a.png", 240, 160), "one.pth")
    assert sizes == [(160, 240), (133, 200)] and "restored at 200 x 133, " in restored.said


def test_a_phone_photo_of_12_megapixels_is_made_as_small_as_its_time_asks(nets, tmp_path, monkeypatch):
    """At a second per megapixel and 1 of 2 s it is restored at 1 megapixel; turned as its EXIF says."""
    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(scene("astronaut", 4000, 3000)).save(path, exif=exif)
    monkeypatch.setattr("vqcnir_arch.serving.sizes.pass_time", lambda net: PassTime(1e-6, 0))
    monkeypatch.setattr("vqcnir_arch.serving.passes.restore_tensor", lambda net, image: image)
    monkeypatch.setattr("vqcnir_arch.serving.passes.layer_calls", lambda net: 1)
    shop = service(nets, tmp_path, Limits(megapixels=50, megabytes=50, seconds=2, memory=100))
    restored = shop.restore(path, "one.pth")
    assert restored.said.startswith("3000 x 4000 restored at 866 x 1154, ")
    upright = scene("astronaut", 1154, 866).swapaxes(0, 1)[:, ::-1].astype(int)
    assert np.abs(cv2.imread(str(restored.file))[..., ::-1] - upright).mean() < 3
    assert max(shop.look(path).size) == 2048


def test_time_decides_the_size():
    net = SimpleNamespace(fixed_size=None)
    assert size_in_time(SimpleNamespace(fixed_size=512), (3000, 4000), 1) == (3000, 4000)
    assert size_in_time(net, (256, 256), 1) == (256, 256)  # too small to measure, whatever it takes
    assert PassTime(2, 0).pixels(10) == 5 and PassTime(0, 0.25).pixels(16) == 8
    assert PassTime(3, 0.5).seconds(PassTime(3, 0.5).pixels(7)) == pytest.approx(7)


def test_another_strength_needs_no_second_pass(nets, tmp_path, monkeypatch):
    shop, path = service(nets, tmp_path), photo(tmp_path / "uploads/a.png")
    passes = []
    shop.networks.load("one.pth").register_forward_hook(lambda *_: passes.append(1))
    got = {strength: np.asarray(shop.restore(path, "one.pth", strength).after, int) for strength in (1, 0, 0.5)}
    count = len(passes)
    np.testing.assert_array_equal(got[0], cv2.imread(str(path))[..., ::-1])
    np.testing.assert_array_equal(got[1], np.asarray(shop.restore(path, "one.pth").after))
    assert np.abs(got[0.5] - (got[0] + got[1]) / 2).max() <= 1 and np.abs(got[0] - got[1]).max() > 10
    assert len(passes) == count
    assert is_result(shop.restore(path, "one.pth", 0.5).file)
    shop.restore(photo(tmp_path / "uploads/b.png"), "one.pth")
    assert len(passes) > count
    with pytest.raises(UserError, match="from 0 to 1"):
        shop.restore(path, "one.pth", 1.5)


def test_the_example_is_made_once_and_always_alike(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    path = example_photo(first)
    made = path.stat().st_mtime_ns
    assert example_photo(first) == path and path.stat().st_mtime_ns == made
    assert example_photo(second).read_bytes() == path.read_bytes()


def test_without_a_checkpoint_it_is_the_network_that_ships(tmp_path, monkeypatch, make_tiny):
    assert parse([]).checkpoints == [DEFAULT]
    torch.save({"params": make_tiny("VQCNIR").state_dict()}, tmp_path / "file")
    file = (tmp_path / "file").rename(tmp_path / f"{DEFAULT}.safetensors")
    monkeypatch.setattr("vqcnir_arch.packaged.FOLDER", tmp_path)
    monkeypatch.setattr("vqcnir_arch.serving.offered.FOLDER", tmp_path)
    monkeypatch.setattr("vqcnir_arch.serving.offered.load_restorer", lambda path: None)
    assert find_checkpoints([DEFAULT]) == {DEFAULT: file}
    file.unlink()
    with pytest.raises(UserError, match="weights of 'vqcnir-s' are missing"):
        find_checkpoints([DEFAULT])


def test_the_command_refuses_bad_limits_and_says_what_to_install(nets, monkeypatch):
    for flag, value in (("--seconds", "0"), ("--max-megapixels", "-1"), ("--max-megabytes", "nan"), ("--port", "0")):
        with pytest.raises(UserError, match=flag):
            dispatch(["serve", str(nets), flag, value])
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
    with pytest.raises(UserError, match=r"pip install 'vqcnir\[serve\]'"):
        dispatch(["serve", str(nets)])
