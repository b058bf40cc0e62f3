"""The checkpoints that the page offers; a request can only name one of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from vqcnir_arch.archs.loading import load_restorer
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.names import CHECKPOINT_ENDINGS
from vqcnir_arch.packaged import FOLDER
from vqcnir_arch.tensor_files import checkpoint_file


def find_checkpoints(given: Sequence[str]) -> dict[str, Path]:
    """Return the checkpoints behind files and folders by the names that the page shows.

    Each is loaded once, so that a page that opens works. A file that is named must be good; files of a folder that
    restore nothing are left out with a note.

    Raises:
        UserError: a file is missing or no restoration checkpoint, or a folder has none.
    """
    found: list[Path] = []
    for text in given:
        path = Path(text).expanduser()
        if not path.is_dir():
            file = checkpoint_file(text)
            load_restorer(file)
            found.append(file.resolve())
            continue
        usable = []
        for file in sorted(file for file in path.iterdir() if file.suffix in CHECKPOINT_ENDINGS):
            try:
                load_restorer(file)
                usable.append(file.resolve())
            except UserError as error:
                print(f"vqcnir: note: left out: {error}", file=sys.stderr)
        if not usable:
            raise UserError(
                f"folder '{path}' has no checkpoint that restores (looked for {', '.join(CHECKPOINT_ENDINGS)})"
            )
        found += usable
    return short_names(list(dict.fromkeys(found)))


def short_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Name different files by as few of their last folders as tell them apart; the page shows no more of the disk.

    Networks that come with this library have their own names.
    """
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return {path.stem if path.parent == FOLDER else "/".join(path.parts[-depth:]): path for path in paths}


class Networks:
    """Loads the checkpoints of a page by name and keeps the one that was used last."""

    def __init__(self, paths: dict[str, Path], device: torch.device) -> None:
        self.paths, self.device = paths, device
        self.name, self.net = "", None

    def load(self, name: str) -> VQNetwork:
        """Return the network of an offered checkpoint.

        Raises:
            UserError: it is not one of them, or the file is broken by now; paths stay out of the message.
        """
        if name not in self.paths:
            raise UserError(f"checkpoint '{name}' is not offered{nearest(name, self.paths)}")
        if name != self.name:
            self.name, self.net = "", None  # two would need twice the memory
            try:
                self.net = load_restorer(self.paths[name], self.device)
            except UserError as error:
                raise UserError(str(error).replace(str(self.paths[name]), name)) from error
            self.name = name
        return self.net
