"""The `vqcnir` command: one table of verbs, each a `main(arguments)` in a module that is imported when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.launch import exit_with_one_line


class Verb(NamedTuple):
    """Where a verb's function stands, and what the usage says of it."""

    function: str
    usage: str
    help: str


VERBS = {
    "train": Verb("launch:train", "-opt FILE [--root DIR]", "train by an option file"),
    "test": Verb("launch:test", "-opt FILE [--root DIR]", "test by an option file"),
    "restore": Verb("restoration.command:main", "PHOTO ... -w FILE -o DIR", "restore photographs, folders or videos"),
    "convert": Verb(
        "convert:main",
        "SOURCE TARGET [--layout published]",
        "write a checkpoint as safetensors or in the published layout",
    ),
    "bench": Verb("bench.command:main", "[-w FILE] [--size HxW]", "measure time and memory of networks"),
    "inspect": Verb("inspection:main", "FILE ...", "say what an option file would train, or what a checkpoint is"),
    "demo": Verb("demo:main", "[--out DIR] [--seed N]", "train a small VQCNIR on photographs and show what it does"),
}


def usage() -> str:
    """Return the command's help text."""
    lines = [f"  {name + ' ' + verb.usage:<40}{verb.help}" for name, verb in VERBS.items()]
    return "\n".join(["usage: vqcnir VERB ...", "", *lines, "", "Each verb has --help."])


def dispatch(arguments: Sequence[str]) -> None:
    """Run the verb that `arguments` begin with."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    if arguments[0] in ("-V", "--version"):
        import vqcnir_arch

        print(vqcnir_arch.__version__)
        return
    if arguments[0] not in VERBS:
        raise UserError(f"there is no verb '{arguments[0]}'{nearest(arguments[0], VERBS)}")
    module, _, function = VERBS[arguments[0]].function.partition(":")
    getattr(importlib.import_module(f"vqcnir_arch.{module}"), function)(arguments[1:])


def main() -> None:
    """Entry point of the `vqcnir` command."""
    exit_with_one_line(lambda: dispatch(sys.argv[1:]))
