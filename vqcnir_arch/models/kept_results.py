"""A test that was stopped goes on: images that it has written are read instead of computed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vqcnir_arch.atomic_files import reason
from vqcnir_arch.errors import UserError
from vqcnir_arch.file_kinds import sha256_of
from vqcnir_arch.version import __version__

RECORD = "images.jsonl"
"""Name of the record, in `results/<name>/`."""


def begin(options: dict[str, Any], make_folders: Callable[[dict[str, Any]], None]) -> list[str]:
    """Keep the folder of a test whose images are of the same settings, or make a new one, with a record of its own.

    Args:
        options: the run's, of a test, with `path: results_root`.
        make_folders: BasicSR's `make_exp_dirs`, which moves an earlier folder away.

    Returns:
        What is to be said of it in the log.

    Raises:
        UserError: a checkpoint cannot be read, or the record not be written.
    """
    record = Path(options["path"]["results_root"], RECORD)
    try:
        content = record.read_bytes() if record.exists() else b""
        settings, before = settings_of(options), _settings_in(content)
        if settings == before:
            if not content.endswith(b"\n"):  # a kill tore the last line
                with record.open("ab") as file:
                    file.write(b"\n")
            return []
        make_folders(options)
        record.write_text(json.dumps({"settings": settings}) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"'{error.filename or record}' cannot be read or written: {reason(error)}") from error
    if before is None:
        return []
    changed = [key for key in settings if settings[key] != before.get(key)]
    return [f"the images of the earlier test are of other settings ({', '.join(changed)}): all are computed again"]


def settings_of(options: dict[str, Any]) -> dict[str, Any]:
    """Return all that decides a test's images: options, the content of checkpoints, device, versions."""
    path = {key: value for key, value in options["path"].items() if key.startswith(("pretrain", "param_key", "strict"))}
    networks = {key: value for key, value in options.items() if key.startswith("network_")}
    files = [value for key, value in path.items() if key.startswith("pretrain")]
    files += [(network or {}).get("prior") for network in networks.values()]
    settings = {
        "model": [options["model_type"], options.get("scale"), options["manual_seed"]],
        "networks": networks,
        "checkpoints": [path, {str(file): sha256_of(file) for file in files if file}],
        "datasets": options["datasets"],
        "val": [options["val"].get("suffix"), options["val"].get("save_float", False)],
        "device": torch.cuda.get_device_name() if options["num_gpu"] and torch.cuda.is_available() else "cpu",
        "versions": {"vqcnir": __version__, **{name: version(name) for name in ("torch", "basicsr")}},
    }
    return json.loads(json.dumps(settings, default=str))


class KeptResults:
    """The images that a test has written so far, by its record: one line each, as soon as it is whole.

    An image counts if neither it nor its input has changed since (size and time of change).

    Args:
        options: the model's.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.root = Path(options["path"]["results_root"])
        self.stamps: dict[str, list[int]] = {}
        try:
            lines = (self.root / RECORD).read_bytes().splitlines()[1:]
            self.file = (self.root / RECORD).open("ab", buffering=0)
        except OSError as error:
            raise UserError(f"'{error.filename}' cannot be read or written: {reason(error)}") from error
        for line in lines:
            try:
                entry = json.loads(line)
                self.stamps[entry["image"]] = entry["stamp"]
            except (ValueError, KeyError, TypeError):  # torn: its image is computed again
                continue

    @classmethod
    def of(cls, options: dict[str, Any]) -> KeptResults | None:
        """Return the record of a test that our launchers have started; None in training and elsewhere."""
        root = options["path"].get("results_root")
        return cls(options) if root and Path(root, RECORD).is_file() else None

    def read(self, files: Sequence[Path], source: str) -> np.ndarray | None:
        """Return a result, [H, W, 3] BGR uint8 (or [H, W]) as it was written; None if it has to be computed.

        Args:
            files: the image, and what else was written of it.
            source: path of its input.
        """
        stamp = self.stamps.get(self._name(files[0]))
        if stamp is None or stamp != _stamp([*files, Path(source)]):
            return None
        return cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED)

    def add(self, files: Sequence[Path], source: str) -> None:
        """Note a result whose files are written."""
        entry = {"image": self._name(files[0]), "stamp": _stamp([*files, Path(source)])}
        try:
            self.file.write((json.dumps(entry) + "\n").encode())  # one call: other processes append to it, too
        except OSError as error:
            raise UserError(f"'{self.root / RECORD}' cannot be written: {reason(error)}") from error

    def close(self) -> None:
        self.file.close()

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _settings_in(content: bytes) -> dict[str, Any] | None:
    try:
        return json.loads(content.splitlines()[0])["settings"]
    except (LookupError, ValueError, TypeError):  # none, or torn when it was started
        return None


def _stamp(paths: Sequence[Path]) -> list[int]:
    """Return size and time of each file; zeros for one that is not there, such as an image in an LMDB."""
    numbers = []
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError:
            numbers += [0, 0]
        else:
            numbers += [stat.st_size, stat.st_mtime_ns]
    return numbers
