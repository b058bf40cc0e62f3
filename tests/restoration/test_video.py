"""Videos: what their containers hold beside pictures, times, orientation and colours are kept."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="the extra [video] is not installed")

from av.stream import Disposition  # noqa: E402
from videos import beside, make_video, picture, shown  # noqa: E402

from vqcnir_arch.errors import UserError  # noqa: E402
from vqcnir_arch.restoration.video import restore_video, result_ending, video_comment  # noqa: E402
from vqcnir_arch.restoration.video.colours import from_rgb, to_rgb  # noqa: E402
from vqcnir_arch.restoration.video.planning import light_of  # noqa: E402

ENTRIES = {"metadata": {"title": "A night", "artist": "me"}}
FORMS = {
    "mkv": {"name": "a.mkv", "sounds": ("aac", "libmp3lame"), "subtitles": "subrip", "chapters": True, **ENTRIES},
    "mp4": {"name": "a.MP4", "sounds": ("aac", "flac"), "subtitles": "mov_text", "chapters": True, **ENTRIES},
    "mov": {"name": "a.mov", "sounds": ("pcm_s16le", "pcm_s24le"), "chapters": True, **ENTRIES},
    "m4v": {"name": "a.m4v", "sounds": ("aac",), "container": "mp4"},
    "webm": {"name": "a.webm", "sounds": ("libopus",), "codec": "libvpx-vp9", "size": (47, 63)},
    "late sound": {"name": "late.mkv", "sounds": ("aac",), "late": 24000},
    "late picture": {"name": "late.mp4", "sounds": ("aac",), "times": [60, 61, 62, 63, 64, 65]},
    "avi": {"name": "a.avi", "sounds": ("libmp3lame",), "codec": "mpeg4", "metadata": {"title": "A night"}},
    "flv": {"name": "a.flv", "sounds": ("libmp3lame",), "clock": Fraction(1, 1000), "metadata": {"title": "A night"}},
    "wmv": {"name": "a.wmv", "sounds": ("wmav2",), "codec": "wmv2", "metadata": {"title": "A night"}},
    "3gp": {"name": "a.3gp", "sounds": ("aac",)},
    "ts": {"name": "a.ts", "sounds": ("mp2", "ac3"), "codec": "mpeg2video", "rate": 25},
    "mts": {"name": "a.mts", "sounds": ("ac3",), "rate": 25, "container": "mpegts"},
    "mpg": {"name": "a.mpg", "sounds": ("mp2",), "codec": "mpeg2video", "rate": 25},
}  # fmt: skip
CODECS = {".webm": "vp9", ".avi": "mpeg4", ".wmv": "wmv2"}


def same(frame):
    return frame


@pytest.mark.parametrize("form", FORMS)
def test_all_else_is_kept(tmp_path, form):
    source = make_video(tmp_path / FORMS[form]["name"], **{k: v for k, v in FORMS[form].items() if k != "name"})
    result = tmp_path / f"result{result_ending(source)}"
    said = []
    assert restore_video(source, result, same, "vqcnir 1", announce=said.append) == 6
    assert said == []
    assert video_comment(result) == "vqcnir 1"
    step = 1e-3 if result.suffix == ".mkv" and source.suffix != ".mkv" else 0  # Matroska counts milliseconds
    before, after = beside(source), beside(result)
    for index, packets in before.items():
        assert [content for _, content in after[index]] == [content for _, content in packets]
        assert max(abs(a - b) for (a, _), (b, _) in zip(after[index], packets, strict=True)) <= step
    assert max(abs(a - b) for a, b in zip(shown(result)[0], shown(source)[0], strict=True)) <= step
    with av.open(str(source)) as old, av.open(str(result)) as new:
        assert len(new.streams) == len(old.streams)
        entries = {key.lower(): text for key, text in new.metadata.items()}
        assert FORMS[form].get("metadata", {}).items() <= entries.items()
        assert [chapter["metadata"] for chapter in new.chapters()] == [c["metadata"] for c in old.chapters()]
        languages = [[stream.metadata.get("language") for stream in file.streams.audio] for file in (old, new)]
        assert languages[0] == languages[1]
        assert new.streams.video[0].codec_context.name == CODECS.get(result.suffix, "h264")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, result.name])


def test_covers_attachments_and_further_pictures(tmp_path):
    cover = io.BytesIO()
    Image.fromarray(picture(3)).save(cover, "JPEG")
    for name, ending in (("a: %d", ".mp4"), ("#b", ".mkv")):
        path = tmp_path / f"{name}{ending}"
        with av.open(f"file:{path}", "w") as writer:
            pictures = [writer.add_stream("libx264", rate=12, width=64, height=48) for _ in range(2)]
            if ending == ".mkv":
                writer.add_attachment("font.ttf", "application/x-truetype-font", b"font" * 20)
            else:
                front = writer.add_mux_stream("mjpeg", width=64, height=48)
                front.disposition = Disposition.attached_pic
                front.time_base = Fraction(1, 90000)
                writer.start_encoding()
                packet = av.Packet(cover.getvalue())
                packet.pts = packet.dts = 0
                packet.stream, packet.time_base, packet.is_keyframe = front, front.time_base, True
                writer.mux(packet)
            for i in range(3):
                for stream in pictures:
                    writer.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i))))
            for stream in pictures:
                writer.mux(stream.encode())
        restore_video(path, tmp_path / f"result{ending}", same, announce=pytest.fail)
        with av.open(f"file:{path}") as old, av.open(str(tmp_path / f"result{ending}")) as new:
            kinds = [[(s.type, s.disposition, s.metadata.get("filename")) for s in file.streams] for file in (old, new)]
            assert kinds[0] == kinds[1] and len(kinds[0]) == 3
        assert list(beside(tmp_path / f"result{ending}")) == [1]


def test_own_comment_and_date_and_phone_entries(tmp_path):
    entries = {
        "comment": "at the lake",
        "creation_time": "2024-05-06T07:08:09.000000Z",
        "com.apple.quicktime.location.ISO6709": "+10+020/",
    }
    make_video(tmp_path / "a.mov", metadata=entries, muxer={"movflags": "use_metadata_tags"})
    restore_video(tmp_path / "a.mov", tmp_path / "b.mov", same, "vqcnir 1")
    with av.open(str(tmp_path / "b.mov")) as result:
        kept = {key: result.metadata[key] for key in entries}
    assert kept == {**entries, "comment": "vqcnir 1\nat the lake"}


def test_what_a_container_cannot_hold_is_named(tmp_path):
    make_video(tmp_path / "a.mp4", container="matroska", sounds=("aac",), subtitles="subrip", metadata={"MOOD": "blue"})
    said = []
    restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", same, announce=said.append)
    assert said == [f"{tmp_path / 'a.mp4'}: 'b.mp4' cannot hold subtitle stream 2 (srt), entry 'MOOD'"]
    assert beside(tmp_path / "b.mp4")


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turned_upright(tmp_path, rotation, flip):
    """FFmpeg's angle is counter-clockwise, and it turns before it mirrors."""
    make_video(tmp_path / "a.mp4", 2, rotation=rotation, flip=flip, aspect=Fraction(4, 3), options={"crf": "1"})
    restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", same)
    (frame, _) = shown(tmp_path / "b.mp4")[1]
    wanted = np.rot90(picture(0), rotation // 90)
    wanted = wanted[:, ::-1] if flip else wanted
    assert frame.rotation == 0
    assert frame.to_ndarray(format="rgb24").shape == wanted.shape
    assert abs(frame.to_ndarray(format="rgb24").astype(int) - wanted).mean() < 4
    with av.open(str(tmp_path / "b.mp4")) as result:
        aspect = result.streams.video[0].sample_aspect_ratio
    assert aspect == (Fraction(3, 4) if rotation in (90, 270) else Fraction(4, 3))


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_variable_rate(tmp_path, ending):
    times = [0, 33, 67, 100, 141, 183, 600, 601, 2000]
    codec = "libvpx-vp9" if ending == ".webm" else "libx264"
    make_video(tmp_path / f"a{ending}", 9, codec, times=times, clock=Fraction(1, 1000))
    restore_video(tmp_path / f"a{ending}", tmp_path / f"b{ending}", same)
    assert shown(tmp_path / f"b{ending}")[0] == [Fraction(t, 1000) for t in times]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_b_frames_in_avi(tmp_path, codec):
    make_video(tmp_path / "a.avi", 12, codec, options={"bf": "2"})
    restore_video(tmp_path / "a.avi", tmp_path / "b.avi", same)
    assert shown(tmp_path / "b.avi")[0] == [Fraction(i, 12) for i in range(12)]
    blues = [frame.to_ndarray(format="rgb24")[..., 2].mean() for frame in shown(tmp_path / "b.avi")[1]]
    assert blues[:8] == sorted(blues[:8])


def test_matroska_that_starts_late(tmp_path):
    """Its length counts from 0."""
    make_video(tmp_path / "a.mkv", times=[3600000 + 40 * i for i in range(6)], clock=Fraction(1, 1000))
    assert restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", same) == 6
    assert shown(tmp_path / "b.mkv")[0] == shown(tmp_path / "a.mkv")[0]


def test_sound_in_packets_that_last_long(tmp_path):
    make_video(tmp_path / "a.mkv", 12, sounds=("wavpack",), times=list(range(12)), clock=Fraction(1, 100))
    assert restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", same) == 12
    assert beside(tmp_path / "b.mkv") == beside(tmp_path / "a.mkv")


@pytest.mark.parametrize("ending", [".mov", ".mp4"])
def test_time_code_and_a_track_of_data(tmp_path, ending):
    """As of cameras: FFmpeg writes the track of a time code anew and does not take a copied one."""
    with av.open(str(tmp_path / f"a{ending}"), "w") as writer:
        stream = writer.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        stream.metadata["timecode"] = "01:02:03:04"
        writer.mux([*stream.encode(av.VideoFrame.from_ndarray(picture(0))), *stream.encode(None)])
    content = (tmp_path / f"a{ending}").read_bytes()
    assert b"tmcd" in content
    (tmp_path / f"telemetry{ending}").write_bytes(content.replace(b"mhlrtmcd", b"mhlrmeta").replace(b"tmcd", b"gpmd"))
    for name in ("a", "telemetry"):
        assert restore_video(tmp_path / f"{name}{ending}", tmp_path / f"{name}_b{ending}", same) == 1
        assert len(beside(tmp_path / f"{name}_b{ending}")) == 1
    with av.open(str(tmp_path / f"a_b{ending}")) as result:
        assert [stream.metadata.get("timecode") for stream in result.streams] == ["01:02:03:04"] * 2


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le"])
def test_grey_is_of_full_range(tmp_path, pix_fmt):
    with av.open(str(tmp_path / "a.mkv"), "w") as writer:
        stream = writer.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        grey = np.tile(np.linspace(0, 1, 64), (48, 1))
        levels = (grey * 255).astype(np.uint8) if pix_fmt == "gray" else (grey * 1023).astype(np.uint16)
        writer.mux([*stream.encode(av.VideoFrame.from_ndarray(levels, format=pix_fmt)), *stream.encode(None)])
    restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", same)
    (frame,) = shown(tmp_path / "b.mkv")[1]
    assert abs(to_rgb(frame)[..., 0] - grey).max() < 0.03


@pytest.mark.parametrize(("pix_fmt", "codec"), [
    ("yuv420p", "libx264"), ("yuv422p", "libx264"), ("yuv444p", "libx264"), ("yuv420p10le", "libx265"),
])  # fmt: skip
@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 1, 6, 6), (5, 1, 5, 6), (9, 1, 9, 14), (1, 2, 1, 1)])
def test_colours_are_kept(tmp_path, pix_fmt, codec, tags):
    quiet = {"x265-params": "log-level=none", "crf": "1"}
    make_video(tmp_path / "a.mp4", 1, codec, pix_fmt=pix_fmt, tags=tags, options=quiet)
    restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", same)
    before, after = shown(tmp_path / "a.mp4")[1][0], shown(tmp_path / "b.mp4")[1][0]
    assert (after.colorspace, after.color_range, after.color_primaries, after.color_trc) == tags
    assert after.format.name.replace("j", "") == pix_fmt
    assert abs(to_rgb(after) - to_rgb(before)).mean() < 2 / 255
    assert abs(to_rgb(before) * 255 - picture(0)).mean() < 4


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 1, 6, 6), (9, 1, 9, 14), (1, 2, 1, 1), (6, 2, 6, 6)])
@pytest.mark.parametrize("bits", [8, 10])
def test_conversion_is_exact(tags, bits):
    from vqcnir_arch.restoration.video.colours import Colours

    colours = Colours(*tags, bits, "444")
    rgb = np.random.default_rng(0).random((16, 24, 3)).astype(np.float32)
    frame = from_rgb(rgb, colours, "yuv444p" if bits == 8 else "yuv444p10le")
    assert abs(to_rgb(frame) - rgb).max() < 2 / 2**bits


@pytest.mark.parametrize(("size", "matrix"), [((720, 64), 1), ((48, 64), 6)])
def test_untagged_as_players_take_it(tmp_path, size, matrix):
    make_video(tmp_path / "a.mp4", 1, size=size)
    restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", same)
    before, after = shown(tmp_path / "a.mp4")[1][0], shown(tmp_path / "b.mp4")[1][0]
    assert (before.colorspace, after.colorspace) == (2, matrix)
    assert abs(to_rgb(after) - to_rgb(before)).mean() < 2 / 255


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_kept_and_said(tmp_path, transfer, name):
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    options = {"x265-params": f"log-level=none:bframes=0:{light}"}  # with B-frames the muxer fails once in a hundred
    source = make_video(
        tmp_path / "a.mp4", 2, "libx265", pix_fmt="yuv420p10le", tags=(9, 1, 9, transfer), options=options
    )
    said = []
    restore_video(source, tmp_path / "b.mp4", same, announce=said.append)
    assert [line for line in said if name in line] == said and len(said) == 1
    before, after = shown(source)[1][0], shown(tmp_path / "b.mp4")[1][0]
    assert (after.colorspace, after.color_primaries, after.color_trc) == (9, 9, transfer)
    assert after.format.name == "yuv420p10le"
    assert light_of(after) == light_of(before) == f":{light}"
    assert abs(to_rgb(after) - to_rgb(before)).mean() < 0.01


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.avi", "a.mp4", "a.wmv"])
def test_odd_sizes(tmp_path, name):
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4", ".wmv": "mpeg4"}.get(name[-5:].lstrip("a"), "ffv1")
    container = "matroska" if name == "a.mp4" else None
    make_video(tmp_path / name, 2, codec, size=(47, 63), pix_fmt="bgr0" if codec == "ffv1" else "yuv420p",
               container=container)  # fmt: skip
    restore_video(tmp_path / name, tmp_path / f"b{name[1:]}", same)
    before, after = shown(tmp_path / name)[1][0], shown(tmp_path / f"b{name[1:]}")[1][0]
    assert (after.height, after.width) == (47, 63)
    assert abs(to_rgb(after) - to_rgb(before)).mean() < 0.02


def test_ten_bit_in_windows_media(tmp_path):
    make_video(tmp_path / "a.wmv", 4, "ffv1", pix_fmt="yuv420p10le", clock=Fraction(1, 1000))
    restore_video(tmp_path / "a.wmv", tmp_path / "b.wmv", same)
    times, (frame, *_) = shown(tmp_path / "b.wmv")
    assert times == shown(tmp_path / "a.wmv")[0]
    assert frame.format.name == "yuv420p10le"


def test_size_that_an_encoder_does_not_take(tmp_path):
    make_video(tmp_path / "a.mkv", 1, "ffv1", size=(8, 8), pix_fmt="yuv420p10le")
    with pytest.raises(UserError, match=r"a\.mkv' cannot be restored: libx265 encodes no frames of 8 x 8"):
        restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda frame: pytest.fail("time was spent"))


def test_interlaced(tmp_path):
    make_video(tmp_path / "a.ts", codec="mpeg2video", rate=25, options={"flags": "+ildct+ilme"})
    said = []
    assert restore_video(tmp_path / "a.ts", tmp_path / "b.mkv", same, announce=said.append) == 6
    assert said == [f"{tmp_path / 'a.ts'}: is interlaced: each two fields become a frame"]
    assert not any(frame.interlaced_frame for frame in shown(tmp_path / "b.mkv")[1])
    assert shown(tmp_path / "b.mkv")[0] == shown(tmp_path / "a.ts")[0]


def test_not_a_video(tmp_path):
    make_video(tmp_path / "film.mp4", 1)
    with pytest.raises(UserError, match=r"64 x 48 pixels, more than --max-megapixels 0\.001"):
        restore_video(tmp_path / "film.mp4", tmp_path / "b.mp4", same, max_megapixels=0.001)
    with av.open(str(tmp_path / "sound.mp4"), "w") as writer:
        track = writer.add_stream("aac", rate=48000)
        track.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        writer.mux([*track.encode(frame), *track.encode(None)])
    with pytest.raises(UserError, match="has no picture"):
        restore_video(tmp_path / "sound.mp4", tmp_path / "b.mp4", same)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile film.mp4\n")
    with pytest.raises(UserError, match=r"'.*list\.mp4' cannot be read"):
        restore_video(tmp_path / "list.mp4", tmp_path / "b.mp4", same)
    (tmp_path / "list.mp4").unlink()
    (tmp_path / "page.mp4").write_text("<html>")
    with pytest.raises(UserError, match=r"'.*page\.mp4' cannot be read: Invalid data"):
        restore_video(tmp_path / "page.mp4", tmp_path / "b.mp4", same)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "page.mp4", "sound.mp4"]
