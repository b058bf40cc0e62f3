"""The server of `vqcnir serve`: it restores what is uploaded, and no request reaches a file or another host."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import scene
from page_server import served

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


def ask(client, path, checkpoint="tiny.pth", url=None):
    """Press the button as the page's script does; return the last message of the server."""
    file = {"path": path, "url": url, "orig_name": "night.png", "meta": {"_type": "gradio.FileData"}}
    call = next(d["id"] for d in client.get("/config").json()["dependencies"] if d["backend_fn"])
    asked = {"data": [file, checkpoint], "fn_index": call, "session_hash": "test"}
    joined = client.post("/gradio_api/queue/join", json=asked)
    assert joined.status_code == 200, joined.text
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "test"}) as stream:
        for line in stream.iter_lines():
            message = json.loads(line[6:]) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed":
                return message
    raise AssertionError("the stream ended without a result")


def test_restores_an_upload_and_gives_the_file(server):
    client, _ = server
    pair, download, status = ask(client, upload(client, png()).json()[0])["output"]["data"]
    assert status.startswith("64 x 48 restored by tiny.pth in ")
    assert len(pair) == 2
    file = client.get(f"/gradio_api/file={download['value']['path']}")
    assert file.status_code == 200 and file.content.startswith(b"\x89PNG")


def test_a_broken_photo_is_one_line_and_the_server_goes_on(server):
    client, temporary = server
    pair, _, status = ask(client, upload(client, png()[:600]).json()[0])["output"]["data"]
    assert pair is None
    assert status.startswith("image 'night.png' cannot be read") and str(temporary) not in status
    large = cv2.imencode(".png", np.zeros((300, 400, 3), np.uint8))[1].tobytes()  # of few bytes, but many pixels
    assert "0.1" in ask(client, upload(client, large).json()[0])["output"]["data"][2]
    assert "restored" in ask(client, upload(client, png()).json()[0])["output"]["data"][2]


def test_large_uploads_are_refused(server):
    client, _ = server
    assert upload(client, b"x" * 300_000).status_code == 413


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
    assert "restored" in message["output"]["data"][2]
    stray = upload(client, png(), "../../../stray.png").json()[0]
    assert str(temporary) in stray and not list(folder.glob("stray.png"))


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
