"""`vqcnir data synth`: what it writes, continues with, makes again, and refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import scene
from odd_images import READABLE, REFUSED, write_odd

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch
from vqcnir_arch.data import LOLBlurDataset, NightBlurDataset, synthesis
from vqcnir_arch.data.night_blur.recipe import FOLDERS
from vqcnir_arch.data.synthesis import pair_generator

PHOTOS = ("chelsea", "more/coffee")


@pytest.fixture
def sharp(tmp_path):
    folder = tmp_path / "sharp"
    for name in PHOTOS:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), scene(path.stem, 64, 48)[..., ::-1])
    return folder


def synth(*arguments):
    dispatch(["data", "synth", *map(str, arguments), *(() if "--workers" in arguments else ("--workers", "1"))])


def refusal(*arguments):
    with pytest.raises(UserError) as caught:
        synth(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_layout_is_lolblurs(sharp, tmp_path):
    out = tmp_path / "out"
    synth(sharp, out, "--recipe", "lolblur", "--pairs-per-image", "2", "--seed", "5", "--split", "test")
    expected = {f"test/{folder}/{name}/000{i}.png" for folder in FOLDERS for name in PHOTOS for i in (0, 1)}
    assert content(out).keys() == {*expected, "test/manifest.jsonl"}
    data = LOLBlurDataset({"name": "x", "phase": "test", "dataroot": str(out)})
    assert data.names == ["chelsea/0000", "chelsea/0001", "more/coffee/0000", "more/coffee/0001"]
    assert data[0]["lq"].shape == (3, 48, 64) and not data[0]["lq"].equal(data[1]["lq"])
    plan, *rows = lines(out / "test/manifest.jsonl")
    assert plan["recipe"] == "lolblur" and plan["seed"] == 5 and plan["settings"]["exposure"] == [0.02, 0.15]
    assert [(row["name"], row["pair"]) for row in rows] == [(n, i) for n in PHOTOS for i in (0, 1)]
    assert all(row["draws"]["exposure"] and len(row["files"]) == 5 for row in rows)


def test_data_set_gives_the_same_pairs(sharp, tmp_path):
    synth(
        sharp, tmp_path / "out", "--recipe", "real-night", "--seed", "3", "--split", "test", "--exposure", "0.1", "0.1"
    )
    written = LOLBlurDataset({"name": "x", "phase": "test", "dataroot": str(tmp_path / "out")})
    options = {"recipe": "real-night", "seed": 3, "settings": {"exposure": [0.1, 0.1]}}
    made = NightBlurDataset({"name": "x", "phase": "val", "dataroot": str(sharp), **options})
    assert made.names == list(PHOTOS)
    for i in (0, 1):
        assert made[i]["lq"].equal(written[i]["lq"]) and made[i]["gt"].equal(written[i]["gt"])


def test_a_script_without_guard_is_told(sharp, tmp_path):
    """Each worker imports the script that calls it, which would start workers again."""
    script = tmp_path / "script.py"
    script.write_text("from vqcnir_arch.cli import main\nmain()\n")
    arguments = ["data", "synth", str(sharp), str(tmp_path / "out"), "--recipe", "lolblur", "--workers", "2"]
    ended = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    line = ended.stderr.splitlines()[-1]
    assert ended.returncode == 2
    assert line.startswith("vqcnir: error: no worker process could begin") and 'if __name__ == "__main__":' in line


def test_a_worker_that_dies_at_work_is_told(monkeypatch):
    monkeypatch.setattr(synthesis, "do_job", os._exit)
    with (
        pytest.raises(UserError, match=r"a worker process died \(out of memory\?\)"),
        synthesis.outcomes([1], 2) as done,
    ):
        list(done)


def test_workers_do_not_matter_and_the_command_runs_by_itself(sharp, tmp_path):
    synth(sharp, tmp_path / "one", "--recipe", "lolblur")
    code = "from vqcnir_arch.cli import main; main()"
    line = [
        sys.executable,
        "-c",
        code,
        "data",
        "synth",
        sharp,
        tmp_path / "two",
        "--recipe",
        "lolblur",
        "--workers",
        "2",
    ]
    done = subprocess.run(line, capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "2 pairs made, 0 were there" in done.stdout and "100%" in done.stderr
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_going_on_with_what_was_begun(sharp, tmp_path, capsys):
    out = tmp_path / "out"
    synth(sharp, out, "--recipe", "lolblur", "--pairs-per-image", "2")
    whole = content(out)
    manifest = out / "train/manifest.jsonl"
    text = manifest.read_text()
    manifest.write_text(text[:-40])  # as a crash leaves it
    (out / "train/low_blur/chelsea/0000.png").unlink()
    (out / "train/low_blur/chelsea/0001.png").write_bytes(b"half")
    capsys.readouterr()
    synth(sharp, out, "--recipe", "lolblur", "--pairs-per-image", "2")
    assert "3 pairs made, 1 were there" in capsys.readouterr().out
    assert content(out) == whole
    synth(sharp, out, "--recipe", "lolblur", "--pairs-per-image", "2")
    assert "0 pairs made, 4 were there" in capsys.readouterr().out


def test_parts_make_what_one_makes(sharp, tmp_path, capsys):
    cv2.imwrite(str(sharp / "zebra.png"), scene("rocket", 64, 48))
    (sharp / "IMG_1.HEIX").write_bytes(b"?")
    synth(sharp, tmp_path / "one", "--recipe", "lolblur")
    assert f"not taken: 1 file ending in .heix ({sharp}/IMG_1.HEIX)" in (shown := capsys.readouterr()).err
    assert "3 pairs made, 0 were there, 1 not taken" in shown.out
    out = tmp_path / "out"
    for part, line in (("2/2", "1 pairs made, 0"), ("1/2", "2 pairs made, 0"), ("2/2", "0 pairs made, 1")):
        synth(sharp, out, "--recipe", "lolblur", "--shard", part)
        assert f"part {part[0]} of 2: {line} were there" in (shown := capsys.readouterr()).out
        assert ("IMG_1" in shown.err) == (part == "1/2")
    assert {p.name for p in (out / "train").glob("*.jsonl")} == {"manifest.1-of-2.jsonl", "manifest.2-of-2.jsonl"}
    assert "was made with seed 0, not 1" in refusal(sharp, out, "--recipe", "lolblur", "--seed", "1", "--shard", "1/2")
    synth(sharp, out, "--recipe", "lolblur")  # joins them
    assert "0 pairs made, 3 were there" in capsys.readouterr().out
    assert content(out) == content(tmp_path / "one")
    manifest = out / "train/manifest.jsonl"
    for part in ("1/2", "2/2"):
        synth(sharp, tmp_path / "again", "--remake", manifest, "--shard", part)
    assert content(tmp_path / "again") == {name: b for name, b in content(out).items() if not name.endswith("jsonl")}


def test_a_name_that_is_too_long_for_a_pair_stops_nothing(sharp, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(synthesis, "why_unwritable", lambda path: "too long" if "coffee" in str(path) else None)
    assert "1 of 2 photographs could not be used" in refusal(sharp, tmp_path / "out", "--recipe", "lolblur")
    shown = capsys.readouterr()
    assert "coffee.png': its pair cannot be saved: too long" in shown.err and "1 pairs made" in shown.out


def test_remaking_byte_for_byte(sharp, tmp_path):
    synth(sharp, tmp_path / "out", "--recipe", "lolblur", "--seed", "9", "--max-length", "3", "9", "--max-side", "~")
    manifest = tmp_path / "out/train/manifest.jsonl"
    synth(sharp, tmp_path / "again", "--remake", manifest)
    first = content(tmp_path / "out")
    del first["train/manifest.jsonl"]
    assert content(tmp_path / "again") == first

    rows = lines(manifest)
    rows[1]["draws"]["brightness"] = 0.5
    changed = tmp_path / "changed.jsonl"
    changed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "1 of 2 photographs" in refusal(sharp, tmp_path / "third", "--remake", changed)
    rows[0]["recipe_version"] = 99
    changed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "of version 99 of recipe lolblur, this is 1" in refusal(sharp, tmp_path / "third", "--remake", changed)
    changed.write_text('{"recipe": "lolblur"}\n')
    assert "line 1: recipe_version: field required" in refusal(sharp, tmp_path / "third", "--remake", changed)
    (sharp / "chelsea.png").unlink()
    assert "lacks 1 photographs of the manifest, first 'chelsea'" in refusal(
        sharp, tmp_path / "third", "--remake", manifest
    )


def test_odd_photographs(sharp, tmp_path, capsys):
    image = scene("rocket", 48, 32)
    for number, name in enumerate((*READABLE, *REFUSED)):
        write_odd(name, image, sharp / f"odd{number:02}")
    bad, total = len(REFUSED), len(READABLE) + len(REFUSED) + 2
    out = tmp_path / "out"
    assert f"{bad} of {total} photographs could not be used" in refusal(sharp, out, "--recipe", "lolblur")
    told = capsys.readouterr()
    assert told.err.count("cannot be read") == bad and "odd17" in told.err
    assert f"{total - bad} pairs made" in told.out
    made = {Path(row["name"]).name for row in lines(out / "train/manifest.jsonl")[1:]}
    assert made == {"chelsea", "coffee", *(f"odd{i:02}" for i in range(len(READABLE)))}
    upright = READABLE.index("EXIF-rotated PNG")
    shown = cv2.imread(str(out / f"train/high_sharp_original/odd{upright:02}/0000.png"))
    assert shown.shape == image.shape


def test_changed_photograph_is_not_mixed_in(sharp, tmp_path, capsys):
    synth(sharp, tmp_path / "out", "--recipe", "lolblur")
    cv2.imwrite(str(sharp / "chelsea.png"), scene("rocket", 64, 48))
    assert "1 of 2 photographs" in refusal(sharp, tmp_path / "out", "--recipe", "lolblur")
    assert "is not the one that its pairs were made from" in capsys.readouterr().err


def test_full_disk(sharp, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = refusal(sharp, tmp_path / "out", "--recipe", "lolblur")
    assert "cannot be saved: No space left on device" in message
    monkeypatch.undo()
    assert not list((tmp_path / "out").rglob("*.png*"))


def test_refusals(sharp, tmp_path):
    out = tmp_path / "out"
    assert "there is no recipe 'lolbur' (did you mean 'lolblur'?)" in refusal(sharp, out, "--recipe", "lolbur")
    assert "--recipe is missing (known: " in refusal(sharp, out)
    assert "no option '--exposur' (did you mean '--exposure'?)" in refusal(
        sharp, out, "--recipe", "lolblur", "--exposur", "1"
    )
    assert "recipe lolblur: exposure: value error, the first of the two" in refusal(
        sharp, out, "--recipe", "lolblur", "--exposure", "0.2", "0.1"
    )
    assert "SHARP_DIR" in refusal(sharp.with_name("shrp"), out, "--recipe", "lolblur")
    assert "is inside SHARP_DIR" in refusal(sharp, sharp / "out", "--recipe", "lolblur")
    assert "leave --recipe out" in refusal(sharp, out, "--recipe", "lolblur", "--remake", "x")
    assert "manifest 'x' cannot be read: No such file" in refusal(sharp, out, "--remake", "x")
    assert not out.exists()
    with pytest.raises(UserError, match="there is no verb 'sinth'"):
        dispatch(["data", "sinth"])
    (out / "train/low_blur/mine").mkdir(parents=True)
    assert "is not empty and" in refusal(sharp, out, "--recipe", "lolblur")


def test_other_settings_are_refused_by_name(sharp, tmp_path):
    out = tmp_path / "out"
    synth(sharp, out, "--recipe", "lolblur")
    message = refusal(sharp, out, "--recipe", "lolblur", "--seed", "1", "--exposure", "0.1", "0.2")
    assert "was made with seed 0, not 1; exposure [0.02, 0.15], not [0.1, 0.2]: name a new output folder" in message
    synth(sharp, out, "--recipe", "lolblur", "--seed", "1", "--split", "test")  # another split is another set


def test_generator_depends_on_seed_name_and_pair():
    first = pair_generator(0, "a", 0).random(4)
    np.testing.assert_array_equal(first, pair_generator(0, "a", 0).random(4))
    for other in ((1, "a", 0), (0, "b", 0), (0, "a", 1)):
        assert not np.array_equal(first, pair_generator(*other).random(4))


def test_help_names_recipes_and_their_settings(capsys):
    for arguments, expected in ((["--help"], "real-night"), (["--recipe", "lolblur", "--help"], "--exposure X X")):
        with pytest.raises(SystemExit) as caught:
            dispatch(["data", "synth", *arguments])
        assert caught.value.code == 0 and expected in capsys.readouterr().out
    dispatch(["data", "--help"])
    assert "synth" in capsys.readouterr().out
