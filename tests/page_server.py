"""A page of `vqcnir serve` for tests, in a process of its own as a user starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from vqcnir_arch.archs import VQCNIR

# notes every address that the process connects to
RUN = """
import sys
def hook(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        print("connect", arguments[1][0], file=sys.stderr, flush=True)
sys.addaudithook(hook)
from vqcnir_arch.cli import main
main()
"""


def write_checkpoint(path: Path) -> None:
    torch.manual_seed(0)
    net = VQCNIR(
        channels=[8, 8], norm_groups=4, codebook_size=16, code_dim=8, res_blocks=1,
        enhancer={"type": "none"}, fusion={"type": "none"},
    )  # fmt: skip
    torch.save({"params": net.state_dict()}, path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(folder: Path, megapixels: float = 0.1):
    """Serve a tiny checkpoint; yield the address and the folder for temporary files. Then end it as a user does."""
    write_checkpoint(folder / "tiny.pth")
    temporary, port = folder / "temporary", free_port()
    temporary.mkdir()
    arguments = ["serve", str(folder / "tiny.pth"), "--port", str(port), "--max-megabytes", "0.5"]
    arguments += ["--max-megapixels", str(megapixels)]
    environment = {**os.environ, "TMPDIR": str(temporary), "GRADIO_ALLOWED_PATHS": "/etc", "GRADIO_SHARE": "True"}
    with open(folder / "out.txt", "w") as out, open(folder / "errors.txt", "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RUN, *arguments], stdout=out, stderr=errors, env=environment
        )
    try:
        end = time.monotonic() + 600
        while "Ctrl+C" not in (folder / "out.txt").read_text():
            assert process.poll() is None and time.monotonic() < end, (folder / "errors.txt").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", temporary
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not list(temporary.glob("vqcnir-serve-*"))  # no upload and no result stays
    finally:
        process.kill()
