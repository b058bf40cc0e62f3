"""`vqcnir restore` without --out: results beside their inputs, known by their metadata, and `--strength`."""

import hashlib

import numpy as np
import pytest
from PIL import ExifTags, Image

import vqcnir_arch
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.photos import Photo, read_photo, write_photo
from vqcnir_arch.restoration.results import as_result, is_result


@pytest.fixture
def night(tmp_path):
    (tmp_path / "night").mkdir()
    return tmp_path / "night"


def picture(path, size=(16, 24)):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


def restore(weights, *arguments):
    dispatch(["restore", *map(str, arguments), "-w", str(weights), "--quiet", "--device", "cpu"])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif", ".jpeg"])
def test_beside_its_input_and_not_again(weights, night, capsys, ending):
    picture(night / f"a{ending}")
    restore(weights, night / f"a{ending}")
    assert names(night) == [f"a{ending}", f"a_restored{ending}"]
    assert "1 restored beside its input, 0 results skipped, 0 failed" in capsys.readouterr().out
    first = (night / f"a_restored{ending}").read_bytes()
    restore(weights, night)
    assert names(night) == [f"a{ending}", f"a_restored{ending}"]
    assert (night / f"a_restored{ending}").read_bytes() == first
    assert "1 restored beside its input, 1 result skipped, 0 failed" in capsys.readouterr().out
    (night / f"a_restored{ending}").rename(night / f"renamed{ending}")
    restore(weights, night / f"renamed{ending}")
    assert "0 restored beside their inputs, 1 result skipped, 0 failed" in capsys.readouterr().out
    restore(weights, night, "-o", night / "out", "--compare")
    assert names(night / "out") == sorted([f"a{ending}", "a_compare.png"])
    assert "1 restored to" in capsys.readouterr().out
    restore(weights, night / "out", "-o", night / "twice")
    assert "0 restored to" in (shown := capsys.readouterr().out) and "2 results skipped" in shown


def test_what_a_result_says(weights, night):
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = "camera"
    Image.new("RGB", (24, 16)).save(night / "a.jpg", exif=exif)
    restore(weights, night / "a.jpg", "--strength", "0.5")
    with Image.open(night / "a_restored.jpg") as image:
        said = image.getexif()
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert said[ExifTags.Base.Software] == "camera"
    expected = f"vqcnir {vqcnir_arch.__version__}, VQCNIR, checkpoint sha256 {digest}, strength 0.5"
    assert said[ExifTags.Base.ProcessingSoftware] == expected


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_results_are_known(tmp_path, ending, channels):
    rgb = np.random.default_rng(0).random((9, 14, 3), dtype=np.float32)
    alpha = rgb[..., 0] if channels in (2, 4) else None
    photo = Photo(rgb, alpha, grey=channels < 3, bits=16)
    write_photo(tmp_path / f"photo{ending}", photo)
    write_photo(tmp_path / f"result{ending}", as_result(photo, rgb, "vqcnir 1"))
    assert not is_result(tmp_path / f"photo{ending}") and is_result(tmp_path / f"result{ending}")
    assert read_photo(tmp_path / f"result{ending}").bits == 16


def test_bmp_cannot_say_it_and_becomes_png(weights, night, capsys):
    picture(night / "a.bmp")
    for _ in range(2):
        restore(weights, night)
        assert names(night) == ["a.bmp", "a_restored.png"]
    restore(weights, night / "a.bmp", "-o", night / "out")
    assert names(night / "out") == ["a.bmp"]


def test_a_file_that_is_no_result_stays(weights, night):
    mine = picture(night / "a_restored.png").read_bytes()
    picture(night / "a.png")
    with pytest.raises(UserError, match=r"a_restored\.png' is no result of vqcnir and stays as it is"):
        restore(weights, night / "a.png")
    assert (night / "a_restored.png").read_bytes() == mine and names(night) == ["a.png", "a_restored.png"]
    with pytest.raises(UserError, match="would be overwritten by its result"):
        restore(weights, night / "a.png", "--suffix", "")
    picture(night / "a.bmp")
    with pytest.raises(UserError, match=r"'.*a\.bmp' and '.*a\.png' would both be written to '.*a_new\.png'"):
        restore(weights, night, "--suffix", "_new")


def test_formats_in_turn_collide_with_no_result(weights, night, capsys):
    picture(night / "a.jpg")
    for extra in ((), ("--format", "png"), ("--format", "png")):
        restore(weights, night, *extra)
    assert names(night) == ["a.jpg", "a_restored.jpg", "a_restored.png"]
    assert "1 restored beside its input, 2 results skipped, 0 failed" in capsys.readouterr().out.splitlines()[-1]


def test_video_beside_its_input(weights, night, capsys):
    av = pytest.importorskip("av", reason="the extra [video] is not installed")
    for ending in (".mp4", ".mov", ".mkv", ".avi"):
        with av.open(str(night / f"a{ending}"), "w") as writer:
            stream = writer.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 32, 3), np.uint8), format="rgb24")))
            writer.mux(stream.encode())
    restore(weights, night)
    restore(weights, night)
    assert len(names(night)) == 8
    assert "4 restored beside their inputs, 4 results skipped, 0 failed" in capsys.readouterr().out


# --- strength --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["whole", "strips"])
def test_strength(weights, night, capsys, how):
    picture(night / "a.png")
    rows = ["--tile", "8"] if how == "strips" else []
    pixels = {}
    for strength in (0, 0.25, 1):
        restore(weights, night / "a.png", "-o", night / str(strength), "--strength", strength, *rows)
        pixels[strength] = np.asarray(Image.open(night / str(strength) / "a.png")).astype(float)
    given = np.asarray(Image.open(night / "a.png")).astype(float)
    assert (pixels[0] == given).all() and not (pixels[1] == given).all()
    assert abs(pixels[0.25] - (0.75 * given + 0.25 * pixels[1])).max() <= 1


def test_strength_from_python(make_tiny):
    net = make_tiny("VQCNIR").eval()
    image = np.random.default_rng(0).integers(0, 256, (15, 18, 3), dtype=np.uint8)
    full = vqcnir_arch.restore(net, image).astype(float)
    assert (vqcnir_arch.restore(net, image, strength=0) == image).all()
    half = vqcnir_arch.restore(net, image, strength=0.5)
    assert abs(half - (full + image) / 2).max() <= 1
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(UserError, match="strength: expected a number from 0 to 1"):
            vqcnir_arch.restore(net, image, strength=wrong)
    larger = make_tiny("FeMaSR").eval()
    assert larger.scale > 1
    grey = np.full((16, 16, 3), 100, np.uint8)  # what bicubic enlargement leaves alone
    assert (vqcnir_arch.restore(larger, grey, strength=0) == 100).all()


@pytest.mark.parametrize("wrong", ["1.1", "-1", "nan", "much"])
def test_strength_that_is_none(weights, night, capsys, wrong):
    picture(night / "a.png")
    with pytest.raises(SystemExit):
        restore(weights, night / "a.png", f"--strength={wrong}")
    assert f"expected a number from 0 to 1, got '{wrong}'" in capsys.readouterr().err
