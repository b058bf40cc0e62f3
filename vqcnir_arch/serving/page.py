"""The page itself, in Gradio."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from vqcnir_arch.errors import UserError
from vqcnir_arch.names import PHOTO_ENDINGS
from vqcnir_arch.serving.example import example_photo
from vqcnir_arch.serving.work import Limits, RestorationService

FETCHES = re.compile(r"/(file|proxy)=\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""Requests that have Gradio fetch from another host."""
KEPT = 3600
"""Seconds that uploads and results stay on the disk while the page runs."""


def gradio(folder: Path) -> Any:
    """Import Gradio so that it stores below `folder` and reports to nobody.

    Raises:
        UserError: it is not installed.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]  # they could share the page with the world, or allow it other folders
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise UserError("the page needs Gradio: pip install 'vqcnir[serve]'") from error
    return gradio


class NoFetching:
    """ASGI middleware that refuses to fetch other hosts' files for a visitor."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.responses import PlainTextResponse

        refused = scope["type"] == "http" and FETCHES.search(scope["path"])
        await (PlainTextResponse("not found", 404) if refused else self.app)(scope, receive, send)


def error_box(error: UserError) -> str:
    """Return an error as HTML that looks like one."""
    colours = "color: var(--error-text-color); background: var(--error-background-fill)"
    frame = "border: 1px solid var(--error-border-color); border-radius: 4px; padding: 8px"
    return f'<div role="alert" style="{colours}; {frame}"><b>Error:</b> {escape(str(error))}</div>'


def build_page(gr: Any, names: Sequence[str], service: RestorationService) -> Any:
    """Build the page: a photograph and a checkpoint in, slider, line and download out; `gr` is `gradio(...)`."""
    bar = gr.Progress()  # as a default it is what Gradio hands over

    def before(picture: Any, status: str = "") -> tuple[Any, ...]:
        """What the page shows while there is no result."""
        download = gr.DownloadButton(value=None, interactive=False)
        return picture, gr.ImageSlider(value=None, visible=False), gr.Slider(interactive=False), download, status

    def show(upload: str | None) -> tuple[Any, ...]:
        try:
            value = None if upload is None else service.look(Path(upload))
        except UserError as error:
            return before(gr.Image(value=None, visible=True), error_box(error))
        return before(gr.Image(value=value, visible=True))

    def restore(upload: str | None, checkpoint: str, strength: float, progress: Any = bar) -> tuple[Any, ...]:
        try:
            if upload is None:
                raise UserError("choose a photo first")
            restored = service.restore(Path(upload), checkpoint, strength, lambda done, said: progress(done, desc=said))
        except UserError as error:
            return before(gr.Image(visible=True), error_box(error))
        pair = gr.ImageSlider(value=(restored.before, restored.after), visible=True)
        download = gr.DownloadButton(value=str(restored.file), interactive=True)
        return gr.Image(visible=False), pair, gr.Slider(interactive=True), download, escape(restored.said)

    with gr.Blocks(title="vqcnir", analytics_enabled=False, delete_cache=(60, KEPT)) as page:
        gr.Markdown(f"# Restore a dark, blurred photo\n{limits_line(service.limits)}")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                photo = gr.File(label="Photo", file_types=["image", *PHOTO_ENDINGS], height=160)
                example = gr.Button("Take the example photo", size="sm", elem_id="example")
                checkpoint = gr.Dropdown(list(names), value=names[0], label="Checkpoint")
                button = gr.Button("Restore", variant="primary", elem_id="restore")
                status = gr.HTML(elem_id="status")
                strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength", interactive=False, elem_id="strength")
                download = gr.DownloadButton("Download", interactive=False, elem_id="download")
            with gr.Column(scale=3):
                picture = gr.Image(
                    label="Photo", format="png", interactive=False, height="65vh", buttons=[], elem_id="picture"
                )
                slider = gr.ImageSlider(
                    label="Before and after", format="png", interactive=False, max_height=720, buttons=["fullscreen"],
                    visible=False, elem_id="slider",
                )  # fmt: skip
        outputs = [picture, slider, strength, download, status]
        private = {"api_visibility": "private"}
        example.click(lambda: str(example_photo(service.folder)), None, photo, **private)
        restoring = gr.on(
            [button.click, strength.release], restore, [photo, checkpoint, strength], outputs, concurrency_limit=1,
            show_progress_on=[picture, slider], trigger_mode="always_last", **private,
        )  # fmt: skip
        changed = [photo.change, checkpoint.change]
        gr.on(changed, show, photo, outputs, show_progress_on=picture, cancels=restoring, **private)
    photo.async_move_resource_to_block_cache = only_uploads(photo.async_move_resource_to_block_cache)
    return page


def only_uploads(move: Any) -> Any:
    """Refuse addresses in the place of an uploaded file: Gradio would download them, past the limit on uploads.

    What it replaces is private to Gradio, so pyproject.toml allows no release with which this was not tested.
    """

    async def checked(path: Any) -> Any:
        if "://" in str(path):
            raise ValueError("an address is not an uploaded file")
        return await move(path)

    return checked


def limits_line(limits: Limits) -> str:
    """Say the limits."""
    return (
        f"Up to {limits.megapixels:g} megapixels and {limits.megabytes:g} MB. What would take more than "
        f"{limits.seconds:g} s, or more memory than there is, is restored at a smaller size. One photo at a time. "
        "Photos stay on the machine that runs this page."
    )


def launch(gr: Any, page: Any, host: str, port: int, megabytes: float, waiting: int) -> str:
    """Start to serve a page and return its address; `page.close()` ends it.

    Raises:
        UserError: the port is taken, or the host is not an address of this machine.
    """
    from starlette.middleware import Middleware

    plain = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    page.queue(max_size=waiting, api_open=False, default_concurrency_limit=1)
    try:
        _, address, _ = page.launch(
            server_name=host, server_port=port, max_file_size=int(megabytes * 1e6), theme=plain,
            app_kwargs={"middleware": [Middleware(NoFetching)], "docs_url": None, "redoc_url": None},
            share=False, ssr_mode=False, mcp_server=False, pwa=False, enable_monitoring=False, run_history=False,
            footer_links=[], show_error=False, quiet=True, prevent_thread_lock=True,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"the page cannot be served at {host}:{port}: {error}") from error
    return address
