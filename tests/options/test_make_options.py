"""The option files that are written from others and the table of rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vqcnir_arch.study.rows import EVERYWHERE, ROWS, Row, rows_of

OPTIONS = Path(__file__).parents[2] / "options"
TEXT = """# What it is,
# in two lines.
name: first
scale: 1

network_g:
  type: VQCNIR
  fusion: {type: DBCA, heads: [4, 4, 2, 1]}   # eq. 9
  prior: ~

train:
  optim_g: {type: Adam, lr: 1.0e-4, betas: [0.9, 0.99]}
  total_iter: 2000   # nominal
  steps:
    - {until: 10, w: 1.0}
    - {w: 0.5}
"""


@pytest.fixture
def made(load_script):
    """The option files that the script would write, path to text."""
    return load_script("make_options").files()


@pytest.fixture
def option_file(load_script):
    return load_script("option_file").OptionFile


def test_files_are_what_the_script_writes(made):
    written = {name: (OPTIONS / name).read_text(encoding="utf-8") for name in made}
    assert written == made, "run scripts/make_options.py"
    folders = {Path(name).parent for name in made if "/sinca/" in name or "/ablations/" in name}
    there = {path.relative_to(OPTIONS).as_posix() for folder in folders for path in (OPTIONS / folder).iterdir()}
    assert len(folders) == 5 and there <= set(made)


def test_a_quantizer_needs_one_entry(load_script, made, monkeypatch):
    block = {"quantizer": {"type": "VectorRegression", "head": "linear"}}
    monkeypatch.setitem(ROWS, "quantizer_new", Row("quantizer", "new", block, bases=EVERYWHERE))
    more = load_script("make_options").files()
    added = {name: yaml.safe_load(more[name]) for name in more.keys() - made.keys()}
    assert len(added) == len(EVERYWHERE) - 1  # the study writes its own
    assert all(options["network_g"]["quantizer"] == block["quantizer"] for options in added.values())
    assert {name: more[name] for name in made} == made
    assert rows_of("study")["quantizer_new"].network == block


def test_file_is_changed_as_data(option_file):
    file = option_file(TEXT)
    assert file.header == ["What it is,", "in two lines."]
    file["name"] = "yes"  # a word that YAML would read as true
    file["network_g.fusion"] = {"type": "DBCA", "heads": [4, 4, 2, 1]}
    file.insert("network_g.fusion", "upsample", "bilinear")
    file.comment("network_g.upsample", "as printed")
    del file["network_g.prior"]
    file["train.optim_g.lr"] = 3.6e-5
    file["train.total_iter"] = None
    file.replace_in_strings("bilinear", "nearest")
    file.head("Another.")
    expected = TEXT.replace("# What it is,\n# in two lines.", "# Another.").replace("first", "'yes'")
    expected = expected.replace("  prior: ~\n", "").replace("1.0e-4", "3.6e-5").replace("2000   # nominal", "~")
    expected = expected.replace("# eq. 9\n", "# eq. 9\n  upsample: nearest   # as printed\n")
    assert file.write() == expected


def test_base_that_has_changed_is_noticed(option_file):
    file = option_file(TEXT)
    for path in ("network_g.enhancer", "val.metrics"):
        with pytest.raises(KeyError):
            file[path] = 1
    with pytest.raises(ValueError, match="a form that would not be kept"):
        option_file(TEXT.replace("  prior", "  # the result of stage I\n  prior"))
