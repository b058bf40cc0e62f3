"""Checkpoints of the Hugging Face Hub: `hf:user/repo`, from the local cache or by the user's own network."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vqcnir_arch.errors import UserError
from vqcnir_arch.names import CHECKPOINT_ENDINGS as ENDINGS

PREFIX = "hf:"
NAME = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+?))?(?::(?P<file>[\w./ -]+))?")
USUAL = "model.safetensors"
"""The file that Hugging Face's conventions name."""


def is_hub_name(given: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint is named as one of the Hub."""
    return os.fspath(given).startswith(PREFIX)


def hub_file(given: str) -> Path:
    """Return the local file of `hf:user/repo`, with `@revision` and `:file` where they are named.

    Without a file it is `model.safetensors`, else the only checkpoint of the repository.

    Raises:
        UserError: huggingface_hub is not installed, the name is none, there is no such file, or several are there.
    """
    parts = NAME.fullmatch(given)
    if parts is None:
        raise UserError(f"checkpoint '{given}': expected hf:user/repo, hf:user/repo@revision or hf:user/repo:file.pth")
    try:
        from huggingface_hub import utils
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
    except ImportError as error:
        raise UserError(f"checkpoint '{given}' needs huggingface_hub: pip install 'vqcnir[hub]'") from error
    utils.logging.set_verbosity_error()  # it says of each try that it failed
    repo, revision, file = parts["repo"], parts["revision"], parts["file"]
    try:
        if file is not None:
            return fetched(repo, file, revision)
        checkpoints = [each for each in known_files(repo, revision) if each.endswith(ENDINGS)]
        if USUAL in checkpoints or len(checkpoints) == 1:
            return fetched(repo, USUAL if USUAL in checkpoints else checkpoints[0], revision)
    except HfHubHTTPError as error:
        if isinstance(error, EntryNotFoundError):
            raise UserError(f"checkpoint '{given}': the repository has no file '{file}'") from error
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"checkpoint '{given}' cannot be had from the Hub: {first}") from error
    except Exception as error:  # each HTTP library has its own for a network that is not there
        raise UserError(f"checkpoint '{given}' is not in the cache, and the Hub cannot be reached") from error
    if not checkpoints:
        raise UserError(f"checkpoint '{given}': the repository has no checkpoint (looked for {', '.join(ENDINGS)})")
    several = ", ".join(checkpoints)
    raise UserError(f"checkpoint '{given}': the repository has {several}: say which, {given}:{checkpoints[0]}")


def fetched(repo: str, file: str, revision: str | None) -> Path:
    """Return a file of a repository in the cache; what is not there is downloaded."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, file, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return Path(hf_hub_download(repo, file, revision=revision))


def known_files(repo: str, revision: str | None) -> list[str]:
    """Return the names of a repository's files in the cache; where nothing is there, on the Hub."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return HfApi().list_repo_files(repo, revision=revision)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
