"""The pages that say where things are, against what is there."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import yaml
from slow_files import SLOW_FILES

import vqcnir_arch

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["docs/architecture.md", "docs/README.md", "CONTRIBUTING.md"]
TEMPLATE = "NAME"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_the_index_has_every_page():
    linked = set(re.findall(r"\]\(([\w/-]+\.md)\)", text_of("docs/README.md")))
    assert linked == {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")} - {"README.md"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^):#]+)\)", text_of(page))
    assert links
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_named_files_exist(page):
    named = re.findall(r"`([\w./]+(?:\.(?:py|md|yml)|/))`", text_of(page))
    files = {name for name in named if TEMPLATE not in name}
    assert len(files) >= 4
    assert [f for f in files if not any((place / f).exists() for place in (ROOT, ROOT / "vqcnir_arch"))] == []


def test_slow_files_exist():
    assert {file.stem for file in (ROOT / "tests").rglob("test_*.py")} >= SLOW_FILES


def test_citation_is_of_this_version():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["version"] == vqcnir_arch.__version__
    assert citation["license"] == "Apache-2.0"


def test_every_folder_of_the_option_files_is_described():
    """datasets/README.md says what goes into each folder, the variants of a name in braces written out."""
    page = text_of("datasets/README.md")
    described = set()
    for cell in re.findall(r"`([\w/{},-]+)`", page):
        parts = [part.split(",") for part in re.split(r"[{}]", cell)]
        described |= {"".join(variant) for variant in itertools.product(*parts)}
    named = set()
    for path in (ROOT / "options").rglob("*.yml"):
        for folder in re.findall(r"\bdatasets/([\w/-]+)", path.read_text(encoding="utf-8")):
            if "NAME" not in folder:
                named.add(folder.rstrip("/"))
    unknown = {f for f in named if not any(f == d or f.startswith(f"{d}/") for d in described)}
    assert len(named) > 20 and not unknown
