"""The server of `vqcnir serve`: it restores what is uploaded, and no request reaches a file or another host."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import scene
from page_server import served

from vqcnir_arch.serving.page import build_page
from vqcnir_arch.serving.work import Limits

pytest.importorskip("gradio", reason="gradio is not installed (extra [serve])")
httpx = pytest.importorskip("httpx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def server(folder):
    with (
        served(folder) as (address, temporary),
        httpx.Client(base_url=address, timeout=120, trust_env=False) as client,
    ):
        yield client, temporary


def png(width=64, height=48):
    return cv2.imencode(".png", scene("astronaut", width, height)[..., ::-1])[1].tobytes()


def upload(client, content, name="night.png"):
    return client.post("/gradio_api/upload", files={"files": (name, content)})


def press(client, inputs, data):
    """Do what the page's script does for the event with so many inputs; return the messages of the server."""
    call = next(d["id"] for d in client.get("/config").json()["dependencies"] if len(d["inputs"]) == inputs)
    asked = {"data": data, "fn_index": call, "session_hash": "test"}
    joined = client.post("/gradio_api/queue/join", json=asked)
    assert joined.status_code == 200, joined.text
    messages = []
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "test"}) as stream:
        for line in stream.iter_lines():
            messages += [json.loads(line[6:])] if line.startswith("data: ") else []
            if messages and messages[-1].get("msg") == "process_completed":
                return messages
    raise AssertionError("the stream ended without a result")


def ask(client, path, checkpoint="tiny.pth", url=None, strength=1):
    """Press Restore; return the last message of the server."""
    file = {"path": path, "url": url, "orig_name": "night.png", "meta": {"_type": "gradio.FileData"}}
    return press(client, 3, [file, checkpoint, strength])[-1]


def look(client, path):
    """Drop a photo; return what the page then shows: the photo, no result, and the status."""
    file = {"path": path, "orig_name": "night.png", "meta": {"_type": "gradio.FileData"}}
    return press(client, 1, [file])[-1]["output"]["data"]


def pixels(client, file):
    """Return the picture behind a file that the server offers."""
    answer = client.get(f"/gradio_api/file={file['path']}")
    assert answer.status_code == 200
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)


def test_shows_the_photo_then_restores_it_and_gives_the_file(server):
    client, _ = server
    path = upload(client, png()).json()[0]
    picture, slider, strength, download, status = look(client, path)
    np.testing.assert_array_equal(pixels(client, picture["value"]), scene("astronaut", 64, 48)[..., ::-1])
    assert not slider["visible"] and not strength["interactive"] and not download["interactive"] and status == ""
    picture, slider, strength, download, status = ask(client, path)["output"]["data"]
    assert status.startswith("64 x 48 restored by tiny.pth in ")
    assert len(slider["value"]) == 2 and slider["visible"] and not picture["visible"] and strength["interactive"]
    file = client.get(f"/gradio_api/file={download['value']['path']}")
    assert file.status_code == 200 and file.content.startswith(b"\x89PNG")


def test_strength_blends_with_the_photo(server):
    client, _ = server
    path = upload(client, png()).json()[0]
    got = {s: pixels(client, ask(client, path, strength=s)["output"]["data"][3]["value"]) for s in (0, 0.5, 1)}
    np.testing.assert_array_equal(got[0], scene("astronaut", 64, 48)[..., ::-1])
    assert np.abs(got[1].astype(int) - got[0]).mean() > 5
    np.testing.assert_allclose(got[0.5], (got[0].astype(float) + got[1]) / 2, atol=1)
    assert not ask(client, path, strength=1.5)["success"]


def test_the_bar_fills(server):
    client, _ = server
    file = {"path": upload(client, png(72, 40)).json()[0], "meta": {"_type": "gradio.FileData"}}
    messages = press(client, 3, [file, "tiny.pth", 1])
    steps = [unit for m in messages if m["msg"] == "progress" for unit in m["progress_data"]]
    shares = [step["progress"] for step in steps]
    assert shares == sorted(shares) and shares[-1] == 1
    assert {step["desc"] for step in steps} <= {"reading", "restoring 72 x 40", "writing"} and len(steps) > 1


def test_the_example_is_a_dark_astronaut(server):
    client, _ = server
    first, second = (press(client, 0, [])[-1]["output"]["data"][0] for _ in range(2))
    assert first["path"] == second["path"]
    night, day = pixels(client, first), scene("astronaut", 512, 512)
    assert night.shape == day.shape and night.mean() < day.mean() / 3
    assert "has 0 megapixels (512 x 512)" in look(client, first["path"])[4]  # this server's limit is 0.1


def test_a_broken_photo_is_one_line_and_the_server_goes_on(server):
    client, temporary = server
    path = upload(client, png()[:600]).json()[0]
    for picture, slider, _, download, status in (look(client, path), ask(client, path)["output"]["data"]):
        assert picture["visible"] and not slider["visible"] and not download["interactive"]
        assert 'role="alert"' in status and "image &#x27;night.png&#x27; cannot be read" in status
        assert str(temporary) not in status
    large = cv2.imencode(".png", np.zeros((300, 400, 3), np.uint8))[1].tobytes()  # of few bytes, but many pixels
    assert "0.1" in ask(client, upload(client, large).json()[0])["output"]["data"][4]
    assert "restored" in ask(client, upload(client, png()).json()[0])["output"]["data"][4]


def test_large_uploads_are_refused(server):
    client, _ = server
    assert upload(client, b"x" * 600_000).status_code == 413


def paths(folder):
    checkpoint = folder / "tiny.pth"
    return ["/etc/passwd", "../../../../etc/passwd", str(checkpoint), f"{folder}/temporary/../tiny.pth", "setup.py"]


def test_no_address_of_the_page_gives_a_file_of_the_disk(server, folder):
    client, _ = server
    for path in paths(folder):
        for place in ("file=", "file/", "gradio_api/file=", "gradio_api/file/", "static/", "assets/", "svelte/"):
            for written in (path, path.replace("/", "%2f"), path.replace("..", "%2e%2e")):
                answer = client.get(f"/{place}{written}")
                assert answer.status_code in (403, 404), answer.url
                assert b"root:" not in answer.content


def test_no_request_makes_the_network_read_a_file_of_the_disk(server, folder):
    client, temporary = server
    for path in [*paths(folder), "http://127.0.0.1:1/x.png", "file:///etc/passwd"]:
        message = ask(client, path)
        assert not message["success"], path
    for checkpoint in ("/etc/passwd", str(folder / "tiny.pth"), "../tiny.pth"):
        message = ask(client, upload(client, png()).json()[0], checkpoint)
        assert not message["success"]
    # an address beside an upload is not followed either: the upload is taken
    message = ask(client, upload(client, png()).json()[0], url="http://127.0.0.1:1/x.png")
    assert "restored" in message["output"]["data"][4]
    stray = upload(client, png(), "../../../stray.png").json()[0]
    assert str(temporary) in stray and not list(folder.glob("stray.png"))


def test_gradio_still_calls_what_refuses_addresses(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio
    from gradio import processing_utils

    fetched = []

    async def download(url, cache_dir):
        fetched.append(url)
        return str(tmp_path / "night.png")

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", download)
    page = build_page(gradio, ["tiny.pth"], SimpleNamespace(limits=Limits(1, 1, 1, 1), folder=tmp_path))
    photo = next(block for block in page.blocks.values() if isinstance(block, gradio.File))
    file = {"path": "https://example.com/night.png", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(ValueError, match="an address is not an uploaded file"):
        asyncio.run(processing_utils.async_move_files_to_cache(file, photo, check_in_upload_folder=True))
    assert fetched == []


def test_the_server_fetches_nothing_for_a_visitor(server):
    client, _ = server
    for place in ("file=http://127.0.0.1:1/", "file=https://example.com/", "proxy=https://example.com/"):
        assert client.get(f"/gradio_api/{place}").status_code == 404
    assert client.get("/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_it_has_connected_to_nobody_but_itself(server, folder):
    lines = (folder / "errors.txt").read_text().splitlines()
    assert {line for line in lines if line.startswith("connect ")} <= {"connect 127.0.0.1"}


def test_a_taken_port_is_one_line(server, folder):
    client, _ = server
    start = "from vqcnir_arch.cli import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", start, "serve", str(folder / "tiny.pth")]
    ended = subprocess.run([*command, "--port", str(client.base_url.port)], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("vqcnir: error: the page cannot be served at 127.0.0.1:")
    assert len(ended.stderr.splitlines()) == 1
