"""The page of the papers' rows: complete, true of the option files, and its commands give the rows."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from vqcnir_arch.evaluation.papers import paper_rows, papers
from vqcnir_arch.evaluation.protocols import find_protocol
from vqcnir_arch.evaluation.sets import find_row, sets_of_blocks
from vqcnir_arch.launch import argument_parser
from vqcnir_arch.options.force import apply_forced
from vqcnir_arch.options.read import load_file
from vqcnir_arch.study.reproduction import reproductions, trainings_of
from vqcnir_arch.study.rows import ROWS
from vqcnir_arch.study.rows_page import page

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/rows.md").read_text(encoding="utf-8")
RIVALS = ("LEDNet", "LLFlow", "MIMO", "DarkIR", "LIEDNet-L", "JUDE", "URWKV", "RUAS")


def test_the_page_is_the_generated_one():
    assert page() == PAGE, "python -m vqcnir_arch.study.rows_page > docs/rows.md"


def test_every_row_of_every_table_is_there_once():
    for text in PAGE.split("\n## ")[2:]:
        title, lines = text.splitlines()[0], [line for line in text.splitlines() if line.startswith("| ")][1:]
        found = Counter(tuple(cell.strip() for cell in line.strip("|").split("|"))[:-1] for line in lines)
        expected = Counter()
        for table in papers().tables:
            kind = f"table {table.table}" if table.table.isdigit() else f"table of {table.table}"
            if title == f"{table.source}, {kind}: {', '.join(table.measures).upper()}":
                expected += Counter((m, b.set, *values) for b in table.blocks for m, values in b.rows.items())
        assert found == expected and set(found.values()) == {1}, title
    assert PAGE.count("\n| ") == len(paper_rows()) + len(papers().tables)


def test_what_is_ours_to_run():
    """All that VQCNIR and SinCA print of their networks, and VQCNIR as LIEDNet measured it; no rival."""
    ours = [(row.label, row.set) for each in reproductions() for row in each.rows]
    assert len(ours) == len(set(ours))
    rivals = [row for row in paper_rows() if (row.label, row.set) not in ours]
    assert all(trainings_of(row) is None for row in rivals)
    assert not [row.label for row in rivals if row.source == "SinCA" or "VQCNIR" in row.method]
    assert not [label for label, _ in ours if label.partition(": ")[2].startswith(RIVALS)]
    claimed = {text for row in ROWS.values() for text in row.printed if "{}" not in text}
    assert claimed <= {label for label, _ in ours}
    assert Counter(row.source for row in paper_rows() if trainings_of(row) is not None) == {
        "VQCNIR": 7, "VQCNIR supplement": 9, "SinCA": 90, "LIEDNet": 2,
    }  # fmt: skip


@pytest.mark.parametrize("row", reproductions(), ids=lambda row: f"{row.label} {row.test}")
def test_commands(row):
    """They parse, name files that are there and options that these have, and test the sets that print the row."""
    for command in row.train_commands:
        known = argument_parser("train").parse_args(command[1:])
        options = load_file(ROOT / known.opt)[0]
        assert options["train"] and f"vqcnir {shlex.join(command)}\n" in PAGE
    known = argument_parser("test").parse_args(row.test_command[1:])
    assert f"vqcnir {shlex.join(row.test_command)}\n" in PAGE
    options = load_file(ROOT / known.opt)[0]
    forced, _ = apply_forced(options, known.force_yml)
    if row.trainings:
        trained = load_file(ROOT / "options" / row.trainings[-1])[0]
        checkpoint = options["network_g"].get("from") or options["path"]["pretrain_network_g"]
        assert checkpoint == f"experiments/{trained['name']}/models/net_g_latest.pth"
        assert trained["scale"] == options["scale"]
    protocol = find_protocol(known.protocol)
    blocks = [block for phase, block in options["datasets"].items() if phase.startswith("test")]
    sets = sets_of_blocks([], blocks, options["scale"], protocol)
    assert {each.set for each in row.rows} <= set(sets) and known.row == find_row(known.row, protocol, sets)
    assert bool(known.reference) == any("fid" in each.values for each in row.rows)
    assert not forced or ("network_g", "from") in forced


def test_stages_before():
    first = {row.label: (row.first, row.trainings) for row in reproductions()}
    stage2, stage3 = (f"codeformer/sinca/train_codeformer_stage{n}_sinca.yml" for n in (2, 3))
    assert first["SinCA 4: CodeFormer + SinCA"] == (["codeformer/train_codeformer_stage1.yml"], (stage2, stage3))
    assert first["SinCA 4: FeMaSR + SA"][0] == ["femasr/train_femasr_hq.yml"]
    assert len(first["SinCA 4: AdaCode + SA"][0]) == 6
    assert first["VQCNIR 3: VQGAN"] == ([], ("prior/train_prior.yml",))
    assert first["SinCA 1: FeMaSR (release)"] == ([], ())


@pytest.mark.usefixtures("fresh_basicsr_log")
def test_commands_give_their_rows(load_script, use_hub, tmp_path, capsys):
    """A row of VQCNIR that no test file has, and a released file on four sets; the script runs all of them."""
    script = load_script("run_rows")
    use_hub(tmp_path / "hub")
    runner = script.Runner(tmp_path / "rows")
    chosen = ("VQCNIR supplement 3: Add", "SinCA 1: FeMaSR (release)")
    rows = {row.label: row for row in reproductions() if row.label in chosen}
    assert list(script.failures(runner, rows.values())) == []
    out = capsys.readouterr().out
    assert "OK VQCNIR supplement 3: Add, LOL-Blur" in out and "OK SinCA 1: FeMaSR (release), Urban100 x4" in out
    assert len(runner.done) == 4  # stage I, stage II, two tests

    add = rows["VQCNIR supplement 3: Add"]
    skff = next(row for row in reproductions() if row.label == "VQCNIR supplement 3: SKFF")
    with script.contextlib.chdir(runner.place), pytest.raises(AssertionError, match=r"the tables hold .*'Add'"):
        script.check(replace(add, rows=skff.rows))
