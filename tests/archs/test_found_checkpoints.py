"""Checkpoints as users find them: read, or refused in a line that says what the file is and what to do."""

from __future__ import annotations

import argparse
import collections
import functools
import io
import json
import pathlib
import pickle
import re
import tarfile
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_checks import assert_refused, assert_same_tensors, prefixed
from safetensors.torch import save_file

import vqcnir_arch
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.state_dicts import dictionaries

ADVICE = re.compile(r"weights_only|safe_globals|torch\.load|pytorch issue|enhancement request", re.IGNORECASE)
FOUND = Path(__file__).parents[3] / "shared/bugs/checkpoint"


def zeros(state):
    return {
        name: tensor if name.endswith("_extra_state") else torch.zeros_like(tensor) for name, tensor in state.items()
    }


def with_other(state):
    return {"net_d": {f"main.{i}": torch.zeros(2) for i in range(len(state))}}


WRAPPED = {
    "model_state_dict": lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": optimizer(s)},
    "generator": lambda s: {"generator": s, "discriminator": zeros(s), "optim_g": optimizer(s)},
    "net_g": lambda s: {"net_g": prefixed(s, "module."), **with_other(s)},
    "model": lambda s: {"model": s, "step": torch.tensor(5), "loss": torch.rand(3)},
    "ema": lambda s: {"state_dict": zeros(s), "state_dict_ema": s},
    "g_ema": lambda s: {"g": zeros(s), "g_ema": s, "d": zeros(s)},
    "ema first": lambda s: {"ema_state_dict": prefixed(s, "module."), "params": zeros(s)},
    "shadow": lambda s: {"model": zeros(s), "ema": {"decay": 0.99, "shadow": s}},
    "deeper": lambda s: {"state": {"network": {"weights": s}}, "epoch": 4},
    "list": lambda s: {"models": [s], "epoch": 4},
    "lightning": lambda s: {"state_dict": prefixed(s, "model."), "hyper_parameters": {"lr": 0.1}},
    "lightning with more": lambda s: {"state_dict": {**prefixed(s, "trainer.generator."), "loss.vgg.0": torch.ones(3)}},
    "lightning with ema": lambda s: {"state_dict": {**prefixed(zeros(s), "net."), **prefixed(s, "net_ema.")}},
    "flat": lambda s: {**prefixed(s, "module.net_g."), **prefixed(zeros(s), "module.net_d.")},
    "all four": lambda s: {"net_g": zeros(s), "net_g_ema": s, "net_d": zeros(s), "net_d_ema": zeros(s)},
    "half": lambda s: {"params": {name: tensor.half() for name, tensor in s.items()}},
    "bfloat16": lambda s: {"params": {name: tensor.bfloat16() for name, tensor in s.items()}},
    "float": lambda s: {"params": {name: tensor.float() for name, tensor in s.items()}},
    "interpolated": lambda s: {name: 0.3 * tensor + 0.7 * tensor for name, tensor in s.items()},
    "numpy scalars": lambda s: {"params": s, "best": np.float64(3), "at": np.array([1, 2]), "kind": np.dtype("f4")},
    "namespace": lambda s: {"params": s, "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("a"))},
    "averaged model": lambda s: {"n_averaged": torch.tensor(3), **prefixed(s, "module.")},
    "deep": lambda s: functools.reduce(lambda inner, name: {name: inner}, "hgfecba", s),
    "values": lambda s: {"params": s, "with": torch.__version__, "at": datetime.now(UTC), "rate": Decimal("1e-4")},
    "dictionaries": lambda s: {
        "net": collections.defaultdict(list, s),
        "counts": collections.Counter("abc"),
        "last": collections.deque([1.0], 9),
        "kinds": {frozenset("ab"): range(3)},
    },
}


def optimizer(state):
    return {"state": {i: {"exp_avg": tensor} for i, tensor in enumerate(state.values())}, "param_groups": []}


@pytest.mark.parametrize("kind", WRAPPED)
def test_read(make_tiny, tmp_path, kind):
    state = make_tiny("VQGANPrior").state_dict()
    torch.save(WRAPPED[kind](state), tmp_path / "net.pth")
    net = vqcnir_arch.load_network(tmp_path / "net.pth")
    exact = {"half": torch.float16, "bfloat16": torch.bfloat16}.get(kind)
    if exact is not None:
        state = {n: t if n == "_extra_state" else t.to(exact).float() for n, t in state.items()}
    if kind == "interpolated":
        torch.testing.assert_close(net.state_dict(), state)
    else:
        assert_same_tensors(net, state)


@pytest.mark.parametrize("prefix", ["model.", "lit.net.", "_orig_mod.", "module.model._orig_mod."])
def test_published_behind_a_prefix(small_published, prefix):
    net = vqcnir_arch.load_network(prefixed(small_published.state, prefix))
    assert net.options == small_published.net.options


def test_key(make_tiny, tmp_path, capsys):
    state = make_tiny("VQGANPrior").state_dict()
    path = tmp_path / "two.pth"
    torch.save({"first": zeros(state), "of": {"the.pair": {"second": prefixed(state, "model.")}}}, path)
    assert_refused(path, r"holds several networks \(first, of\.the\.pair\.second\): say which by its key, --key NAME")
    assert_refused(path, r"no tensors at the key 'frist' \(did you mean 'first'\?\)", key="frist")
    for key in ("of.the.pair.second", "of", "of.the.pair.second.model"):
        assert_same_tensors(vqcnir_arch.load_network(path, key=key), state)
    torch.save({"state_dict": {**prefixed(zeros(state), "a."), **prefixed(state, "b.")}}, path)
    assert_refused(path, r"holds several networks \(a, b\)")
    assert_same_tensors(vqcnir_arch.load_network(path, key="state_dict.b"), state)
    dispatch(["inspect", str(path), "--key", "state_dict.b"])
    dispatch(["convert", str(path), str(tmp_path / "one.safetensors"), "--key", "state_dict.b"])
    assert "VQGANPrior" in capsys.readouterr().out
    (tmp_path / "one.safetensors").rename(tmp_path / "one.pth")  # its content says what it is
    assert_same_tensors(vqcnir_arch.load_network(tmp_path / "one.pth"), state)
    torch.save({"optimizer": {"moments": {"a": torch.ones(2)}}}, path)
    assert_refused(path, r"holds tensors at optimizer\.moments alone")


def test_named_by_the_other_format(make_tiny, tmp_path):
    state = make_tiny("VQGANPrior").state_dict()
    torch.save(state, tmp_path / "net.safetensors")
    save_file(state, tmp_path / "net.ckpt")
    for name in ("net.safetensors", "net.ckpt"):
        assert_same_tensors(vqcnir_arch.load_network(tmp_path / name), state)


def archive(pack) -> bytes:
    buffer = io.BytesIO()
    pack(buffer)
    return buffer.getvalue()


def zipped(**files: bytes):
    def pack(buffer):
        with zipfile.ZipFile(buffer, "w") as file:
            for name, content in files.items():
                file.writestr(name, content)

    return archive(pack)


def tarred(buffer):
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("weights/net.pth"), io.BytesIO())


def torchscript(buffer):
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.rand(1, 1, 2, 2)), buffer)


INDEX = {"weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}}
NOT_CHECKPOINTS = {
    "page.pth": (b"\n<!DOCTYPE html><html><head><title>A\n scan</title>", r"is a web page 'A scan', not the"),
    "login.safetensors": (b"<html lang='en'><body>", "is a web page, not the file itself: download it again"),
    "s3.pth": (b"<?xml version='1.0'?><Error><Code>Denied</Code></Error>", "an XML page of a server 'Denied'"),
    "error.pth": (b'{"error": "No such repository"}', "is a server's answer in JSON 'No such repository', not"),
    "model.safetensors.index.json": (json.dumps(INDEX).encode(), r"index of a checkpoint in 2 shards \('m-000"),
    "config.json": (b'{"arch": "VQCNIR", "scale": 1}', r"is a JSON file \('arch', 'scale'\), which holds no tensors"),
    "pointer.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer.*lfs pull"),
    "mark.pth": (b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer.*lfs pull"),
    "annex.pth": (b"/annex/objects/SHA256E-s9--0a.pth\n", "is a pointer of git-annex.*git annex get"),
    "plain.pkl": (pickle.dumps({"net": np.ones(9)}), "is of Python's pickle: save the state dict with torch.save"),
    "notes.pth": (b"the weights are\nelsewhere", "is a text file, which begins 'the weights are elsewhere'"),
    "empty.ckpt": (b"", "is empty"),
    "net.pth.gz": (b"\x1f\x8b\x08\0", "is compressed by gzip: unpack it"),
    "arrays.pth": (archive(lambda b: np.savez(b, a=np.ones(2))), r"archive of NumPy's arrays \('a.npy'\)"),
    "more.zip": (zipped(**{"net/net.pth": b"", "net/README": b""}), r"is a zip archive \('net/net.pth', 'net/READ"),
    "cut.pth": (zipped(**{"net/data.pkl": bytes(99)})[:80], "is truncated"),
    "real.pth.tar": (archive(tarred), r"is a tar archive \('weights/net.pth'\): unpack it"),
    "script.pt": (archive(torchscript), "is TorchScript, which holds code: the state dict"),
    "picture.pth": (b"\x89PNG\r\n\x1a\n", "is a picture"),
    "keras.h5": (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
    "noise.pth": (bytes(range(200, 256)), r"is no file that torch.save or safetensors wrote \(56 bytes\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_CHECKPOINTS)
def test_says_what_it_is(tmp_path, name):
    content, message = NOT_CHECKPOINTS[name]
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, rf"checkpoint '.*{re.escape(name)}' .*{message}")


def test_shard(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "model-00002-of-00003.safetensors")
    assert_refused(tmp_path / "model-00002-of-00003.safetensors", "is shard 2 of 3 of a checkpoint")


def test_training_state(tmp_path):
    state = {"epoch": 3, "iter": 50, "optimizers": [{"state": {0: {"a": torch.ones(1)}}}], "schedulers": []}
    (tmp_path / "training_states").mkdir()
    path = tmp_path / "training_states/50.state"
    torch.save(state, path)
    assert_refused(path, r"holds a training state, .*\(the network is in models/net_g_50\.pth\)")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/net_g_50.pth").touch()
    assert_refused(path, r"did you mean '.*models/net_g_50\.pth'\?")


class Score(collections.UserDict):
    """A class that is not known to be harmless."""


def test_other_classes_are_named(make_tiny, tmp_path):
    state, path = make_tiny("VQGANPrior").state_dict(), tmp_path / "net.pth"
    for content, name in (({"params": state, "score": Score()}, "Score"), (torch.nn.Conv2d(1, 1, 1), "Conv2d")):
        torch.save(content, path)
        with pytest.raises(UserError, match=rf"is not a file of tensors alone: it asks for '[\w.]*{name}'") as caught:
            vqcnir_arch.load_network(path)
        assert not ADVICE.search(str(caught.value)) and "\n" not in str(caught.value)
    torch.save({"params": state}, path, pickle_protocol=4)
    assert_refused(path, r"net\.pth' is pickled by a protocol that .*: save it without pickle_protocol")


def test_key_that_another_error_names(make_tiny, tmp_path):
    state, path = make_tiny("VQGANPrior").state_dict(), tmp_path / "net.pth"
    torch.save({"state_dict": {**prefixed(state, "model.teacher."), **prefixed(zeros(state), "model.student.")}}, path)
    assert_refused(path, r"several networks \(model.student, model.teacher\): say which")
    for key in ("model.teacher", "teacher", "state_dict.model.teacher"):
        assert_same_tensors(vqcnir_arch.load_network(path, key=key), state)
    torch.save({"a": {"net": state}, "b": {"net": state}}, path)
    with pytest.raises(UserError, match=r"no tensors at the key 'net' \(did you mean '[ab].net'\?\)"):
        vqcnir_arch.load_network(path, key="net")


def test_a_file_that_refers_to_itself_is_looked_through_once():
    ring: dict = {}
    ring |= {str(i): ring for i in range(9)}
    empty: list = []
    for _ in range(30):
        empty = [empty] * 9
    assert list(dictionaries({"ring": ring, "empty": empty, "net": {"a": torch.ones(1)}})) == [
        ("net", {"a": torch.ones(1)})
    ]
    full: dict = {"a": torch.ones(1)}
    for _ in range(30):
        full = {str(i): full for i in range(9)}
    assert 0 < len(list(dictionaries(full))) <= 1000


def test_what_is_no_file(tmp_path):
    (tmp_path / "gone.pth").symlink_to("elsewhere.pth")
    (tmp_path / "a.pth").touch()
    refused = {
        tmp_path / "gone.pth": "is a link to 'elsewhere.pth', which does not exist",
        Path("/dev/null"): "is a device or a pipe, expected a file",
        tmp_path: r"is a folder, expected a file \(did you mean '.*a\.pth'\?\)",
        "": "got an empty name",
    }
    for path, message in refused.items():
        assert_refused(path, message)
    torch.save({"state": {0: {"exp_avg": torch.ones(1)}}, "param_groups": []}, tmp_path / "optimizer.bin")
    assert_refused(tmp_path / "optimizer.bin", "holds an optimiser's state alone: name the network's file")


def test_without_options(make_tiny, tmp_path):
    net = make_tiny("VQCNIR")
    state = net.state_dict()
    del state["_extra_state"]
    torch.save({"params": state}, tmp_path / "net.pth")
    assert_refused(tmp_path / "net.pth", "has tensors of this library, but not '_extra_state', which carries")
    make_tiny("VQCNIR").load_state_dict(state)  # what the line says

    other = {**net.state_dict(), "_extra_state": (net.state_dict()["_extra_state"] * 0.5)}
    assert_refused(other, r"_extra_state' is not what this library writes \(its numbers are no bytes")


@pytest.mark.skipif(not FOUND.is_dir(), reason=f"no files of the log at {FOUND}")
def test_files_of_the_log():
    refused = {"gdrive.pth": "web page 'Google Drive", "lfs.pth": "Git LFS pointer", "torchscript.pt": "is TorchScript"}
    refused["no_extra.pth"] = "not '_extra_state'"
    for path in sorted(FOUND.iterdir()):
        if path.name in refused:
            assert_refused(path, refused[path.name])
        else:
            vqcnir_arch.load_network(path)
