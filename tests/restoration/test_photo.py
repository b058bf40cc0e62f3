"""Photographs of every kind: read, and written back in kind."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.photos import read_photo, write_photo


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (13, 21, 3), dtype=np.uint8)


def levels(photo, top=255):
    return np.round(photo.rgb * top).astype(int)


def there_and_back(path, ending=None):
    photo = read_photo(path)
    target = path.with_name(f"out{ending or path.suffix}")
    write_photo(target, photo)
    return photo, target


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
def test_lossless_round_trip(tmp_path, rgb, ending):
    path = tmp_path / f"in{ending}"
    Image.fromarray(rgb).save(path)
    photo, target = there_and_back(path)
    assert (levels(photo) == rgb).all() and photo.bits == 8 and not photo.grey and photo.alpha is None
    assert (np.asarray(Image.open(target)) == rgb).all()


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
def test_lossy_round_trip(tmp_path, ending):
    ramp = np.linspace(0, 255, 40).astype(np.uint8)
    smooth = np.stack([np.tile(ramp, (30, 1))] * 3, axis=2)
    path = tmp_path / f"in{ending}"
    Image.fromarray(smooth).save(path, quality=95)
    _, target = there_and_back(path)
    assert abs(np.asarray(Image.open(target).convert("RGB")).astype(int) - smooth).mean() < 2
    assert Image.open(target).format == Image.open(path).format


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit(tmp_path, ending, channels):
    pixels = np.random.default_rng(1).integers(0, 65536, (9, 14, channels), dtype=np.uint16)
    path = tmp_path / f"in{ending}"
    if ending == ".png":
        cv2.imwrite(str(path), pixels[..., [2, 1, 0, 3][:channels]] if channels > 1 else pixels)
    else:
        tifffile.imwrite(path, pixels.squeeze(), photometric="rgb" if channels > 1 else "minisblack")
    photo, target = there_and_back(path)
    assert photo.bits == 16 and photo.grey == (channels == 1)
    assert (levels(photo, 65535) == pixels[..., :3]).all()
    again = read_photo(target)
    assert (levels(again, 65535) == pixels[..., :3]).all()
    if channels == 4:
        assert (np.round(again.alpha * 65535) == pixels[..., 3]).all()


def test_alpha_and_palette(tmp_path, rgb):
    alpha = np.random.default_rng(2).integers(0, 256, rgb.shape[:2], dtype=np.uint8)
    Image.fromarray(np.dstack((rgb, alpha))).save(tmp_path / "in.png")
    photo, target = there_and_back(tmp_path / "in.png")
    assert (np.asarray(Image.open(target)) == np.dstack((rgb, alpha))).all()
    _, jpeg = there_and_back(tmp_path / "in.png", ".jpg")
    assert Image.open(jpeg).mode == "RGB"

    palette = Image.fromarray(rgb).quantize(16)
    palette.save(tmp_path / "palette.png", transparency=3)
    photo = read_photo(tmp_path / "palette.png")
    assert (levels(photo) == np.asarray(palette.convert("RGB"))).all()
    assert (photo.alpha == 0).any() and (photo.alpha == 1).any()


def test_grey_stays_grey(tmp_path, rgb):
    Image.fromarray(rgb[..., 0]).save(tmp_path / "in.png")
    photo, target = there_and_back(tmp_path / "in.png")
    assert photo.grey and (np.asarray(Image.open(target)) == rgb[..., 0]).all()
    assert Image.open(target).mode == "L"


def test_cmyk(tmp_path, rgb):
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "in.jpg", quality=100)
    photo, target = there_and_back(tmp_path / "in.jpg")
    expected = np.asarray(Image.open(tmp_path / "in.jpg").convert("RGB"))
    assert (levels(photo) == expected).all() and Image.open(target).mode == "RGB"


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
def test_tiff_of_other_colours(tmp_path, rgb, mode):
    Image.fromarray(rgb).convert(mode).save(tmp_path / "in.tif", tiffinfo={271: "maker"})
    try:
        Image.open(tmp_path / "in.tif").load()
    except OSError as error:
        pytest.skip(f"this Pillow cannot read the {mode} TIFF that it writes: {error}")
    photo, target = there_and_back(tmp_path / "in.tif")
    with Image.open(target) as written:
        assert written.mode == "RGB" and written.tag_v2[271] == "maker"
        assert (np.asarray(written) == levels(photo)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "deep"])
def test_orientation(tmp_path, rgb, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "maker"
    path = tmp_path / f"in.{'png' if kind == 'deep' else kind}"
    Image.fromarray(rgb).save(path, exif=exif, quality=100)
    if kind == "deep":
        deep = rgb[..., ::-1].astype(np.uint16) * 257
        block = np.frombuffer(exif.tobytes(), np.uint8)
        _, content = cv2.imencodeWithMetadata(".png", deep, [cv2.IMAGE_METADATA_EXIF], [block])
        path.write_bytes(content.tobytes())
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo, target = there_and_back(path)
    assert (levels(photo) == expected).all()
    with Image.open(target) as written:
        assert written.getexif().get(0x0112, 1) == 1
        if kind != "deep":
            assert written.getexif()[0x010F] == "maker"


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif", "deep.png", "deep.tif"])
def test_profile_is_kept(tmp_path, rgb, ending):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = tmp_path / f"in{ending}"
    Image.fromarray(rgb).save(path, icc_profile=profile)
    if ending == "deep.png":
        deep, block = rgb.astype(np.uint16) * 257, np.frombuffer(profile, np.uint8)
        _, content = cv2.imencodeWithMetadata(".png", deep, [cv2.IMAGE_METADATA_ICCP], [block])
        path.write_bytes(content.tobytes())
    elif ending == "deep.tif":
        tifffile.imwrite(path, rgb.astype(np.uint16) * 257, photometric="rgb", iccprofile=profile)
    photo, target = there_and_back(path)
    assert photo.icc == profile and photo.bits == (16 if "deep" in ending else 8)
    assert Image.open(target).info["icc_profile"] == profile


def refused(path, pattern, **keywords):
    with pytest.raises(UserError, match=pattern) as caught:
        read_photo(path, **keywords)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_refused_by_name(tmp_path, rgb):
    image = Image.fromarray(rgb)
    image.save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    for name, data in {"text.png": b"hello", "empty.jpg": b"", "cut.png": content[: len(content) // 2]}.items():
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, "cannot be read")
    refused(tmp_path / "absent.png", "No such file")
    refused(tmp_path / "whole.png", r"megapixels \(21 x 13\), more than", max_megapixels=1e-4)
    image.save(tmp_path / "moving.webp", save_all=True, append_images=[image.rotate(90)])
    refused(tmp_path / "moving.webp", "2 pictures")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((4, 4), np.nan, np.float32))
    refused(tmp_path / "nan.tif", "NaN")


def test_huge_header_costs_nothing(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0))
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b""))
    refused(tmp_path / "huge.png", "400 megapixels|400000000 pixels")


def test_unknown_ending(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "in.png")
    with pytest.raises(UserError, match=r"'.gif' \(known: .png"):
        write_photo(tmp_path / "out.gif", read_photo(tmp_path / "in.png"))
