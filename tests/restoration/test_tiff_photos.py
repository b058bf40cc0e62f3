"""TIFF photographs of more than 8 bit: every photometric, planar and alpha convention, or the true reason why not."""

import io
import struct
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from hostile_images import deep_bomb, tiff, tiff_of_size
from PIL import Image

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.photos import Photo, read_photo, write_photo

RGB = np.random.default_rng(0).integers(0, 65536, (9, 14, 3), dtype=np.uint16)
GREY = RGB[..., :1]
ALPHA = np.random.default_rng(1).integers(1000, 65536, (9, 14, 1), dtype=np.uint16)


def stack(*parts):
    return np.concatenate(parts, axis=2)


def cmyk(rgb):
    """Inks without black that leave these colours."""
    return stack(65535 - rgb, np.zeros_like(rgb[..., :1]))


def ycbcr(rgb):
    """16-bit Y'CbCr of full range with the coefficients of BT.601."""
    r, g, b = np.moveaxis(rgb / 65535, 2, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.round(np.stack((y, 0.5 + (b - y) / 1.772, 0.5 + (r - y) / 1.402), axis=2).clip(0, 1) * 65535)


def premultiplied(rgb, alpha):
    return np.round(rgb * (alpha / 65535)).astype(np.uint16)


def planes(image):
    return np.moveaxis(image, 2, 0)


PALETTE = np.random.default_rng(2).integers(0, 65536, (3, 65536), dtype=np.uint16)
SEPARATE = {"photometric": "rgb", "planarconfig": "separate"}
KINDS = {
    # what is stored, how, what must be read: colours, alpha
    "rgb": (RGB, {"photometric": "rgb"}, RGB, None),
    "big-endian bigtiff": (RGB, {"photometric": "rgb", "byteorder": ">", "bigtiff": True}, RGB, None),
    "black is zero": (GREY[..., 0], {"photometric": "minisblack"}, GREY, None),
    "white is zero": (65535 - GREY[..., 0], {"photometric": "miniswhite"}, GREY, None),
    "planes": (planes(RGB), SEPARATE, RGB, None),
    "planes with alpha": (planes(stack(RGB, ALPHA)), {**SEPARATE, "extrasamples": ["unassalpha"]}, RGB, ALPHA),
    "tiles, deflate": (
        RGB, {"photometric": "rgb", "tile": (16, 16), "compression": "zlib", "predictor": True}, RGB, None,
    ),
    "strips, packed": (RGB, {"photometric": "rgb", "rowsperstrip": 2, "compression": "zlib"}, RGB, None),
    "associated": (
        stack(premultiplied(RGB, ALPHA), ALPHA), {"photometric": "rgb", "extrasamples": ["assocalpha"]}, RGB, ALPHA,
    ),
    "associated, grey planes": (
        planes(stack(premultiplied(GREY, ALPHA), ALPHA)),
        {"photometric": "minisblack", "planarconfig": "separate", "extrasamples": ["assocalpha"]}, GREY, ALPHA,
    ),
    "unassociated": (stack(RGB, ALPHA), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, RGB, ALPHA),
    "no alpha": (stack(RGB, ALPHA), {"photometric": "rgb", "extrasamples": ["unspecified"]}, RGB, None),
    "cmyk": (cmyk(RGB), {"photometric": "separated"}, RGB, None),
    "cmyk in planes": (planes(cmyk(RGB)), {"photometric": "separated", "planarconfig": "separate"}, RGB, None),
    "palette": (GREY[..., 0], {"photometric": "palette", "colormap": PALETTE}, PALETTE.T[GREY[..., 0]], None),
    "half floats": ((RGB / 65535).astype(np.float16), {"photometric": "rgb"}, RGB, None),
    "doubles in planes": (planes(RGB) / 65535, SEPARATE, RGB, None),
}  # fmt: skip


def read_back(path, content):
    path.write_bytes(content)
    return read_photo(path)


def written(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def assert_shows(photo, rgb, alpha, tolerance):
    assert photo.bits == 16 and photo.grey == (rgb.shape[2] == 1)
    assert abs(photo.rgb - rgb / np.float64(65535)).max() <= tolerance
    assert (photo.alpha is None) == (alpha is None)
    assert alpha is None or abs(photo.alpha - alpha[..., 0] / 65535).max() <= 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_kind(tmp_path, kind, capfd):
    array, options, rgb, alpha = KINDS[kind]
    photo = read_back(tmp_path / "in.tif", written(array, **options))
    tolerance = {"half floats": 5e-4, "associated": 1e-3, "associated, grey planes": 1e-3}.get(kind, 1e-6)
    assert_shows(photo, rgb, alpha, tolerance)
    for ending in (".tif", ".png"):
        write_photo(tmp_path / f"out{ending}", photo)
        again = read_photo(tmp_path / f"out{ending}")
        if ending == ".png" and photo.grey and alpha is not None:  # OpenCV writes these in RGB
            again = replace(again, grey=True)
        assert_shows(again, rgb, alpha, tolerance + 1e-5)
    assert capfd.readouterr().err == ""


def test_transparent_pixels_of_premultiplied_colours_are_black(tmp_path):
    rgba = np.zeros((4, 5, 4), np.uint16)
    photo = read_back(tmp_path / "in.tif", written(rgba, photometric="rgb", extrasamples=["assocalpha"]))
    assert not photo.rgb.any() and not photo.alpha.any()


@pytest.mark.parametrize("photometric", [0, 1, 2])
@pytest.mark.parametrize("compression", [5, 8, 32773])
def test_compressed_by_libtiff(tmp_path, photometric, compression):
    """Files that OpenCV's libtiff writes, LZW among them, which tifffile reads with imagecodecs alone."""
    image = RGB[..., ::-1] if photometric == 2 else GREY
    _, content = cv2.imencode(".tif", np.ascontiguousarray(image), [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    (tmp_path / "in.tif").write_bytes(content.tobytes())
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as file:
        assert file.pages[0].compression == compression
        file.pages[0].tags[262].overwrite(photometric)
    expected = {0: 65535 - GREY, 1: GREY, 2: RGB}[photometric]
    assert_shows(read_photo(tmp_path / "in.tif"), expected, None, 1e-6)


def test_luma_and_colour_differences(tmp_path):
    (tmp_path / "in.tif").write_bytes(written(ycbcr(RGB).astype(np.uint16), photometric="ycbcr"))
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as file:  # which writes the levels of 8 bit
        file.pages[0].tags["ReferenceBlackWhite"].overwrite((0, 1, 65535, 1, *(65535, 2, 65535, 1) * 2))
    assert abs(read_photo(tmp_path / "in.tif").rgb - RGB / 65535).max() < 1e-4


def twelve_bit():
    """A TIFF file of 4 x 1 grey pixels of 12 bit: 0, 1365, 2730, 4095."""
    sizes = (256, 4, 1, 4), (257, 4, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1)
    where = 8 + 2 + 9 * 12 + 4
    return tiff(
        *sizes, (273, 4, 1, where), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 6), rest=bytes.fromhex("000555aaafff")
    )


@pytest.mark.parametrize("kind", ["luma and colour differences", "WebP"])
def test_eight_bit_that_pillow_does_not_read(tmp_path, kind):
    smooth = np.mgrid[0:9, 0:14].sum(0)[..., None].repeat(3, 2).astype(np.uint8) * [4, 5, 6]
    image = Image.fromarray(smooth.astype(np.uint8))
    if kind == "WebP":
        pytest.importorskip("imagecodecs", reason="the extra [tiff] is not installed")
        tifffile.imwrite(tmp_path / "a.tif", np.asarray(image), photometric="rgb", compression="webp")
    else:
        image.convert("YCbCr").save(tmp_path / "a.tif")
    photo = read_photo(tmp_path / "a.tif")
    assert photo.bits == 8
    assert abs(photo.rgb * 255 - smooth).max() < 3


def test_halved_colours_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((8, 8, 3), np.uint8), photometric="ycbcr", subsampling=(2, 2), compression="jpeg"
    )
    content = (tmp_path / "a.tif").read_bytes()
    place = content.index(struct.pack("<HHI", 259, 3, 1)) + 8
    (tmp_path / "a.tif").write_bytes(content[:place] + struct.pack("<H", 1) + content[place + 2 :])
    with pytest.raises(UserError, match="its colours are halved and not compressed as JPEG"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "deep.tif", "lab.tif"])
def test_profiles_of_other_colours_are_named(tmp_path, name):
    """They would change how the result's RGB is shown."""
    if name == "deep.tif":
        tifffile.imwrite(tmp_path / name, cmyk(RGB), photometric="separated", iccprofile=b"of inks")
    else:
        mode = "LAB" if name == "lab.tif" else "CMYK"
        Image.new("RGB", (8, 8), "navy").convert(mode).save(tmp_path / name, icc_profile=b"of inks")
    photo = read_photo(tmp_path / name)
    assert photo.icc is None
    assert photo.metadata.lost[0].startswith("the profile of its ")


def test_twelve_bit(tmp_path):
    pytest.importorskip("imagecodecs", reason="the extra [tiff] is not installed")
    photo = read_back(tmp_path / "in.tif", twelve_bit())
    assert abs(photo.rgb[0, :, 0] - np.array([0, 1 / 3, 2 / 3, 1])).max() < 1e-6


def test_twelve_bit_without_imagecodecs(tmp_path, monkeypatch):
    if "imagecodecs" in sys.modules or "imagecodecs" in tifffile.tifffile.imagecodecs.__name__.split("."):
        pytest.skip("imagecodecs is installed")
    with pytest.raises(UserError, match="has 12 bit per sample, which needs imagecodecs: pip install 'vqcnir"):
        read_back(tmp_path / "in.tif", twelve_bit())


def strips_that_are_not_there():
    """Return a file of planes whose header says six million rows: without a check it takes minutes."""
    path = io.BytesIO(written(planes(RGB), photometric="rgb", planarconfig="separate", rowsperstrip=9))
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["ImageLength"]
    content = bytearray(path.getvalue())
    content[tag.offset + 2 : tag.offset + 12] = struct.pack("<HII", 4, 1, 6_000_000)
    return bytes(content)


REFUSED = {
    "lab": (written(RGB, photometric="cielab"), "is a TIFF file, but its colours are CIELab, expected white is zero"),
    "five": (
        written(stack(RGB, ALPHA, ALPHA), photometric="rgb", extrasamples=["unassalpha", "unspecified"]),
        r"is a TIFF file, but has 5 samples per pixel, expected 3 \(RGB\), or one more for alpha",
    ),
    "five of 8": (
        written(stack(RGB, ALPHA, ALPHA).astype(np.uint8), photometric="rgb"), "has 5 samples per pixel, expected 3"
    ),
    "integers": (written(RGB.astype(np.uint32), photometric="rgb"), "holds uint32 samples, expected 8 to 16 bit"),
    "levels": (written(RGB.astype(np.float32), photometric="rgb"), "holds floats up to 65.*, expected"),
    "cut": (written(RGB, photometric="rgb")[:-9], "cannot be read: truncated"),
    "more": (deep_bomb(), "its compressed data are larger than its pixels"),
    "strips": (strips_that_are_not_there(), "cannot be read: truncated"),
    "none": (tiff_of_size(0, 4).replace(struct.pack("<HHII", 258, 3, 1, 8), struct.pack("<HHII", 258, 3, 1, 16)),
             "has no pixels"),
    "pages": (written(np.stack([GREY[..., 0]] * 3), photometric="minisblack"), "holds 3 pictures"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(tmp_path, kind, capfd):
    content, message = REFUSED[kind]
    with pytest.raises(UserError, match=message) as caught:
        read_back(tmp_path / "in.tif", content)
    assert "\n" not in str(caught.value) and "in.tif" in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_smaller_copies_are_no_further_pictures(tmp_path, dtype):
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(RGB.astype(dtype), photometric="rgb")
        writer.write(RGB[::4, ::4].astype(dtype), photometric="rgb", subfiletype=1)
    assert read_photo(tmp_path / "in.tif").rgb.shape == RGB.shape


@pytest.mark.parametrize("orientation,turns", [(3, 2), (6, -1), (8, 1)])
def test_upright(tmp_path, orientation, turns):
    content = written(RGB, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    photo = read_back(tmp_path / "in.tif", content)
    assert_shows(photo, np.rot90(RGB, turns), None, 1e-6)


def test_bright_floats_are_clipped(tmp_path):
    floats = RGB / np.float32(65535) * 1.05
    floats[0, 0] = 3
    photo = read_back(tmp_path / "in.tif", written(floats, photometric="rgb"))
    assert abs(photo.rgb - floats.clip(0, 1)).max() < 1e-6


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_others_read_what_is_written(tmp_path, bits, channels):
    """tifffile gets the pixels, and Pillow the tags and, where it knows the kind, the pixels."""
    top = 2**bits - 1
    levels = np.random.default_rng(3).integers(0, top + 1, (7, 11, channels)).astype(f"uint{bits}")
    colours = channels > 2
    rgb = np.float32(levels[..., :3] if colours else np.repeat(levels[..., :1], 3, axis=2)) / top
    alpha = np.float32(levels[..., -1]) / top if channels in (2, 4) else None
    write_photo(tmp_path / "out.tif", Photo(rgb, alpha, grey=not colours, bits=bits))
    assert (tifffile.imread(tmp_path / "out.tif").reshape(levels.shape) == levels).all()
    if (bits, channels) != (16, 2):
        with Image.open(tmp_path / "out.tif") as image:
            image.load()
            assert image.size == (11, 7)
    photo = read_photo(tmp_path / "out.tif")
    assert photo.bits == bits and photo.grey != colours and (photo.rgb == rgb).all()
