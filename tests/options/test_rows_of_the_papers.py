"""What option files say at their top, and the table that they are written from, against the papers' tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vqcnir_arch.evaluation.papers import paper_rows
from vqcnir_arch.study.rows import ROWS

OPTIONS = Path(__file__).parents[2] / "options"
CLAIM = re.compile(r'"([^"]+)" of (?:SinCA )?tables? (\d(?:(?:, | and )\d)*)')
# the rows of each table as SinCA prints them, but for its comparison of single quantizers: (host, ...)
TABLE_1 = {(1, f"{host} {row}") for host in ("FeMaSR", "AdaCode") for row in ("(release)", "(re-train)", "+ SinCA")}
TABLE_2 = {(2, f"{host} {row}") for host in ("CodeFormer", "DAEFR") for row in ("(release)", "(re-train)", "+ SinCA")}
ABLATIONS = {
    (table, f"{host} {row}")
    for host in ("FeMaSR", "AdaCode", "CodeFormer", "DAEFR")
    for table, row in ((3, "(index)"), (3, "(feature)"), (4, "+ SA"), (4, "+ CA"), (4, "+ SinCA"))
}


def header(path):
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def claims(*patterns):
    """Every (table, row) that the option files of these names say they reproduce, with the files that do."""
    found = {}
    for path in sorted(path for pattern in patterns for path in OPTIONS.glob(pattern)):
        for row, tables in CLAIM.findall(header(path)):
            for table in re.findall(r"\d", tables):
                found.setdefault((int(table), row), []).append(path.stem)
    return found


@pytest.mark.parametrize("scale", [2, 4])
def test_super_resolution(scale):
    """Tables 3 and 4 are at x2 alone."""
    found = claims(*(f"{host}/{folder}*_x{scale}*.yml" for host in ("femasr", "adacode") for folder in ("", "sinca/")))
    ablations = {row for row in ABLATIONS if row[1].startswith(("FeMaSR", "AdaCode"))}
    assert set(found) == TABLE_1 | (ablations if scale == 2 else set())


def test_faces():
    found = claims(*(f"{host}/{folder}*.yml" for host in ("codeformer", "daefr") for folder in ("", "sinca/")))
    assert set(found) == TABLE_2 | {row for row in ABLATIONS if row[1].startswith(("CodeFormer", "DAEFR"))}
    for (_, row), files in found.items():
        kind = {f.partition("celeb")[0] for f in files}  # CelebA-Test and CelebChild-Test; CodeFormer's two stages
        assert len(kind) == (2 if row.startswith("CodeFormer") and "release" not in row else 1), (row, files)


def test_losses_that_a_row_adds_are_said():
    for path in OPTIONS.glob("*/sinca/*.yml"):
        text, top = path.read_text(encoding="utf-8"), header(path)
        if "femasr" in path.stem or "adacode" in path.stem:
            assert ("token_opt:" in text) == ("cross-entropy of the codes (appendix B.2)" in top), path
        assert ("target: hq_feature" in text) == ("unquantised feature" in top), path
        assert ("target: quantized" in text) == ("(appendix B.1)" in top), path
        assert ("gan_opt: ~" in text) == ("no GAN, as SinCA names none" in top), path


def test_no_other_host_claims_a_row():
    """VQCNIR is in none of SinCA's tables."""
    files = sorted(OPTIONS.glob("vqcnir/**/*.yml"))
    assert files and not [path.stem for path in files if re.search("SinCA tables?", header(path))]


def test_every_printed_row_is_in_the_table_and_in_a_file_with_its_numbers():
    """But for released files, of which the test files speak, and VQCNIR itself, whose training is written by hand."""
    tables = ("VQCNIR 3", "VQCNIR supplement 2", "VQCNIR supplement 3", "SinCA 1", "SinCA 2", "SinCA 3", "SinCA 4")
    hosts = ("FeMaSR", "AdaCode", "CodeFormer", "DAEFR")
    claimed = {text.format(host): name for name, row in ROWS.items() for text in row.printed for host in hosts}
    printed = [(f"{row.source} {row.table}", row) for row in paper_rows()]
    assert all(
        any(f"{table}: {row.method}" == text for table, row in printed) for text in claimed if "SinCA" not in text
    )
    headers = [header(path) for path in OPTIONS.rglob("*.yml")]
    found = 0
    for table, row in printed:
        if table not in tables or "(release)" in row.method:
            continue
        name = claimed[f"{table}: {row.method}"]
        stand = [text for text in headers if f'"{row.method}" of ' in text and row.numbers in text]
        assert name == "vqcnir" or stand, (table, row.method)
        found += name != "vqcnir"
    assert found == 11 + 32 + 8 + 12 + 18
