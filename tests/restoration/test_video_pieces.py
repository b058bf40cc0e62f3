"""Videos that break off, that are stopped and go on, with a stage between network and encoder, and by the command."""

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra [video] is not installed")

from videos import beside, make_video, shown  # noqa: E402

from vqcnir_arch.cli import dispatch  # noqa: E402
from vqcnir_arch.errors import UserError  # noqa: E402
from vqcnir_arch.restoration.video import Frame, Stage, restore_video  # noqa: E402
from vqcnir_arch.restoration.video.colours import to_rgb  # noqa: E402
from vqcnir_arch.restoration.video.pieces import folder_of  # noqa: E402


def same(frame):
    return frame


def cut(path, share):
    """Break a file off, as a download does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi", "a.flv", "a.wmv"])
@pytest.mark.parametrize("sounds", [(), ("libmp3lame",)])
def test_what_there_is_of_a_cut_file(tmp_path, name, sounds):
    codec = {"a.avi": "mpeg4", "a.wmv": "wmv2"}.get(name, "libx264")
    muxer = {"movflags": "faststart"} if name == "a.mp4" else {}
    clock = Fraction(1, 1000) if name in ("a.flv", "a.wmv") else None
    source = make_video(tmp_path / name, 60, codec, sounds, muxer=muxer, clock=clock, size=(144, 192))
    whole = shown(source)[0]
    cut(source, 0.6)
    result = tmp_path / f"b{name[1:]}"
    with pytest.raises(UserError) as caught:
        restore_video(source, result, same)
    fault, _, kept = str(caught.value).partition("; ")
    told = re.fullmatch(rf"video '{source}' breaks off after frame (\d+), at (\d.\d\d) of 5.\d\d s", fault)
    assert kept == f"what there was is restored in '{result}'"
    times = shown(result)[0]
    assert int(told[1]) == len(times) and 5 < len(times) < 58
    assert abs(float(told[2]) - float(times[-1])) < 1
    assert set(times) < set(whole) and times[: len(times) // 2] == whole[: len(times) // 2]
    if sounds:
        assert len(beside(result)[1]) > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, result.name])


def test_damaged_in_the_middle(tmp_path):
    source = make_video(tmp_path / "a.mkv", 40, options={"g": "10", "bf": "0", "crf": "1"})
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    source.write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged at 1\.\d\d s; what there was is restored in"):
        restore_video(source, tmp_path / "b.mkv", same)
    assert shown(tmp_path / "b.mkv")[0][-1] == Fraction(3250, 1000)


def test_joined_recordings(tmp_path):
    first = make_video(tmp_path / "a.ts", 40, "mpeg2video", rate=25)
    first.write_bytes(
        first.read_bytes() + make_video(tmp_path / "b.ts", 5, "mpeg2video", rate=25, size=(32, 48)).read_bytes()
    )
    with pytest.raises(UserError, match=r"has times that go back at 1\.\d\d s; what there was"):
        restore_video(first, tmp_path / "c.mkv", same)
    assert {(frame.height, frame.width) for frame in shown(tmp_path / "c.mkv")[1]} == {(48, 64)}


class Stopped(Exception):
    pass


def stops_after(frames):
    """Return a network that is killed after so many frames, and what counts them."""
    done = []

    def restore(frame):
        if len(done) == frames:
            raise Stopped
        done.append(frame)
        return 1 - frame

    return restore, done


def test_goes_on_where_it_stopped(tmp_path):
    source = make_video(tmp_path / "a.mp4", 60, sounds=("aac",), size=(16, 32))
    restore_video(source, tmp_path / "whole.mp4", lambda frame: 1 - frame, job="one")
    target = tmp_path / "out.mp4"
    first, _ = stops_after(30)
    with pytest.raises(Stopped):
        restore_video(source, target, first, job="one")
    assert not target.exists()
    second, done = stops_after(36)
    said = []
    assert restore_video(source, target, second, job="one", announce=said.append) == 60
    assert said == [f"{source}: 24 frames were finished before"]
    assert len(done) == 36  # 24 are in the first piece
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_stopped_in_its_first_piece_leaves_nothing(tmp_path):
    source = make_video(tmp_path / "a.mkv", 30, size=(16, 32))
    with pytest.raises(Stopped):
        restore_video(source, tmp_path / "out.mkv", stops_after(5)[0])
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("other", ["job", "source", "stage"])
def test_another_job_begins_anew(tmp_path, other):
    source = make_video(tmp_path / "a.mkv", 30, size=(16, 32))
    first, _ = stops_after(26)
    with pytest.raises(Stopped):
        restore_video(source, tmp_path / "out.mkv", first)
    if other == "source":
        make_video(tmp_path / "a.mkv", 30, size=(32, 16))
    second, done = stops_after(30)
    stage = Stage(lambda frames: frames, 0, "none") if other == "stage" else None
    said = []
    job = "other" if other == "job" else ""
    restore_video(source, tmp_path / "out.mkv", second, job=job, stage=stage, announce=said.append)
    assert said == [f"{source}: what was finished with another input or setting is removed"]
    assert len(done) == 30
    assert shown(tmp_path / "out.mkv")[1][0].width == (16 if other == "source" else 32)


def smoothed(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Take the mean of each frame and the one after it."""
    last = None
    for before, after in pairwise(frames):
        last = after
        yield before._replace(restored=(before.restored + after.restored) / 2)
    if last is not None:
        yield last


def test_stage_that_looks_ahead(tmp_path):
    source = make_video(tmp_path / "a.mkv", 30, "ffv1", pix_fmt="bgr0", size=(16, 32))
    stage = Stage(smoothed, 1, "mean of two")
    restore_video(source, tmp_path / "whole.mkv", same, stage=stage)
    first, _ = stops_after(28)
    with pytest.raises(Stopped):
        restore_video(source, tmp_path / "b.mkv", lambda frame: 1 - first(frame), stage=stage)
    second, done = stops_after(7)
    restore_video(source, tmp_path / "b.mkv", lambda frame: 1 - second(frame), stage=stage)
    assert len(done) == 7  # 6 that were left, and one before them
    assert (tmp_path / "b.mkv").read_bytes() == (tmp_path / "whole.mkv").read_bytes()
    before, after = ([to_rgb(f) for f in shown(path)[1]] for path in (source, tmp_path / "b.mkv"))
    assert abs(after[2] - (before[2] + before[3]) / 2).mean() < 0.02


def command(weights, *arguments):
    dispatch(["restore", *map(str, arguments), "-w", str(weights), "--quiet", "--device", "cpu"])


def test_command_as_photographs(weights, tmp_path, capsys):
    """A frame gives what the same photograph does; in strips what it does whole."""
    source = make_video(tmp_path / "a.mkv", 3, "ffv1", ("aac",), pix_fmt="bgr0", size=(32, 48))
    command(weights, source, "-o", tmp_path / "whole", "--compare")
    command(weights, source, "-o", tmp_path / "strips", "--tile", "16")
    assert capsys.readouterr().err.count("restoring in strips") == 1
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == ["a.mkv", "a_compare.mkv"]
    import vqcnir_arch

    net = vqcnir_arch.load_network(str(weights))
    frames, whole, strips, compared = (
        [to_rgb(frame) for frame in shown(path)[1]]
        for path in (source, tmp_path / "whole/a.mkv", tmp_path / "strips/a.mkv", tmp_path / "whole/a_compare.mkv")
    )
    assert abs(vqcnir_arch.restore(net, frames[1]) - whole[1]).mean() < 0.03
    assert np.mean([abs(a - b).mean() for a, b in zip(whole, strips, strict=True)]) < 0.01
    assert abs(compared[1][:, :48] - frames[1]).mean() < 0.02
    assert abs(compared[1][:, 48:] - whole[1]).mean() < 0.02
    assert beside(tmp_path / "whole/a_compare.mkv")[1] == beside(source)[1]


def test_command_counts_and_names(weights, tmp_path, capsys):
    films = tmp_path / "films"
    films.mkdir()
    cut(make_video(films / "cut.mkv", 60, size=(16, 32)), 0.6)
    make_video(films / "cam.mts", 6, rate=25, container="mpegts")
    with pytest.raises(SystemExit) as caught:
        command(weights, films)
    assert caught.value.code == 1
    said = capsys.readouterr()
    assert "breaks off after frame" in said.err and "1 restored" in said.out and "1 failed" in said.out
    names = sorted(path.name for path in films.iterdir())
    assert names == ["cam.mts", "cam_restored.mkv", "cut.mkv", "cut_restored.mkv"]
    folder_of(films / "cut_restored.mkv").mkdir()  # killed in the moment before it was removed
    command(weights, films, "--skip-existing")
    assert not list(films.glob(".*"))
    assert "2 results skipped, 2 skipped, 0 failed" in capsys.readouterr().out


def test_memory_that_is_too_little(weights, tmp_path, capsys):
    make_video(tmp_path / "a.mkv", 2, size=(16, 32))
    with pytest.raises(SystemExit):
        command(weights, tmp_path / "a.mkv", "-o", tmp_path / "out", "--memory", "0.01")
    assert "pixels need a limit of at least" in capsys.readouterr().err
