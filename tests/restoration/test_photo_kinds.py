"""HEIC, AVIF, GIF, camera raw and lossless WebP: read, and written as what the user names or as what is sensible."""

import contextlib
import io
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import ExifTags, Image

from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.photos import read_photo, write_photo, written_ending
from vqcnir_arch.restoration.photos.quiet import quiet

PHOTO = skimage.data.chelsea()[60:100, 120:184].copy()


def restore(weights, *arguments):
    dispatch(["restore", *map(str, arguments), "-w", str(weights), "--quiet", "--device", "cpu"])


def dng(path, orientation=1):
    """Write raw data as a camera does: one colour a pixel, linear, 14 bit, red twice as weak as green."""
    linear = (PHOTO[::1, ::1] / 255.0) ** 2.2 * 16383
    mosaic = linear[..., 1].copy()
    mosaic[::2, ::2] = linear[::2, ::2, 0] / 2
    mosaic[1::2, 1::2] = linear[1::2, 1::2, 2]
    xyz_to_srgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    matrix = np.round((np.diag([0.5, 1, 1]) @ xyz_to_srgb) * 10000).astype(int)
    fractions = tuple(int(x) for number in matrix.ravel() for x in (number, 10000))
    tifffile.imwrite(
        path, mosaic.astype(np.uint16), photometric="cfa", metadata=None, software="camera",
        extratags=[
            (271, 2, 0, "maker", True), (274, 3, 1, orientation, True), (33421, 3, 2, (2, 2), True),
            (33422, 1, 4, bytes([0, 1, 1, 2]), True), (50706, 1, 4, bytes([1, 4, 0, 0]), True),
            (50708, 2, 0, "maker 1", True), (50717, 4, 1, 16383, True), (50721, 10, 9, fractions, True),
            (50728, 5, 3, (1, 2, 1, 1, 1, 1), True), (50778, 3, 1, 21, True),
        ],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["a.dng", "a.tif"])
def test_camera_raw(tmp_path, name):
    pytest.importorskip("rawpy", reason="the extra [raw] is not installed")
    dng(tmp_path / name)
    photo = read_photo(tmp_path / name)
    assert photo.bits == 16 and abs(photo.rgb.shape[0] - 40) <= 8 and abs(photo.rgb.shape[1] - 64) <= 8
    assert abs(photo.rgb.mean(axis=(0, 1)) - PHOTO.mean(axis=(0, 1)) / 255).max() < 0.05  # white balance, brightness
    dng(tmp_path / name, orientation=6)
    turned = read_photo(tmp_path / name)
    assert turned.rgb.shape[:2] == photo.rgb.shape[1::-1]
    assert abs(turned.rgb - np.rot90(photo.rgb, -1)).mean() < 0.02
    write_photo(tmp_path / "out.png", photo)
    with Image.open(tmp_path / "out.png") as image:
        assert image.getexif()[ExifTags.Base.Make] == "maker"
    with pytest.raises(UserError, match=r"0 megapixels \(.*more than --max-megapixels"):
        read_photo(tmp_path / name, max_megapixels=1e-4)


def test_camera_raw_without_rawpy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    dng(tmp_path / "a.dng")
    with pytest.raises(UserError, match=r"a.dng' is camera raw, which needs rawpy: pip install 'vqcnir\[raw\]'"):
        read_photo(tmp_path / "a.dng")


def test_what_is_no_raw_data_is_said(tmp_path):
    pytest.importorskip("rawpy", reason="the extra [raw] is not installed")
    (tmp_path / "a.nef").write_bytes(b"II*\0" + bytes(500))
    with pytest.raises(UserError, match=r"a.nef' cannot be read as a camera's raw data: "):
        read_photo(tmp_path / "a.nef")


def heic(path, **options):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra [heic] is not installed")
    pillow_heif.register_heif_opener()
    Image.fromarray(PHOTO).save(path, "HEIF", quality=95, **options)


def test_heic(tmp_path, weights, capsys):
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "maker", 6
    heic(tmp_path / "IMG_1.HEIC", exif=exif.tobytes())
    photo = read_photo(tmp_path / "IMG_1.HEIC")
    assert photo.rgb.shape == (64, 40, 3) and photo.icc is None
    assert abs(photo.rgb - np.rot90(PHOTO, -1) / 255).mean() < 0.02
    restore(weights, tmp_path / "IMG_1.HEIC", "-o", tmp_path / "out")
    said = capsys.readouterr()
    assert said.err == "vqcnir: note: 1 photograph written as another format (.HEIC as .jpg); --format names one\n"
    with Image.open(tmp_path / "out/IMG_1.jpg") as image:
        assert image.size == (40, 64) and image.getexif()[ExifTags.Base.Make] == "maker"
        assert ExifTags.Base.Orientation not in image.getexif()


def test_heic_of_ten_bit(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra [heic] is not installed")
    deep = np.uint16(PHOTO) * 257
    pillow_heif.from_bytes("RGB;16", (64, 40), deep.tobytes()).save(tmp_path / "a.heic", quality=-1)
    photo = read_photo(tmp_path / "a.heic")
    assert photo.bits == 16 and abs(photo.rgb - PHOTO / 255).mean() < 0.01


def test_heic_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    with pytest.raises(UserError, match=r"a.heic' is HEIC, which needs pillow-heif: pip install 'vqcnir\[heic\]'"):
        read_photo(tmp_path / "a.heic")


def test_avif(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(PHOTO))).save(tmp_path / "a.avif", quality=95, exif=exif)
    photo = read_photo(tmp_path / "a.avif")
    assert abs(photo.rgb - PHOTO / 255).mean() < 0.03
    write_photo(tmp_path / "b.avif", photo)
    with Image.open(tmp_path / "b.avif") as image:
        assert image.format == "AVIF" and image.size == (64, 40)


def test_hdr_avif_is_known(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "AVIF", quality=95)
    place = buffer.getvalue().index(b"colrnclx") + 8
    content = bytearray(buffer.getvalue())
    content[place : place + 4] = b"\0\x09\0\x10"  # BT.2020, PQ
    (tmp_path / "a.avif").write_bytes(content)
    photo = read_photo(tmp_path / "a.avif")
    assert photo.cicp == bytes([9, 16, 0, 1])
    with pytest.raises(UserError, match=r"AVIF has no PQ \(HDR\): --format png"):
        write_photo(tmp_path / "b.avif", photo)


def test_webp_stays_as_it_is(tmp_path):
    for lossless in (True, False):
        Image.fromarray(PHOTO).save(tmp_path / "a.webp", lossless=lossless, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
        photo = read_photo(tmp_path / "a.webp")
        write_photo(tmp_path / "b.webp", photo)
        assert read_photo(tmp_path / "b.webp").lossless == photo.lossless == lossless
        assert (read_photo(tmp_path / "b.webp").rgb == photo.rgb).all() == lossless


def test_a_folder_of_everything(tmp_path, weights, capsys):
    """What lies beside JPEG files on phones and from the web is restored with them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, kind in {"a.jfif": "JPEG", "b.JPE": "JPEG", "c.avif": "AVIF", "d.gif": "GIF", "e.HEIC": "JPEG"}.items():
        Image.fromarray(PHOTO).save(folder / name, kind)
    restore(weights, folder, "-o", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.jfif", "b.JPE", "c.avif", "d.png", "e.jpg"}
    said = capsys.readouterr()
    assert "2 photographs written as another format (.HEIC as .jpg, .gif as .png)" in said.err
    assert "5 restored" in said.out
    restore(weights, folder, "-o", tmp_path / "named", "--format", "webp", "--strip-metadata", "--padding", "published")
    assert {path.suffix for path in (tmp_path / "named").iterdir()} == {".webp"}
    assert b"vqcnir" not in (tmp_path / "named/a.webp").read_bytes() and capsys.readouterr().err == ""
    restore(weights, folder / "a.jfif", "-o", tmp_path / "said", "--padding", "published")
    with Image.open(tmp_path / "said/a.jfif") as image:
        assert image.getexif()[ExifTags.Base.ProcessingSoftware].endswith("strength 1, padding published")


def test_libraries_print_nothing(tmp_path, capfd):
    """libtiff, libpng, LibRaw and Pillow's and tifffile's logs; what others print goes on."""
    packed = io.BytesIO()
    Image.fromarray(PHOTO).save(packed, "TIFF", compression="tiff_lzw")
    broken = bytearray(packed.getvalue())
    broken[200:260] = bytes(range(60))
    cut = cv2.imencode(".png", np.uint16(PHOTO))[1].tobytes()
    files = {"a.tif": bytes(broken), "b.png": cut[:-40] + bytes(8) + cut[-32:], "c.tif": b"II*\0" + bytes(99)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with contextlib.suppress(UserError):  # some decoders guess what is missing
            read_photo(tmp_path / name)
    os.write(2, b"said")
    assert capfd.readouterr() == ("", "said")


def test_silence_of_two_threads_ends(capfd):
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    os.write(2, b"not heard")
    second.__exit__(None, None, None)
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_endings_of_results():
    names = {"a.JPG": ".JPG", "a.heic": ".jpg", "a.DNG": ".png", "a.gif": ".png", "a": ".png", "a.avif": ".avif"}
    assert {name: written_ending(Path(name)) for name in names} == names


def test_corpora():
    """Every file of the folder VQCNIR_IMAGE_CORPORA is read, or refused in one line, within seconds."""
    folder = os.environ.get("VQCNIR_IMAGE_CORPORA")
    if not folder:
        pytest.skip("VQCNIR_IMAGE_CORPORA names no folder of image files, as of codecs' test suites")
    read, slow = 0, []
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    for path in files:
        start = time.monotonic()
        try:
            photo = read_photo(path)
            assert np.isfinite(photo.rgb).all() and photo.rgb.min() >= 0 and photo.rgb.max() <= 1, path
            read += 1
        except UserError as error:
            assert "\n" not in str(error), path
        if time.monotonic() - start > 20:
            slow.append(path)
    print(f"{read} of {len(files)} read")
    assert files and not slow
