"""Runs and results for the tests of `vqcnir report`, and its page read without a browser."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
from conftest import write_night_pairs
from training_runs import make_images, options, test_here, train_here

from vqcnir_arch.cli import dispatch
from vqcnir_arch.demo.baselines import apply_gamma

NAMES = ["0000/0030", "0000/0031", "0001/0030", "0001/0031"]


def make_runs(root: Path) -> None:
    """Train two tiny priors with the launcher, and test the first one."""
    make_images(root / "images")
    train_here(options(root, logger__use_tb_logger=True), root)
    changes = {"name": "second", "manual_seed": 3, "network_g__codebook_size": 32, "train__total_iter": 4}
    train_here(options(root, logger__use_tb_logger=True, **changes), root)
    made = options(root, name="tested", val__save_img=True, network_d=None)
    made["datasets"] = {"test": made["datasets"]["val"]}
    made["path"]["pretrain_network_g"] = str(root / "experiments/run/models/net_g_latest.pth")
    del made["train"], made["logger"], made["val"]["val_freq"]
    test_here(made, root)


def make_results(root: Path) -> None:
    """Write night pairs of photographs in two videos, and two ways to brighten them as results."""
    write_night_pairs(root / "pairs", "test", width=96, height=72)
    for name in NAMES:
        image = cv2.imread(str(root / f"pairs/test/low_blur_noise/{name}.png"))
        for results, gamma in (("bright", 0.4), ("brighter", 0.3)):
            path = root / f"brightened/{results}/{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), apply_gamma(image, gamma))


def result_arguments(root: Path) -> list[str]:
    results = [f"{name}={root / 'brightened' / name}" for name in ("bright", "brighter")]
    sides = ["--gt", f"{root}/pairs/test/high_sharp_scaled", "--lq", f"{root}/pairs/test/low_blur_noise"]
    return ["--results", *results, *sides]


def report(out: Path, *arguments: object) -> Page:
    dispatch(["report", *map(str, arguments), "--out", str(out)])
    return Page(out)


class Page(HTMLParser):
    """What stands in a page: text by table row, charts, images, sections, and every address that it would load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.rows: list[list[str]] = []
        self.charts: dict[str, dict] = {}
        self.images: dict[str, str] = {}
        self.addresses: list[str] = []
        self.titles: list[str] = []
        self.styles = ""
        self.words = ""
        self._inside: list[tuple[str, dict]] = []
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        found = dict(attrs)
        self.addresses += [found[key] for key in ("src", "href", "srcset", "data", "action", "poster") if key in found]
        if tag == "img":
            self.images[found["alt"]] = found["src"]
        if tag in ("img", "meta", "link", "br", "input"):
            return
        self._inside.append((tag, found))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("h2", "h3", "h4"):
            self.titles.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop()[0] == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        tag, attributes = self._inside[-1] if self._inside else ("", {})
        if attributes.get("type") == "application/json":
            figure = json.loads(data)
            self.charts[figure["layout"]["title"]["text"]] = figure
        elif tag == "style":
            self.styles += data
        elif tag != "script":
            self.words += data
        inside = [name for name, _ in self._inside]
        if "td" in inside or "th" in inside:
            self.rows[-1][-1] += data.strip()
        if {"h2", "h3", "h4"} & set(inside):
            self.titles[-1] += data

    def row(self, title: str) -> list[str]:
        """The first row of any table that begins with a title."""
        return next(row for row in self.rows if row[0] == title)

    def curve(self, chart: str, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one line of a chart."""
        line = next(line for line in self.charts[chart]["data"] if line["name"] == name)
        return line["x"], line["y"]
