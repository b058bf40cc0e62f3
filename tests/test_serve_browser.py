"""The page of `vqcnir serve` in a headless Chromium: photo, slider, download; it loads nothing else."""

from __future__ import annotations

import os
import shutil

import cv2
import pytest
from conftest import scene
from page_server import served

pytest.importorskip("gradio", reason="gradio is not installed (extra [serve])")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser to look with")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The opened page and what it asked for."""
    with playwright.sync_playwright() as driver:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next(filter(None, map(shutil.which, names)), driver.chromium.executable_path)
        if not os.access(path, os.X_OK):
            pytest.skip("no Chromium is installed")
        with served(tmp_path_factory.mktemp("browser")) as (address, _):
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.set_default_timeout(120_000)
            requests = []
            page.on("request", lambda request: requests.append(request.url))
            page.goto(address)
            page.wait_for_selector("#restore")
            yield page, requests, address
            browser.close()


def drop(page, path):
    """Drop a file on the page, press the button and return the line that it then shows."""
    if page.locator("[aria-label='Clear']").count():
        page.locator("[aria-label='Clear']").first.click()
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_selector(f"text={path.stem}")
    before = page.input_value("#status textarea")
    page.click("#restore")
    page.wait_for_function("b => ![b, ''].includes(document.querySelector('#status textarea').value)", arg=before)
    return page.input_value("#status textarea")


def test_restore_compare_and_download(page, tmp_path):
    page, _, _ = page
    photo, broken = tmp_path / "night.png", tmp_path / "broken.png"
    cv2.imwrite(str(photo), scene("astronaut", 96, 64)[..., ::-1])
    broken.write_bytes(photo.read_bytes()[:900])

    assert drop(page, broken).startswith("image 'broken.png' cannot be read")
    assert page.locator("#download").is_disabled()

    assert drop(page, photo).startswith("96 x 64 restored by tiny.pth in ")
    loaded = "[...document.querySelectorAll('#slider img')].filter(i => i.complete && i.naturalWidth).length == 2"
    page.wait_for_function(loaded)
    sizes = page.evaluate("[...document.querySelectorAll('#slider img')].map(i => [i.naturalWidth, i.naturalHeight])")
    assert sizes == [[96, 64], [96, 64]]
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "night_restored.png"
    download.value.save_as(tmp_path / "got.png")
    assert cv2.imread(str(tmp_path / "got.png")).shape == (64, 96, 3)


def test_the_slider_moves(page):
    page, _, _ = page
    handle = page.locator("#slider .inner").first
    start = handle.bounding_box()
    x, y = start["x"] + start["width"] / 2, start["y"] + start["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=4)
    page.mouse.up()
    assert handle.bounding_box()["x"] == pytest.approx(start["x"] + 60, abs=8)


def test_the_page_loads_from_its_own_server_alone(page):
    _, requests, address = page
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_its_window(page, width):
    page, _, _ = page
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function("w => document.documentElement.scrollWidth <= w", arg=width)
