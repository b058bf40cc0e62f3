"""The papers' rows as data: their shape, values read from the papers, and what compares with what."""

from __future__ import annotations

import re

import pytest

from vqcnir_arch import UserError
from vqcnir_arch.evaluation.papers import column_for, compare, find_set, paper_rows, papers
from vqcnir_arch.evaluation.protocols import PROTOCOLS, WAYS

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
    assert len(noted) == len(papers().notes) == 5  # every note found its number


def verdict(protocol, method, table, measure, images=1800, test_set=None, source="VQCNIR"):
    found = row(protocol, method, table, test_set, source)
    column = column_for(measure, found.values[measure].way, PROTOCOLS[protocol])
    result = compare(found, measure, column, images, test_set)
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
    reasons = compare(found, "psnr", PROTOCOLS["bsr"].columns[0], 100, None).reasons
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
