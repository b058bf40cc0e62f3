"""What `vqcnir evaluate` says of results that are not as the protocols mean them, and parts of an evaluation."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch
from vqcnir_arch.data.headers import read_header
from vqcnir_arch.evaluation.pairs import pair_results


def run(tree, *arguments, protocol="lolblur", status=0):
    truths = ["--gt", str(tree.gt)] if protocol != "real-lolblur" else []
    call = ["evaluate", str(tree.results), *truths, "--protocol", protocol, *map(str, arguments)]
    if not status:
        return dispatch(call)
    with pytest.raises(SystemExit) as caught:
        dispatch(call)
    assert caught.value.code == status


def refused(tree, *arguments, **options):
    with pytest.raises(UserError) as caught:
        run(tree, *arguments, **options)
    return str(caught.value)


def read(folder):
    with (folder / "images.csv").open(newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    return rows, json.loads((folder / "summary.json").read_text()), (folder / "table.md").read_text()


@pytest.fixture(autouse=True)
def no_weights(use_hub, tmp_path_factory):
    use_hub(tmp_path_factory.mktemp("empty_hub"))


def test_results_that_are_no_8_bit_rgb_png(tree, capsys):
    first, second, third, _ = (tree.results / f"{name}.png" for name in tree.images)
    image = Image.open(first)
    image.save(first.with_suffix(".jpg"))
    first.unlink()
    image.convert("L").save(second)
    cv2.imwrite(str(third), cv2.imread(str(third)).astype(np.uint16) * 257)
    run(tree)
    rows, summary, table = read(tree.root / "results_lolblur")
    line = "3 of 4 are not RGB PNG of 8 bit: 1 JPEG, 1 PNG (grey, repeated to RGB), 1 PNG (16 bit, cut to 8)"
    assert line in capsys.readouterr().out and line in table and line in summary["file_formats"]
    assert summary["not_8_bit_rgb_png"]["0000/0030"] == rows["0000/0030"]["notes"] == "JPEG"
    assert rows["0001/0031"]["notes"] == ""


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("-out", "did you mean --suffix=-out?)"),
        ("/0030_100", "0001/0031)"),
        ("_compare", "0001/0031)"),
    ],
)
def test_proposals(ending, expected):
    names = ("0000/0030", "0001/0030", "0001/0031")
    truths = {name: Path(name) for name in names}
    with pytest.raises(UserError) as caught:
        pair_results({f"{name}{ending}": Path(name) for name in names}, truths, "folders")
    assert str(caught.value).endswith(expected)


def test_grey_is_said_beside_the_rest(tmp_path):
    for mode, expected in (("I;16", "grey, 16 bit"), ("LA", "grey, alpha")):
        Image.new(mode, (16, 16)).save(tmp_path / "a.png")
        assert read_header(tmp_path / "a.png").oddity == expected


def test_the_suffix_is_proposed(tree):
    for name in tree.images:
        (tree.results / f"{name}.png").rename(tree.results / f"{name}_VQCNIR.png")
    assert refused(tree).endswith("(did you mean --suffix _VQCNIR?)")
    for name in tree.images:  # flat, as `<video>_<frame>`
        (tree.results / f"{name}_VQCNIR.png").rename(tree.results / f"{name.replace('/', '_')}_VQCNIR.png")
    assert refused(tree).endswith("(did you mean --suffix _VQCNIR?)")


def test_comparison_pictures_are_left_out(tree, capsys):
    for name in tree.images:
        both = np.concatenate((tree.truths[name], tree.images[name]), axis=1)
        cv2.imwrite(str(tree.results / f"{name}_compare.png"), both)
    run(tree)
    assert "left out: comparison pictures: 4 files ending in .png (" in capsys.readouterr().out
    _, summary, table = read(tree.root / "results_lolblur")
    assert summary["images"] == 4 and "0001/0031_compare.png" in summary["left_out"] and "_compare" in table
    cv2.imwrite(str(tree.results / "0000/0030_compare.png"), tree.images["0000/0030"])  # only called so
    assert "1 without ground truth (0000/0030_compare)" in refused(tree)


def test_a_wrong_size_is_told_from_an_unreadable_file(tree, capsys):
    for name in tree.images:
        cv2.imwrite(str(tree.results / f"{name}.png"), tree.images[name][::2, ::2])
    message = refused(tree)
    first = f"sizes differ: '{tree.results}/0000/0030.png' is 100 x 52, '{tree.gt}/0000/0030.png' is 200 x 104"
    assert message == (f"nothing was measured: 4 images are of another size than their ground truths, first: {first}")
    (tree.results / "0001/0031.png").write_bytes(b"?")
    assert refused(tree).splitlines() == [
        f"nothing was measured: 3 images are of another size than their ground truths, first: {first}",
        f"nothing was measured: 1 images are unreadable, first: image '{tree.results}/0001/0031.png' cannot be read: "
        "truncated or not an image (1 bytes)",
    ]


def test_reasons_of_a_metric(tree, capsys):
    for name, size in {"0000/0030": 8, "0000/0031": 64}.items():
        for folder in (tree.results, tree.gt):
            image = cv2.imread(f"{folder}/{name}.png")
            cv2.imwrite(f"{folder}/{name}.png", image[:size, :size])
    cv2.imwrite(f"{tree.results}/0001/0030.png", np.full((104, 200, 3), 90, np.uint8))
    run(tree)
    notes = {name: row["notes"] for name, row in read(tree.root / "results_lolblur")[0].items()}
    niqe = "niqe: too small: the metric needs two squares of 96 x 96 pixels"
    assert "ssim: too small: the metric needs 11 x 11 pixels (image of 8 x 8); " in notes["0000/0030"]
    assert f"{niqe} (image of 8 x 8)" in notes["0000/0030"] and f"{niqe} (image of 64 x 64)" == notes["0000/0031"]
    assert notes["0001/0030"] == "niqe: the metric has no value for a constant image (image of 200 x 104, constant)"


def test_out_is_not_among_the_ground_truths(tree):
    for out in (tree.gt, tree.gt / "values", tree.results / "../gt/x"):
        assert f"is in the folder of the ground truths, '{tree.gt}'" in refused(tree, "--out", out)
    said = refused(tree, "--reference", tree.results, "--out", tree.results, protocol="face")
    assert f"is in the folder of the reference set, '{tree.results}'" in said
    assert not list(tree.gt.glob("*.json*"))


def test_parts_make_what_one_makes(tree, capsys, monkeypatch):
    import basicsr.metrics

    (tree.results / "0001/0031.png").write_bytes(b"?")
    run(tree, "--out", tree.root / "one", status=1)
    calls = []
    original = basicsr.metrics.calculate_niqe
    monkeypatch.setattr(basicsr.metrics, "calculate_niqe", lambda **kw: calls.append(1) or original(**kw))
    out = tree.root / "out"
    for part, status in (("1/2", 0), ("2/2", 1), ("2/2", 1)):
        capsys.readouterr()
        run(tree, "--out", out, "--shard", part, status=status)
        shown = capsys.readouterr()
        assert f"part {part[0]} of 2: 2 of 4 images, measured into '{out}'" in shown.out
        assert ("image 0001/0031 FAILED" in shown.err) == bool(status)
    assert len(calls) == 3
    assert sorted(path.name for path in out.iterdir()) == ["journal.1-of-2.jsonl", "journal.2-of-2.jsonl"]
    run(tree, "--out", out, "--shard", "1/1", status=1)
    assert len(calls) == 3 and "3 of 4 images are in the journal" in capsys.readouterr().out
    names = ("images.csv", "videos.csv", "summary.json", "table.md")
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "journal.jsonl"])
    assert all((out / name).read_bytes() == (tree.root / "one" / name).read_bytes() for name in names)
