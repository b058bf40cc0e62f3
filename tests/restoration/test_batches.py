"""`vqcnir restore` on many files: what is taken, where it goes, what is said of the rest, and parts of a batch."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqcnir_arch.atomic_files import atomic_write, temporary_of, why_unwritable
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.inputs import find_tasks


@pytest.fixture
def night(tmp_path):
    picture(tmp_path / "night/a.png")
    picture(tmp_path / "night/more/b.jpg")
    return tmp_path / "night"


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def restore(weights, *arguments, status=0):
    call = ["restore", *map(str, arguments), "-w", str(weights), "--quiet", "--device", "cpu"]
    if not status:
        return dispatch(call)
    with pytest.raises(SystemExit) as caught:
        dispatch(call)
    assert caught.value.code == status


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def taken(*inputs, **options):
    return [task.source.as_posix() for task in find_tasks([*map(str, inputs)], **options).tasks]


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_what_is_not_taken_is_named_and_counted(weights, night, tmp_path, capsys):
    for name in ("IMG_1.xyz", "more/IMG_2.XYZ", "readme", ".hidden.xyz", ".thumbs/c.png"):
        (night / name).parent.mkdir(exist_ok=True)
        (night / name).write_bytes(b"?")
    (night / "gone.png").symlink_to(tmp_path / "nowhere.png")
    restore(weights, night, "-o", tmp_path / "out")
    shown = capsys.readouterr()
    assert "2 restored to" in shown.out and "0 skipped, 4 not taken, 0 failed" in shown.out
    assert f"not taken: 2 files ending in .xyz ({night}/IMG_1.xyz, {night}/more/IMG_2.XYZ)" in shown.err
    assert f"not taken: 1 file without an ending ({night}/readme)" in shown.err
    assert f"1 file that cannot be opened, a broken link or a pipe ({night}/gone.png)" in shown.err
    assert ".hidden" not in shown.err and ".thumbs" not in shown.err
    restore(weights, night / "*", "-o", tmp_path / "pattern")
    assert "1 restored to" in (shown := capsys.readouterr()).out and "3 not taken" in shown.out
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.xyz").write_bytes(b"?")
    with pytest.raises(UserError, match=r"has no images or videos, only 1 file ending in \.xyz"):
        taken(tmp_path / "other")


def test_a_bad_input_stops_nothing(weights, night, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    restore(weights, tmp_path / "nihgt", night, tmp_path / "empty", "-o", tmp_path / "out", status=2)
    shown = capsys.readouterr()
    assert "2 restored to" in shown.out and "2 failed" in shown.out
    assert "nihgt' does not exist (did you mean 'night'?)" in shown.err and "empty' has no images" in shown.err
    with pytest.raises(UserError, match=r"nihgt' does not exist.*\n.*empty' has no images"):
        taken(tmp_path / "nihgt", tmp_path / "empty")
    (tmp_path / "link.png").symlink_to("nowhere.png")
    with pytest.raises(UserError, match=r"link.png' is a link to 'nowhere.png', which does not exist"):
        taken(tmp_path / "link.png")


def test_brackets(night, tmp_path):
    place = tmp_path / "a [2024]"
    shutil.copytree(night, place)
    picture(place / "x[1].png")
    assert taken(place / "*.png") == [f"{place}/a.png", f"{place}/x[1].png"]
    assert taken(place / "x[1].png") == [f"{place}/x[1].png"]  # a path that exists is no pattern
    picture(place / "x1.png")
    assert taken(place / "x[0-9].png") == [f"{place}/x1.png"]
    assert taken(place / "**/*.jpg") == [f"{place}/more/b.jpg"]
    with pytest.raises(UserError, match=r"no image or video matches .*\(did you mean 'a \[2024\]'\?\)"):
        taken(tmp_path / "a [2023]/*.png")
    with pytest.raises(UserError, match=r"a\.pgn' does not exist \(did you mean 'a.png'\?\)"):
        taken(place / "a.pgn")
    with pytest.raises(UserError, match=r"matches .*: \[ab\] stands for a or b, and \[\[\] for \[ itself"):
        taken(place / "[zq][zq][zq][zq].tif")
    with pytest.raises(UserError, match=r"nihgt/\*' does not exist \(did you mean 'night'\?\)"):
        taken(tmp_path / "nihgt/*")
    with pytest.raises(UserError, match="matches folders alone: name them"):
        taken(night / "mo*")


def test_a_file_that_is_given_twice(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (night / "again").symlink_to(".")  # a loop
    (tmp_path / "other").symlink_to("night")
    expected = ["night/a.png", "night/more/b.jpg"]
    out = tmp_path / "out"
    assert taken("night", out=out) == expected
    assert taken("night", night / "a.png", "other/more", "./night/more/b.jpg", "night/*.png", out=out) == expected
    (night / "twin").symlink_to("more")  # no loop: both names have a result, beside them it is the same file
    assert taken("night", out=out) == [*expected, "night/twin/b.jpg"]
    assert taken("night") == expected


def test_results_are_never_inputs(weights, night, capsys):
    Image.open(night / "a.png").save(night / "c.bmp")  # which cannot say that it is a result
    for _ in range(2):
        restore(weights, night, "-o", night / "restored")
    assert sorted(contents(night / "restored")) == ["a.png", "c.bmp", "more/b.jpg"]
    assert "3 restored to" in (shown := capsys.readouterr().out) and "3 results skipped" in shown
    assert taken(night / "restored/c.bmp", out=night / "restored", suffix="_2") == [f"{night}/restored/c.bmp"]


# --- where it goes ---------------------------------------------------------------------------------------------------


def test_two_inputs_for_one_output(night, tmp_path):
    out = tmp_path / "out"
    picture(night / "a.jpg")
    assert len(taken(night, out=out)) == 3
    with pytest.raises(UserError, match=r"a\.jpg' and '.*a\.png' would both be written to '.*a_compare\.png'"):
        taken(night, out=out, compare=True)
    (night / "a.jpg").unlink()
    picture(night / "a_compare.png")
    with pytest.raises(UserError, match=r"would both be written to '.*out/a_compare\.png'"):
        taken(night, out=out, compare=True)
    with pytest.raises(UserError, match=r"a_restored_compare\.png' is no result of vqcnir and stays as it is"):
        picture(night / "a_restored_compare.png")
        taken(night / "a.png", compare=True)
    with pytest.raises(UserError, match=r"a_compare\.png' would be overwritten by a result of '.*a\.png'"):
        taken(night / "a.png", night / "a_compare.png", suffix="_compare")


def test_the_longest_names(weights, night, tmp_path, capsys):
    longest = ["n" * 251 + ".jpg", "夜" * 83 + ".png"]
    for name in longest:
        picture(night / name)
    restore(weights, night, "-o", tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == sorted([*longest, "a.png", "more/b.jpg"])
    restore(weights, night, status=2)  # beside them there is no room for a suffix
    shown = capsys.readouterr()
    assert shown.err.count("a result cannot be saved: ") == 2 and "File name too long" in shown.err
    assert "2 restored beside their inputs, 0 results skipped, 2 failed" in shown.out


def test_a_read_only_folder(weights, night, tmp_path, capsys, monkeypatch):
    for out in ("out", "takes all the same"):
        (tmp_path / out / "more").mkdir(parents=True)
    is_writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "more" and is_writable(path, mode))
    restore(weights, night, "-o", tmp_path / "takes all the same")
    capsys.readouterr()

    def read_only(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    restore(weights, night, "-o", tmp_path / "out", status=1)
    shown = capsys.readouterr()
    assert f"a result cannot be saved: folder '{tmp_path}/out/more': Read-only file system" in shown.err
    assert list(contents(tmp_path / "out")) == ["a.png"] and "1 restored" in shown.out


def test_clean_up_that_fails_hides_no_error(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    with (
        pytest.raises(UserError, match=r"missing/x' cannot be saved: No such file"),
        atomic_write(tmp_path / "missing/x"),
    ):
        pass
    assert why_unwritable(tmp_path / ("n" * 256)) == f"'{tmp_path}/{'n' * 256}': File name too long"
    assert why_unwritable(tmp_path / "missing/x") is None


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("-o", ""), "expected a path, got '' (a variable that is not set?)"),
        (("--suffix", "/../../evil"), "expected a part of a file's name, without '/', got '/../../evil'"),
        (("--shard", "0/3"), "expected part/parts, counted from 1, such as 1/4 to 4/4, got '0/3'"),
    ],
)
def test_flags_that_cannot_be(weights, night, capsys, flags, line):
    restore(weights, night, *flags, status=2)
    assert line in capsys.readouterr().err
    with pytest.raises(UserError, match=r"an input is '' \(a variable that is not set\?\)"):
        restore(weights, "", "-o", night)


# --- parts -----------------------------------------------------------------------------------------------------------


def test_parts_make_what_one_makes(weights, night, tmp_path, capsys, monkeypatch):
    for i in range(3):
        picture(night / f"more/{i}.png", i)
    (night / "broken.png").write_bytes(b"?")
    (night / "note.txt").write_text("?")
    restore(weights, night, "-o", tmp_path / "one", status=1)
    out = tmp_path / "out"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    capsys.readouterr()
    restore(weights, night, "-o", out)
    shown = capsys.readouterr()
    assert "note: part 1 of 2, since RANK and WORLD_SIZE are set (--shard 1/1: everything)" in shown.err
    assert "part 1 of 2: 3 restored to" in shown.out and "1 not taken, 0 failed" in shown.out
    for _ in range(2):  # the second part once more
        restore(weights, night, "-o", out, "--shard", "2/2", status=1)
        shown = capsys.readouterr()
        assert "part 2 of 2: 2 restored to" in shown.out and "0 skipped, 1 failed" in shown.out
        assert "broken.png" in shown.err and "note" not in shown.err
    assert contents(out) == contents(tmp_path / "one")
    restore(weights, night / "a.png", "-o", tmp_path / "all", "--shard", "1/1")
    assert list(contents(tmp_path / "all")) == ["a.png"]


def test_a_part_leaves_what_another_is_writing(weights, night, tmp_path):
    theirs, ours = (temporary_of(tmp_path / "out" / name) for name in ("a.png", "more/b.jpg"))
    for half in (theirs, ours):
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(b"half")
    restore(weights, night, "-o", tmp_path / "out", "--shard", "2/2")
    assert theirs.exists() and not ours.exists()
