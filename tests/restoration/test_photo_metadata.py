"""What a photograph's file says beside its colours comes through, in every format that can hold it."""

import io
import struct

import numpy as np
import pytest
from hostile_images import chunk
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.photos import Metadata, Photo, note, processed_by, read_photo, write_photo
from vqcnir_arch.restoration.photos.colour import PRIMARIES, profile
from vqcnir_arch.restoration.results import as_result

TAGS = ExifTags.Base
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF tiff:Orientation='6'/></x:xmpmeta>"
RGB = np.random.default_rng(0).random((12, 20, 3), dtype=np.float32)
ENDINGS = [".png", ".jpg", ".webp", ".tif", ".avif"]


def camera(maker_note=b"note"):
    """EXIF as a camera writes it: two directories and a position."""
    exif = Image.Exif()
    exif[TAGS.Make], exif[TAGS.Software], exif[TAGS.DateTime] = "maker", "1.0", "2024:05:06 07:08:09"
    exif.get_ifd(TAGS.ExifOffset).update(
        {TAGS.ExposureTime: 0.5, TAGS.MakerNote: maker_note, TAGS.ExifImageWidth: 4000, TAGS.ExifImageHeight: 3000}
    )
    exif[TAGS.ExifOffset] = exif.get_ifd(TAGS.ExifOffset)
    exif[TAGS.GPSInfo] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return exif.tobytes()


def photo(bits=8, **metadata):
    return Photo(RGB, bits=bits, metadata=Metadata(**metadata))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("ending", ENDINGS)
def test_all_of_it_is_kept(tmp_path, ending, bits):
    given = photo(bits, exif=camera(), xmp=XMP, dpi=(300.0, 300.0), text={"Comment": "the old bridge"})
    lost = write_photo(tmp_path / f"a{ending}", as_result(given, RGB, "vqcnir 1"))
    assert lost == (["16 bit"] if bits == 16 and ending not in (".png", ".tif") else [])
    with Image.open(tmp_path / f"a{ending}") as image:  # as other programs see it
        image.load()
        exif = image.getexif()
        assert exif[TAGS.Make] == "maker" and exif[TAGS.Software] == "1.0" and exif[TAGS.GPSInfo]
        inner = exif.get_ifd(TAGS.ExifOffset)
        assert inner[TAGS.ExposureTime] == 0.5 and inner[TAGS.MakerNote] == b"note"
        assert (inner[TAGS.ExifImageWidth], inner[TAGS.ExifImageHeight]) == (20, 12)
        assert image.info["xmp"] == XMP
    read = read_photo(tmp_path / f"a{ending}")
    assert read.metadata.xmp == XMP.replace(b"'6'", b"'1'")  # it is upright
    told = read.metadata.text.get("Comment") or exif[TAGS.ImageDescription]
    assert told == "the old bridge"
    dpi = read.metadata.dpi or (exif[TAGS.XResolution], exif[TAGS.YResolution])
    assert np.allclose(np.float64(dpi), 300, atol=0.1)
    assert processed_by(tmp_path / f"a{ending}") == "vqcnir 1"
    ours = Image.Exif()  # and as it comes into a second result
    ours.load(read.metadata.exif)
    assert ours[TAGS.Make] == "maker" and ours.get_ifd(TAGS.ExifOffset)[TAGS.ExposureTime] == 0.5
    assert ours.get_ifd(TAGS.GPSInfo)[1] == "N"


def test_png_says_it_in_text_too(tmp_path):
    write_photo(tmp_path / "a.png", as_result(photo(text={"Title": "bridge"}), RGB, "vqcnir 1"))
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.text == {"Software": "vqcnir 1", "Title": "bridge"}
        assert image.getexif()[TAGS.Software] == "vqcnir 1"


@pytest.mark.parametrize("ending", [*ENDINGS, ".bmp"])
def test_stripped(tmp_path, ending):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    given = Photo(RGB, icc=icc, metadata=Metadata(camera(), XMP, {"Comment": "no"}, (300.0, 300.0)))
    lost = write_photo(tmp_path / f"a{ending}", as_result(given, RGB, None))
    assert lost == (["profile"] if ending == ".bmp" else [])
    content = (tmp_path / f"a{ending}").read_bytes()
    assert not any(word in content for word in (b"maker", b"vqcnir", b"adobe", b"2024", b"Exif"))
    with Image.open(tmp_path / f"a{ending}") as image:
        assert image.info.get("icc_profile") == (None if ending == ".bmp" else icc)


@pytest.mark.parametrize(
    "size,where,lost",
    [
        (70_000, "inner", ["the maker note of its EXIF (JPEG takes 64 KB)"]),
        (70_000, "outer", ["the maker note of its EXIF (JPEG takes 64 KB)"]),
        (70_000, "other", ["EXIF (JPEG takes 64 KB)"]),
        (60_000, "inner", []),
    ],
)
def test_exif_too_long_for_jpeg(tmp_path, size, where, lost):
    block = camera(bytes(size if where == "inner" else 9))
    if where != "inner":
        exif = Image.Exif()
        exif.load(block)
        exif[TAGS.MakerNote if where == "outer" else TAGS.XPComment] = bytes(size)
        block = exif.tobytes()
    assert write_photo(tmp_path / "a.jpg", as_result(photo(exif=block), RGB, "vqcnir 1")) == lost
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.getexif().get(TAGS.Make) == "maker") == (where != "other")
    assert processed_by(tmp_path / "a.jpg") == "vqcnir 1"


def test_long_xmp_and_comment(tmp_path):
    long = photo(xmp=b"<x/>" * 20_000, text={"Comment": "a" * 70_000})
    assert write_photo(tmp_path / "a.jpg", long) == ["XMP (JPEG takes 64 KB)", "comment (JPEG takes 64 KB)"]
    assert write_photo(tmp_path / "a.png", long) == []


def test_what_a_format_lacks_is_said(tmp_path):
    given = Photo(RGB, RGB[..., 0], bits=16, icc=b"x" * 200, metadata=Metadata(camera(), XMP, {"prompt": "night"}))
    assert write_photo(tmp_path / "a.bmp", given) == ["16 bit", "transparency", "profile", "EXIF", "XMP"]
    lost = write_photo(tmp_path / "a.jpg", given)
    assert note(tmp_path / "a.jpg", lost) == (
        f"vqcnir: note: '{tmp_path / 'a.jpg'}' (JPEG) is without 16 bit, transparency, text 'prompt'"
    )


def test_sources_of_metadata(tmp_path):
    """Files as Pillow writes them, not as we do."""
    image = Image.fromarray(np.uint8(RGB * 255))
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "me")
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    image.save(tmp_path / "a.png", pnginfo=info, dpi=(150, 150))
    image.save(tmp_path / "a.jpg", comment=b"caf\xe9", xmp=XMP, dpi=(150, 150))
    image.save(tmp_path / "a.gif", comment=b"hello")
    image.save(tmp_path / "plain.jpg")
    png, jpeg, gif, plain = (read_photo(tmp_path / name).metadata for name in ("a.png", "a.jpg", "a.gif", "plain.jpg"))
    assert png.text == {"Author": "me"} and png.xmp and round(png.dpi[0]) == 150
    assert jpeg.text == {"Comment": "café"} and jpeg.xmp and jpeg.dpi == (150, 150)
    assert gif.text == {"Comment": "hello"} and plain == Metadata()
    write_photo(tmp_path / "b.jpg", photo(text=png.text))
    with Image.open(tmp_path / "b.jpg") as written:
        assert written.getexif()[TAGS.Artist] == "me"


def test_xmp_names_no_pictures_that_are_gone(tmp_path):
    xmp = (
        b"<x:xmpmeta><rdf:Description hdrgm:Version=\"1.0\" GCamera:MotionPhoto='1' dc:title='night'>"
        b"<Container:Directory><rdf:Seq/></Container:Directory></rdf:Description></x:xmpmeta>"
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", xmp=xmp)
    kept = b"<x:xmpmeta><rdf:Description dc:title='night'></rdf:Description></x:xmpmeta>"
    assert read_photo(tmp_path / "a.jpg").metadata.xmp == kept


# --- colour tags -----------------------------------------------------------------------------------------------------


def png_with(path, *chunks, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, (8, 6), 128 if mode == "L" else (200, 100, 50)).save(buffer, "PNG", **options)
    content = buffer.getvalue()
    path.write_bytes(content[:33] + b"".join(chunks) + content[33:])
    return read_photo(path)


def to_srgb(icc, colours, mode="RGB"):
    """What a colour managed program shows."""
    image = Image.fromarray(np.uint8(colours))
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, source, target, outputMode="RGB")).astype(float)


def gamma(value):
    return chunk(b"gAMA", struct.pack(">I", round(value * 1e5)))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_linear_png_is_shown_as_it_was(tmp_path, mode, ending):
    read = png_with(tmp_path / "a.png", gamma(1.0), mode=mode)
    assert write_photo(tmp_path / f"b{ending}", read) == []
    with Image.open(tmp_path / f"b{ending}") as image:
        icc = image.info["icc_profile"]
    colours = np.array([[[30, 60, 200]]]) if mode == "RGB" else np.array([[30]])
    shown = colours / 255
    expected = 255 * np.where(shown < 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    assert abs(to_srgb(icc, colours, mode) - expected.reshape(1, 1, -1)).max() <= 1.5


def test_display_p3_by_cicp(tmp_path):
    read = png_with(tmp_path / "a.png", chunk(b"cICP", bytes([12, 13, 0, 1])))
    to_linear = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])  # P3 to sRGB
    linear = to_linear @ np.where(
        (c := np.array([150, 140, 120]) / 255) < 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4
    )
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert abs(to_srgb(read.icc, [[[150, 140, 120]]])[0, 0] - expected).max() <= 1.5


def test_tags_that_mean_srgb_make_no_profile(tmp_path):
    for chunks in (gamma(0.45455),), (gamma(1.0), chunk(b"sRGB", b"\0")), (chunk(b"cICP", bytes([1, 13, 0, 1])),):
        assert png_with(tmp_path / "a.png", *chunks).icc is None
    own = profile(PRIMARIES[9], 2.2)
    assert png_with(tmp_path / "a.png", gamma(1.0), icc_profile=own).icc == own


def test_hdr_stays_in_png_and_is_refused_elsewhere(tmp_path):
    read = png_with(tmp_path / "a.png", chunk(b"cICP", bytes([9, 16, 0, 1])))
    assert write_photo(tmp_path / "b.png", as_result(read, read.rgb, "vqcnir 1")) == []
    assert chunk(b"cICP", bytes([9, 16, 0, 1])) in (tmp_path / "b.png").read_bytes()
    for ending in (".jpg", ".tif", ".webp", ".avif", ".bmp"):
        with pytest.raises(UserError, match=r"has no PQ \(HDR\): --format png"):
            write_photo(tmp_path / f"b{ending}", read)
    with pytest.raises(UserError, match=r"colour tags that are not read \(cICP 1/99/0/1\)"):
        png_with(tmp_path / "a.png", chunk(b"cICP", bytes([1, 99, 0, 1])))


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_texts_that_are_not_ascii_stay_as_they_are(tmp_path, ending):
    """Pillow writes a question mark for each such letter; cameras and programs write UTF-8 or Latin-1."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "J__rgen"
    exif[ExifTags.Base.Copyright] = "M_ller"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "Objektiv f__r Nacht"
    block = exif.tobytes().replace(b"__", "ü".encode()).replace(b"_", b"\xfc")
    Image.new("RGB", (8, 8), "navy").save(tmp_path / "a.jpg", exif=block, comment="Grüße".encode())
    write_photo(tmp_path / f"b{ending}", read_photo(tmp_path / "a.jpg"))
    with Image.open(tmp_path / f"b{ending}") as result:
        kept = result.getexif()
        texts = [kept[ExifTags.Base.Artist], kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel]]
        assert [text.encode("latin-1").decode() for text in texts] == ["Jürgen", "Objektiv für Nacht"]
        assert kept[ExifTags.Base.Copyright] == "Müller"
        if ending in (".webp", ".tif", ".avif"):
            assert kept[ExifTags.Base.ImageDescription].encode("latin-1").decode() == "Grüße"
