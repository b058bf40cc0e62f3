"""`vqcnir serve`: a page to try checkpoints on photographs."""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from vqcnir_arch.errors import UserError
from vqcnir_arch.packaged import DEFAULT
from vqcnir_arch.signals import handled


def main(arguments: Sequence[str]) -> None:
    """Serve a page on this machine: drop a photo, pick a checkpoint, compare, download.

    Raises:
        UserError: a checkpoint, limit, host or port is bad, or Gradio is not installed.
    """
    known = parse(arguments)

    from vqcnir_arch.devices import choose_device
    from vqcnir_arch.serving.offered import Networks, find_checkpoints
    from vqcnir_arch.serving.page import build_page, gradio, launch
    from vqcnir_arch.serving.work import Limits, RestorationService

    limits = Limits(known.max_megapixels, known.max_megabytes, known.seconds, known.memory)
    with tempfile.TemporaryDirectory(prefix="vqcnir-serve-") as folder:
        gr = gradio(Path(folder) / "gradio")
        device = choose_device(known.device)
        paths = find_checkpoints(known.checkpoints)
        page = build_page(gr, list(paths), RestorationService(Networks(paths, device), limits, Path(folder)))
        address = launch(gr, page, known.host, known.port, known.max_megabytes, known.waiting)
        print(f"{len(paths)} checkpoint{'s' * (len(paths) > 1)} on {device} at {address} (Ctrl+C ends it)", flush=True)
        wait_for_signal()
        page.close(verbose=False)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="vqcnir serve", description=main.__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "checkpoints", nargs="*", default=[DEFAULT],
        help=f"checkpoints, or folders of them, that the page offers (default: {DEFAULT}, which comes with vqcnir)",
    )  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    parser.add_argument("--port", type=int, default=7860, help="default: 7860")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument("--max-megapixels", type=float, default=50, help="refuse larger photos (default: 50)")
    parser.add_argument("--max-megabytes", type=float, default=50, help="refuse larger uploads (default: 50)")
    parser.add_argument("--seconds", type=float, default=300, help="stop a photo that takes longer (default: 300)")
    parser.add_argument("--memory", type=float, default=4, help="GB that the process may hold on a CPU (default: 4)")
    parser.add_argument(
        "--waiting", type=int, default=8, help="requests that may wait, others are refused (default: 8)"
    )
    known = parser.parse_args(arguments)
    for name in ("max_megapixels", "max_megabytes", "seconds", "memory", "waiting"):
        if not getattr(known, name) > 0:
            raise UserError(f"--{name.replace('_', '-')} must be above 0, got {getattr(known, name):g}")
    if not 0 < known.port < 65536:
        raise UserError(f"--port must be 1 to 65535, got {known.port}")
    return known


def wait_for_signal() -> None:
    """Wait for Ctrl+C or SIGTERM; both leave no files behind."""
    ended = threading.Event()
    with handled(lambda *_: ended.set(), signal.SIGINT, signal.SIGTERM):
        ended.wait()
