"""Checkpoints of the Hugging Face Hub: `hf:user/repo`, from the local cache or by the user's own network."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vqcnir_arch.errors import UserError, nearest

PREFIX = "hf:"
NAME = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+?))?(?::(?P<file>[\w./ -]+))?")
ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt")
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
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise UserError(f"checkpoint '{given}' needs huggingface_hub: pip install 'vqcnir[hub]'") from error
    repo, revision = parts["repo"], parts["revision"]

    def fetched(file: str) -> Path:
        return Path(huggingface_hub.hf_hub_download(repo, file, revision=revision))

    try:
        if parts["file"] is not None:
            return fetched(parts["file"])
        files = known_files(repo, revision)
        checkpoints = [file for file in files if file.endswith(ENDINGS)]
        if USUAL in checkpoints or len(checkpoints) == 1:
            return fetched(USUAL if USUAL in checkpoints else checkpoints[0])
    except LocalEntryNotFoundError as error:
        raise UserError(f"checkpoint '{given}' is not in the cache, and the Hub cannot be reached") from error
    except EntryNotFoundError as error:
        known = nearest(str(parts["file"]), known_files(repo, revision))
        raise UserError(f"checkpoint '{given}' does not exist in its repository{known}") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"checkpoint '{given}' cannot be had from the Hub: {first}") from error
    if not checkpoints:
        raise UserError(f"checkpoint '{given}': the repository has no checkpoint (looked for {', '.join(ENDINGS)})")
    raise UserError(
        f"checkpoint '{given}': the repository has {', '.join(checkpoints)}: say which, {given}:{checkpoints[0]}"
    )


def known_files(repo: str, revision: str | None) -> list[str]:
    """Return the names of a repository's files; without a network those in the cache."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return huggingface_hub.HfApi().list_repo_files(repo, revision=revision)
    except HfHubHTTPError:
        raise
    except Exception:  # each HTTP library has its own for a network that is not there
        folder = Path(huggingface_hub.snapshot_download(repo, revision=revision, local_files_only=True))
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
