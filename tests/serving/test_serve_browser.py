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
        with served(tmp_path_factory.mktemp("browser"), megapixels=1) as (address, _):
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
    """Drop a file on the page."""
    if page.locator("[aria-label='Clear']").count():
        page.locator("[aria-label='Clear']").first.click()
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_selector(f"text={path.stem}")


def loaded(selector, count):
    return (
        f"[...document.querySelectorAll('{selector} img')].filter(i => i.complete && i.naturalWidth).length == {count}"
    )


def test_an_error_looks_like_one(page, tmp_path):
    page, _, _ = page
    page.click("#restore")
    page.wait_for_selector("#status [role=alert] >> text=choose a photo first")
    broken = tmp_path / "broken.png"
    broken.write_bytes(cv2.imencode(".png", scene("astronaut", 96, 64))[1].tobytes()[:900])
    drop(page, broken)
    box = page.wait_for_selector("#status [role=alert] >> text=image 'broken.png' cannot be read")
    red, green, blue = box.evaluate("e => getComputedStyle(e).color.match(/\\d+/g).slice(0, 3).map(Number)")
    assert red > 2 * max(green, blue)
    assert page.locator("#download").is_disabled() and not page.locator("#picture img").count()


def test_see_restore_compare_and_download(page, tmp_path):
    page, _, _ = page
    photo = tmp_path / "night.png"
    cv2.imwrite(str(photo), scene("astronaut", 96, 64)[..., ::-1])
    drop(page, photo)
    page.wait_for_function(loaded("#picture", 1))
    assert not page.locator("#slider").is_visible() and not page.inner_text("#status").strip()

    page.click("#restore")
    page.wait_for_selector("#status >> text=96 x 64 restored by tiny.pth in ")
    page.wait_for_function(loaded("#slider", 2))
    assert not page.locator("#picture").is_visible()
    sizes = page.evaluate("[...document.querySelectorAll('#slider img')].map(i => [i.naturalWidth, i.naturalHeight])")
    assert sizes == [[96, 64], [96, 64]]
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "night_restored.png"
    download.value.save_as(tmp_path / "got.png")
    assert cv2.imread(str(tmp_path / "got.png")).shape == (64, 96, 3)


def test_another_strength_changes_the_result(page):
    page, _, _ = page
    sources = "[...document.querySelectorAll('#slider img')].map(i => i.src)"
    before = page.evaluate(sources)
    page.fill("#strength input[type=number]", "0.5")
    page.locator("#strength input[type=number]").blur()
    page.wait_for_function(f"b => {{ const now = {sources}; return now[0] == b[0] && now[1] != b[1] }}", arg=before)


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


def test_the_example_fills_the_page_and_clearing_empties_it(page):
    page, _, _ = page
    page.locator("[aria-label='Clear']").first.click()
    page.wait_for_selector("#picture", state="visible")
    page.click("#example")
    page.wait_for_function(loaded("#picture", 1))
    page.click("#restore")
    page.locator("[aria-label='Clear']").first.click()  # while it works: what comes later is not shown
    page.wait_for_function(loaded("#picture", 0))
    page.wait_for_timeout(3000)
    assert not page.locator("#slider").is_visible() and page.locator("#download").is_disabled()
