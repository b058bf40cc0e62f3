"""Hostile and broken checkpoints through the real command: each is refused in one line, and no code in them runs."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from vqcnir_arch.archs.extra_state import encode_options
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError

MEMORY = 400_000_000
"""Bytes that reading all of them may take at the peak."""
MARKER = "executed"


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def saved(content, new_format=True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=new_format)
    return buffer.getvalue()


def archive(compression=zipfile.ZIP_STORED, **records: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in records.items():
            file.writestr(f"net/{name.replace('__', '/')}", content)
    return buffer.getvalue()


def safetensors(header: object, data: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def rewritten(content: bytes, change) -> bytes:
    """Return a file of torch with each record changed by a function of its name and content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    return buffer.getvalue()


def hostile_checkpoints(state: dict[str, torch.Tensor], options: dict) -> dict[str, bytes]:
    """Return the content of files by their names, made from a good network's state."""
    whole = saved({"params": state})
    brackets = torch.tensor(list(b"[" * 10**5), dtype=torch.uint8)

    def options_as(**more) -> bytes:
        return saved({"params": {**state, "_extra_state": encode_options("VQCNIR", {**options, **more})}})

    first = next(name for name in state if name.endswith("weight"))
    tensor = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    numbers = 10**9
    return {
        "system.pth": saved({"params": state, "more": Call(os.system, f"touch {MARKER}")}),
        "system, old format.pth": saved({"params": state, "more": Call(os.system, f"touch {MARKER}")}, False),
        "plain pickle.pth": pickle.dumps(Call(os.system, f"touch {MARKER}")),
        "eval.ckpt": saved({"state_dict": Call(eval, f"open('{MARKER}', 'w')")}),
        "popen.pt": pickle.dumps({"params": Call(subprocess.Popen, ["touch", MARKER])}, protocol=4),
        "system.safetensors": pickle.dumps(Call(os.system, f"touch {MARKER}")),
        "named like a method.pth": saved({"params": state, "more": Call(getattr, "text", "upper")}),
        "archive in an archive.pth": archive(**{"data.pkl": archive(**{"data.pkl": whole}), "version": b"3\n"}),
        "bomb.pth": archive(zipfile.ZIP_DEFLATED, **{"data.pkl": bytes(10**8), "version": b"3\n"}),
        "script.pth": archive(**{"code__net.py": b"import os", "data.pkl": b"\x80\x02.", "constants.pkl": b"."}),
        "other keys.pth": saved({"params": {f"{name}.x": tensor for name, tensor in state.items()}}),
        "other shapes.pth": saved({"params": {**state, first: torch.zeros(3, 3)}}),
        "lacks one.pth": saved({"params": {name: t for name, t in state.items() if name != first}}),
        "nan.pth": saved({"params": {**state, first: state[first] * np.nan}}),
        "infinite.pth": saved({"params": {**state, first: state[first] + np.inf}}),
        "sparse.pth": saved({"params": {**state, first: torch.sparse_coo_tensor([[0]], [1.0], (10**12,))}}),
        "cut.pth": whole[: len(whole) // 2],
        "records cut.pth": rewritten(whole, lambda name, data: data[:7] if "/data/" in name else data),
        "wide views.pth": saved({"params": {**state, first: torch.zeros(1).expand(10**6, 10**6)}}),
        "many channels.pth": options_as(channels=[numbers] * 4),
        "many blocks.pth": options_as(enhancer={"type": "AIEM", "depth": numbers, "splits": 4}),
        "many codes.pth": saved(
            {
                "params": {
                    **state,
                    "quantizer.codebook": torch.zeros(1).expand(numbers, 16),
                    "_extra_state": encode_options("VQCNIR", {**options, "codebook_size": numbers}),
                }
            }
        ),
        "another file to read.pth": options_as(prior="/dev/zero"),
        "deep options.pth": saved({"params": {**state, "_extra_state": brackets}}),
        "loop.pth": pickle.dumps(collections.deque([10**5] * 9)),
        "long header.safetensors": safetensors(b"{}", size=2**62),
        "no header.safetensors": safetensors(b"\xff" * 99),
        "long tensor.safetensors": safetensors({first: {**tensor, "data_offsets": [0, 2**60], "shape": [2**58]}}),
        "overlap.safetensors": safetensors({"a": tensor, "b": tensor}, bytes(16)),
        "no dtype.safetensors": safetensors({"a": {**tensor, "dtype": "OS"}}, bytes(16)),
        "empty.safetensors": b"",
    }  # fmt: skip


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_refused(make_tiny, tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = make_tiny("VQCNIR")
    files = hostile_checkpoints(net.state_dict(), net.options)
    assert len(files) >= 30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            dispatch(["restore", str(photo), "-w", name, "-o", "out", "--quiet", "--device", "cpu"])
        assert f"checkpoint '{name}'" in str(caught.value) and "\n" not in str(caught.value)
        assert not (tmp_path / MARKER).exists(), name
    assert not (tmp_path / "out").exists()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY


def test_they_are_hostile(make_tiny, tmp_path):
    """Without the library's care the code in these files runs."""
    net = make_tiny("VQCNIR")
    files = hostile_checkpoints(net.state_dict(), net.options)
    for name in ("system.pth", "system, old format.pth", "eval.ckpt"):
        (tmp_path / "net.pth").write_bytes(files[name])
        program = "import torch; torch.load('net.pth', weights_only=False)"
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False, capture_output=True)
        assert (tmp_path / MARKER).exists(), name
        (tmp_path / MARKER).unlink()
