"""Hugging Face's three methods, for every network; `huggingface_hub` (extra `[hub]`) is imported when one is called."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError

if TYPE_CHECKING:
    from vqcnir_arch.archs.hub_files import HubFiles


class HubNetwork(VQNetwork):
    """Base of the networks, with `from_pretrained`, `save_pretrained` and `push_to_hub` as `PyTorchModelHubMixin` has.

    What they write: `model.safetensors`, `config.json` (a `network_g` block: `type` and the options) and `README.md`.
    """

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> Self:
        """Load a network from a folder or from the Hub, in eval mode.

        Args:
            name: a folder that `save_pretrained` has written, or `user/repo`.
            **options: as of the mixin: `revision`, `cache_dir`, `local_files_only`, `token`, ...; and `device`.

        Raises:
            UserError: there is none, it cannot be had, or it is another network.
        """
        files = hub_files()
        from huggingface_hub.errors import HfHubHTTPError

        try:
            net = files.from_pretrained(os.fspath(name), **options).net
        except UserError:
            raise
        except (HfHubHTTPError, OSError, ValueError) as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"'{name}' is neither a folder with a network nor one of the Hub: {line}") from error
        if not isinstance(net, cls):
            raise UserError(f"'{name}' holds a {type(net).__name__}, not a {cls.__name__}")
        return net

    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> str | None:
        """Write the network into a folder; what is there of an earlier one is replaced, but for `README.md`.

        Args:
            folder: made where it is missing.
            **options: as of the mixin: `push_to_hub`, `repo_id`, and `model_card_kwargs`, a dictionary for the card's
                header, such as `{"license": "cc0-1.0"}`.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            return hub_files()(self).save_pretrained(os.fspath(folder), **options)
        except OSError as error:
            raise UserError(f"the network cannot be written to '{folder}': {error.strerror or error}") from error

    def push_to_hub(self, repo: str, **options: Any) -> str:
        """Upload the network to `user/repo`, which is made where it is missing; options as of the mixin."""
        return hub_files()(self).push_to_hub(repo, **options)


def hub_files() -> type[HubFiles]:
    """Return the class that the mixin is in, or raise `UserError` where the library is missing."""
    try:
        from vqcnir_arch.archs.hub_files import HubFiles
    except ImportError as error:
        raise UserError(
            "from_pretrained, save_pretrained and push_to_hub need huggingface_hub: pip install 'vqcnir[hub]'"
        ) from error
    return HubFiles
