"""The papers' rows as data: their shape, values read from the papers, and what compares with what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from vqcnir_arch import UserError
from vqcnir_arch.evaluation.comparison import Conditions, column_for, compare
from vqcnir_arch.evaluation.papers import paper_rows, papers
from vqcnir_arch.evaluation.protocols import PROTOCOLS, WAYS
from vqcnir_arch.evaluation.sets import find_pair, find_set, sets_of_blocks

BSR_SETS = [f"{name} x{scale}" for scale in (2, 4) for name in ("Urban100", "BSDS100", "Manga109", "DIV2K valid")]


def row(protocol, method, table, test_set=None, source="VQCNIR"):
    found = [
        r for r in paper_rows(PROTOCOLS[protocol], test_set) if (r.method, r.table, r.source) == (method, table, source)
    ]
    assert len(found) == 1
    return found[0]


def printed(*args, **kwargs):
    return [value.printed for value in row(*args, **kwargs).values.values()]


def test_shape():
    counts = {}
    for table in papers().tables:
        for block in table.blocks:
            key = (table.source, table.table)
            counts[key] = counts.get(key, 0) + len(block.rows)
            for numbers in block.rows.values():
                assert all(re.fullmatch(r"\d+\.\d+", number) for number in numbers)
    assert counts == {
        ("VQCNIR", "1"): 15,
        ("VQCNIR", "2"): 14,
        ("VQCNIR", "3"): 5,
        ("VQCNIR supplement", "2"): 4,
        ("VQCNIR supplement", "3"): 5,
        ("SinCA", "1"): 6 * 8,
        ("SinCA", "2"): 6 * 2,
        ("SinCA", "3"): 4 * 3,
        ("SinCA", "4"): 6 * 3,
        ("LIEDNet", "LOL-Blur"): 4,
        ("DarkIR", "LOL-Blur"): 2,
        ("DarkIR", "LOL-Blur, several tasks"): 1,
        ("URWKV", "LOL-Blur"): 2,
        ("JUDE", "LOL-Blur"): 1,
        ("IAFE", "LOL-Blur"): 1,
        ("HVI-CIDNet", "LOL-Blur"): 1,
        ("DBR-Net", "LOL-Blur"): 1,
        ("LIEDNet", "Real-LOL-Blur"): 4,
        ("DarkIR", "Real-LOL-Blur"): 2,
        ("JUDE", "Real-LOL-Blur"): 2,
    }
    assert {r.set for r in paper_rows(PROTOCOLS["bsr"])} == set(BSR_SETS)


def test_values_as_printed():
    assert printed("lolblur", "VQCNIR", "1") == ["27.79", "0.875", "0.096"]
    assert printed("lolblur", "LEDNet*", "1") == ["25.74", "0.850", "0.224"]
    assert printed("real-lolblur", "VQCNIR", "2") == ["51.04", "7.064", "4.599"]
    assert printed("lolblur", "VQGAN", "3") == ["10.79", "0.3028"]
    supplement = {"source": "VQCNIR supplement"}
    assert printed("lolblur", "SwinTransformer", "2", **supplement) == ["27.34", "0.8668", "0.1013"]
    assert printed("lolblur", "SKFF", "3", **supplement) == ["27.48", "0.8692", "0.1001"]
    assert printed("bsr", "AdaCode + SinCA", "1", "Manga109 x4", "SinCA") == ["19.51", "0.6093", "0.4229"]
    assert printed("face", "DAEFR + SinCA", "2", "CelebA-Test", "SinCA") == ["21.57", "0.6092", "0.3606"]
    assert printed("face", "CodeFormer + SinCA", "2", "CelebChild-Test", "SinCA") == ["121.50", "5.112"]
    assert printed("bsr", "FeMaSR (index)", "3", "Urban100 x2", "SinCA") == ["19.78", "0.5666", "0.4101"]
    assert printed("face", "CodeFormer + CA", "4", "CelebA-Test", "SinCA") == ["22.83", "0.6310", "0.3154"]


def test_figures_as_printed():
    """SinCA, sections 4.1 and 4.2."""
    found = {}
    for figure in papers().figures:
        found.setdefault(figure.quantity, {})[figure.network] = figure.printed
    assert found == {
        "usage": {"FeMaSR": "3.32", "AdaCode": "20.76", "CodeFormer": "98.73", "DAEFR": "100"},
        "accuracy": {
            "FeMaSR": "at most 30.95", "AdaCode": "at most 30.95", "CodeFormer": "5.63", "DAEFR": "3.42",
        },
        "accuracy of clean": {"CodeFormer": "24.02"},
    }  # fmt: skip


def test_rows_that_stand_in_two_tables_agree():
    for test_set in ("DIV2K valid x2", "Urban100 x2"):
        for host in ("FeMaSR", "AdaCode"):
            of_tables = [
                printed("bsr", f"{host} {kind}", table, test_set, "SinCA")
                for kind, table in (("+ SinCA", "1"), ("(feature)", "3"), ("+ SinCA", "4"))
            ]
            assert of_tables[0] == of_tables[1] == of_tables[2]


def test_values_that_look_wrong_carry_a_note():
    assert "DMPHN" in row("real-lolblur", "MIMO*", "2").values["niqe"].note
    assert row("real-lolblur", "MIMO*", "2").values["niqe"].printed == "5.910"
    assert "43.48" in row("real-lolblur", "LEDNet", "2").values["musiq"].note
    adacode = row("bsr", "AdaCode (re-train)", "1", "Manga109 x4", "SinCA").values["lpips"]
    assert (adacode.printed, adacode.note is not None) == ("0.5607", True)
    index = row("bsr", "AdaCode (index)", "3", "DIV2K valid x2", "SinCA").values
    assert [(v.printed, v.note is not None) for v in index.values()] == [
        ("22.17", False),
        ("0.5542", True),
        ("0.4992", True),
    ]
    noted = [v for p in ("lolblur", "real-lolblur", "bsr", "face") for r in paper_rows(PROTOCOLS[p])
             for v in r.values.values() if v.note]  # fmt: skip
    assert len(noted) == len(papers().notes) == 8  # every note found its number


USUAL = ("low_blur_noise", "high_sharp_scaled")


def verdict(protocol, method, table, measure, images=1800, test_set=None, source="VQCNIR", pair=USUAL):
    found = row(protocol, method, table, test_set, source)
    column = column_for(measure, found.values[measure].way, PROTOCOLS[protocol])
    result = compare(found, measure, column, Conditions(PROTOCOLS[protocol], images, test_set, pair))
    return column.name, result.comparable, " ".join(result.reasons)


def test_comparable():
    assert verdict("lolblur", "VQCNIR", "1", "psnr") == ("psnr", "yes", "")
    assert verdict("lolblur", "VQCNIR", "1", "lpips") == ("lpips", "yes", "")
    name, answer, reason = verdict("lolblur", "VQCNIR", "1", "ssim")
    assert (name, answer) == ("ssim", "not known") and "does not say" in reason
    name, answer, reason = verdict("lolblur", "LEDNet*", "1", "lpips")
    assert (name, answer) == ("lpips_vgg", "no") and "fed BGR" in reason
    assert verdict("lednet", "LEDNet*", "1", "lpips") == ("lpips_vgg", "yes", "")
    assert verdict("lednet", "VQCNIR", "1", "lpips")[1] == "no"  # another network
    assert verdict("darkir", "DarkIR-l", "LOL-Blur", "lpips", source="DarkIR") == ("lpips_vgg_01", "yes", "")
    assert verdict("real-lolblur", "VQCNIR", "2", "niqe", images=1354) == ("niqe_pyiqa", "yes", "")


def test_not_comparable():
    name, answer, reason = verdict("lolblur", "VQCNIR", "1", "psnr", images=4)
    assert answer == "no" and reason == "LOL-Blur has 1,800 images, this is 4"
    sinca = ("bsr", "FeMaSR + SinCA", "1", "psnr")
    name, answer, reason = verdict(*sinca, images=100, test_set="DIV2K valid x2", source="SinCA")
    assert (name, answer) == ("psnr_y", "no") and "random draw" in reason and "BT.601 or YIQ" in reason
    found = row("bsr", "FeMaSR + SinCA", "1", "DIV2K valid x2", "SinCA")
    reasons = compare(found, "psnr", PROTOCOLS["bsr"].columns[0], Conditions(PROTOCOLS["bsr"], 100)).reasons
    assert "not named (--set)" in reasons[0]


def test_every_number_has_a_column_or_another_set():
    for protocol in PROTOCOLS.values():
        assert len({column.name for column in protocol.columns}) == len(protocol.columns)
        assert {column.way for column in protocol.columns} <= set(WAYS)
        rows = paper_rows(protocol)
        assert rows
        assert any(column_for(m, v.way, protocol) for r in rows for m, v in r.values.items())


def test_unknown_set():
    with pytest.raises(UserError, match=r"protocol bsr has no test set 'Urban100x2' \(did you mean 'Urban100 x2'"):
        find_set("Urban100x2", PROTOCOLS["bsr"])


def test_pair_of_folders_decides():
    """HVI-CIDNet restores frames without noise; the others' rows are of the usual pair, or do not say."""
    cidnet = ("lolblur", "HVI-CIDNet", "LOL-Blur", "psnr")
    name, answer, reason = verdict(*cidnet, source="HVI-CIDNet")
    assert (name, answer, reason) == ("psnr", "no", "input, theirs: low_blur; ours: low_blur_noise")
    quiet = ("low_blur", "high_sharp_scaled")
    assert verdict(*cidnet, source="HVI-CIDNet", pair=quiet) == ("psnr", "yes", "")
    assert verdict("lolblur", "VQCNIR", "1", "psnr", pair=quiet)[1] == "no"
    name, answer, reason = verdict("lolblur", "VQCNIR", "1", "psnr", pair=("low_blur_noise", "high_sharp_original"))
    assert (answer, reason) == ("no", "ground truth, theirs: high_sharp_scaled; ours: high_sharp_original")
    name, answer, reason = verdict("lolblur", "VQCNIR", "1", "psnr", pair=(None, "high_sharp_scaled"))
    assert answer == "not known" and reason.startswith("input, low_blur_noise or low_blur: not said of these results")
    name, answer, reason = verdict("lolblur", "URWKV", "LOL-Blur", "psnr", source="URWKV")
    assert answer == "not known" and "input, low_blur_noise or low_blur: the source does not say which" in reason


def test_claims_without_code():
    places = {r.source: r.place for r in paper_rows(PROTOCOLS["lolblur"])}
    assert {source for source, place in places.items() if place == f"{source} (claimed, no code)"} == {
        "DBR-Net", "IAFE", "JUDE",
    }  # fmt: skip
    assert printed("lolblur", "DBR-Net", "LOL-Blur", source="DBR-Net") == ["31.96", "0.912", "0.172"]
    assert printed("lolblur", "PDHAT", "LOL-Blur", source="URWKV") == ["26.71", "0.879"]
    assert printed("lolblur", "HVI-CIDNet", "LOL-Blur", source="HVI-CIDNet") == ["26.57", "0.8903", "0.1203"]
    # however it is measured: under the plain columns, never under GT-mean's
    for measure in ("psnr", "ssim"):
        name, answer, _ = verdict("lolblur", "DBR-Net", "LOL-Blur", measure, source="DBR-Net")
        assert (name, answer) == (measure, "not known")


def test_crop_border():
    cases = (
        ("FeMaSR + SinCA", "1", "psnr", True),
        ("FeMaSR + SA", "4", "ssim", True),
        ("FeMaSR + SinCA", "1", "lpips", False),
    )
    for method, table, measure, expected in cases:
        reason = verdict("bsr", method, table, measure, 100, "DIV2K valid x2", "SinCA")[2]
        assert ("option files cut 4 pixels off each side; ours: 0" in reason) == expected
    assert "CodeFormer's option files" in verdict("face", "DAEFR + CA", "4", "psnr", 3000, "CelebA-Test", "SinCA")[2]
    assert "crop" not in verdict("lolblur", "LIEDNet-L", "LOL-Blur", "psnr", source="LIEDNet")[2]


def block(name, **roots):
    return {"name": name, **roots}


@pytest.mark.parametrize(
    ("protocol", "scale", "data", "expected"),
    [
        ("bsr", 2, block("DIV2K_valid", dataroot_gt="datasets/bsr/DIV2K_valid_x2/gt"), "DIV2K valid x2"),
        ("bsr", 4, block("anything", dataroot_gt="/data/DIV2K_valid_HR", dataroot_lq="/data/lq"), "DIV2K valid x4"),
        ("bsr", 4, block("Urban100"), "Urban100 x4"),
        ("bsr", 3, block("Urban100"), None),
        ("bsr", 2, block("Urban100", dataroot_gt="datasets/bsr/Urban100_x4/gt"), "Urban100 x2"),
        ("bsr", 2, block("Set5", dataroot_gt="Set5/gt"), None),
        ("face", 1, block("mine", dataroot_lq="datasets/CelebChild-Test"), "CelebChild-Test"),
        ("lolblur", 1, block("dark", dataroot=["a", "datasets/LOLBlur"]), "LOL-Blur"),
        ("lolblur", 1, block("RealLOLBlur"), None),
        ("real-lolblur", 1, block("RealLOLBlur"), "Real-LOL-Blur"),
    ],
)
def test_set_of_a_data_set(protocol, scale, data, expected):
    assert sets_of_blocks([], [data], scale, PROTOCOLS[protocol]) == [expected]


def test_set_of_a_data_set_refused():
    bsr = PROTOCOLS["bsr"]
    two = [block("Urban100"), block("first", dataroot_gt="DIV2K_valid/gt")]
    assert sets_of_blocks([], two, 2, bsr) == ["Urban100 x2", "DIV2K valid x2"]
    assert sets_of_blocks(["Manga109 x2", "BSDS100 x2"], two, 2, bsr) == ["Manga109 x2", "BSDS100 x2"]
    with pytest.raises(UserError, match="--set: 'Manga109 x4' is of scale 4, the option file has scale: 2"):
        sets_of_blocks(["Manga109 x4", "BSDS100 x2"], two, 2, bsr)
    with pytest.raises(UserError, match="--set names 1 test sets, the option file has 2 data sets: Urban100, first"):
        sets_of_blocks(["Urban100 x2"], two, 2, bsr)
    with pytest.raises(UserError, match=r"no test set 'Urban x2' \(did you mean 'Urban100 x2'"):
        sets_of_blocks(["Urban x2", "BSDS100 x2"], two, 2, bsr)
    with pytest.raises(
        UserError, match=r"'Urban100' may be Manga109 x2 or Urban100 x2 by its name and folders: .*--set"
    ):
        sets_of_blocks([], [block("Urban100", dataroot_gt="Manga109/gt")], 2, bsr)


def test_pair_refused():
    with pytest.raises(UserError, match=r"'low_blur_nois' is no folder of inputs \(did you mean 'low_blur_noise'"):
        find_pair(("low_blur_nois", "high_sharp_scaled"), PROTOCOLS["lolblur"])
    with pytest.raises(UserError, match="have one pair of folders: leave --pair out"):
        find_pair(("low_blur", "high_sharp_scaled"), PROTOCOLS["bsr"])


def test_sets_of_the_option_files():
    """Every data set of a test file is found, but RealBlur, of which the papers print no number."""
    root = Path(__file__).parents[2] / "options"
    protocols = {"femasr": "bsr", "adacode": "bsr", "codeformer": "face", "daefr": "face", "vqcnir": "lolblur"}
    count = 0
    for folder, name in protocols.items():
        for path in sorted((root / folder).glob("test_*.yml")):
            options = yaml.safe_load(path.read_text())
            if "realblur" not in path.stem:
                name_here = "real-lolblur" if "real_lolblur" in path.stem else name
                found = sets_of_blocks([], list(options["datasets"].values()), options["scale"], PROTOCOLS[name_here])
                assert all(found) and len(set(found)) == len(found), path
                count += len(found)
    assert count >= 4 * 4 + 4 + 3
