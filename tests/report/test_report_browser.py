"""The report in a headless Chromium: charts are drawn, slider and zoom work, nothing is loaded, no error is logged."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from report_pages import make_results, report, result_arguments
from training_runs import make_images, options, train_here

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser to look with")


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium or Chrome, or the one that playwright has installed."""
    with playwright.sync_playwright() as driver:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next(filter(None, map(shutil.which, names)), driver.chromium.executable_path)
        if not os.access(path, os.X_OK):
            pytest.skip("no Chromium is installed")
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    make_images(root / "images")
    train_here(options(root, train__total_iter=3, logger__use_tb_logger=True), root)
    make_results(root)
    report(root / "report.html", root / "experiments/run", *result_arguments(root), "--crop", "0000/0030:1,1,9,9")
    return root / "report.html"


@pytest.fixture(scope="module")
def opened(browser, page_file):
    """The page, what it asked for, and what it complained about."""
    context = browser.new_context(offline=True)
    context.set_default_timeout(120_000)  # a busy machine takes its time over plotly.js
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_function("[...document.querySelectorAll('.chart')].every(c => c.querySelector('.main-svg'))")
    yield page, complaints, requests
    context.close()


@pytest.fixture
def shown(opened, page_file):
    """The page at a desk; afterwards it has loaded nothing and complained about nothing."""
    page, complaints, requests = opened
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    yield page
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]


def test_every_chart_is_drawn_and_every_image_decoded(shown):
    charts = shown.locator(".chart")
    assert charts.count() > 10
    assert all(charts.nth(i).locator("path.js-line, path.point").count() for i in range(charts.count()))
    assert shown.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_the_slider_moves_by_mouse_and_keys(shown):
    slider = shown.locator("img-comparison-slider").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert slider.evaluate("e => e.value") == 50
    shown.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    shown.mouse.down()
    shown.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 40, steps=4)
    shown.mouse.up()
    assert slider.evaluate("e => e.value") == pytest.approx(80, abs=1)
    clip = "e => getComputedStyle(e.shadowRoot.querySelector('.first-overlay-container')).clipPath"
    shown.wait_for_timeout(300)  # its transition
    assert float(re.match(r"inset\(0px ([\d.]+)%", slider.evaluate(clip))[1]) == pytest.approx(20, abs=2)
    slider.press("ArrowLeft", delay=200)
    assert slider.evaluate("e => e.value") < 79


def test_versions_can_be_chosen(shown):
    picture = shown.locator(".picture").first
    sources = picture.evaluate("e => [...e.querySelectorAll('.versions img')].map(i => i.src)")
    chosen = "(e, side) => e.querySelector(`[slot=${side}] img`).src"
    assert [picture.evaluate(chosen, side) for side in ("first", "second")] == sources[:2]
    picture.locator("select[data-side=second]").select_option("ground truth")
    assert picture.evaluate(chosen, "second") == sources[-1]


def test_zoom_and_pan_move_all_versions_of_a_picture(shown):
    picture = shown.locator(".picture").last
    picture.scroll_into_view_if_needed()
    seen = "e => [...e.querySelectorAll('.view img')].map(i => getComputedStyle(i).transform)"
    picture.locator("[data-zoom='4']").click()
    assert picture.locator("[data-zoom='4']").get_attribute("aria-pressed") == "true"
    box = picture.locator("img-comparison-slider").bounding_box()
    before = picture.evaluate(seen)
    assert all(matrix.startswith("matrix(4, 0, 0, 4,") for matrix in before)
    shown.mouse.move(box["x"] + 40, box["y"] + 30)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 100, box["y"] + 60, steps=4)
    shown.mouse.up()
    after = picture.evaluate(seen)
    shift = [float(b.split(",")[4]) - float(a.split(",")[4]) for a, b in zip(before, after, strict=True)]
    assert shift[:2] == pytest.approx([60, 60], abs=1)  # the two sides of the slider follow the pointer
    assert all(move > 1 for move in shift)
    assert picture.locator("img-comparison-slider").evaluate("e => e.value") == 50


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_the_page_fits_its_window(shown, width):
    shown.set_viewport_size({"width": width, "height": 800})
    shown.wait_for_function("w => document.documentElement.scrollWidth <= w", arg=width)


def test_charts_follow_the_dark_theme(shown):
    ink = "getComputedStyle(document.querySelector('.chart .xtick text')).fill"
    light = shown.evaluate(ink)
    shown.emulate_media(color_scheme="dark")
    shown.wait_for_function(f"light => {ink} != light", arg=light)
