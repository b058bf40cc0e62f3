"""The `vqcnir` command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.launch import exit_with_one_line, run

USAGE = """usage: vqcnir VERB ...

  train -opt FILE [--root DIR]    train by an option file
  test -opt FILE [--root DIR]     test by an option file
  inspect FILE ...                say what an option file would train, or what a checkpoint is
  demo [--out DIR] [--seed N]     train a small VQCNIR on real photographs and show what it does

Each verb has --help."""


def demo(arguments: Sequence[str]) -> None:
    from vqcnir_arch.demo import main as demo_main

    demo_main(arguments)


def inspect(arguments: Sequence[str]) -> None:
    from vqcnir_arch.inspection import main as inspect_main

    inspect_main(arguments)


VERBS: dict[str, Callable[[Sequence[str]], object]] = {
    "train": lambda arguments: run("train", arguments),
    "test": lambda arguments: run("test", arguments),
    "inspect": inspect,
    "demo": demo,
}


def dispatch(arguments: Sequence[str]) -> None:
    """Run the verb that `arguments` begin with."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0] in ("-V", "--version"):
        import vqcnir_arch

        print(vqcnir_arch.__version__)
        return
    if arguments[0] not in VERBS:
        raise UserError(f"there is no verb '{arguments[0]}'{nearest(arguments[0], VERBS)}")
    VERBS[arguments[0]](arguments[1:])


def main() -> None:
    """Entry point of the `vqcnir` command."""
    exit_with_one_line(lambda: dispatch(sys.argv[1:]))
