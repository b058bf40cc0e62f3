"""The `vqcnir` command: one table of verbs, each a `main(arguments)` in a module that is imported when it is called.

Errors of the user end in one line each and exit status 2.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from vqcnir_arch.errors import PartError, UserError, nearest
from vqcnir_arch.memory import keep_freed_memory
from vqcnir_arch.processes import reports_errors
from vqcnir_arch.registry import NEEDS_BASICSR, has_basicsr
from vqcnir_arch.version import __version__

USER_ERROR_STATUS = 2


class Verb(NamedTuple):
    """Where a verb's function stands, and what the usage says of it."""

    function: str
    usage: str
    help: str


VERBS = {
    "train": Verb("launch:train", "-opt FILE [--root DIR]", "train by an option file"),
    "test": Verb("launch:test", "-opt FILE [--root DIR] [--protocol NAME]", "test by an option file"),
    "evaluate": Verb("evaluation.command:main", "DIR --protocol NAME [--gt DIR]", "measure results as the papers did"),
    "restore": Verb(
        "restoration.command:main", "PHOTO ... [-w FILE] [-o DIR]", "restore photographs, folders or videos"
    ),
    "serve": Verb("serving.command:main", "[CHECKPOINT ...] [--port N]", "open a page to try networks on photos"),
    "inspect": Verb("inspection:main", "FILE ...", "say what an option file would train, or what a checkpoint is"),
    "convert": Verb(
        "convert:main",
        "SOURCE TARGET [--layout published]",
        "write a checkpoint in another format or layout, or a published option file as ours",
    ),
    "export": Verb(
        "export.command:main", "CHECKPOINT FILE [--format NAME]", "write a file for torch.export, AOTInductor or ONNX"
    ),
    "bench": Verb("bench.command:main", "[-w FILE] [--size HxW]", "measure time and memory of networks"),
    "data": Verb(
        "data.commands:main", "check | crop | lmdb | synth ...", "check and prepare data, make pairs and test sets"
    ),
    "report": Verb("report:main", "DIR ... [--results NAME=DIR ...]", "write one HTML page on runs and results"),
    "study": Verb(
        "study:main", "[--out DIR] [--only NAME ...]", "compare all quantizers and ablations at a small size"
    ),
    "demo": Verb("demo:main", "[--out DIR] [--seed N]", "train a small VQCNIR on photographs and show what it does"),
}


def usage(command: str, verbs: Mapping[str, Verb]) -> str:
    """Return the help text of a command with verbs."""
    calls = {f"{name} {verb.usage}": verb.help for name, verb in verbs.items()}
    width = max(map(len, calls))
    lines = [f"  {call:<{width}}  {text}" for call, text in calls.items()]
    return "\n".join([f"usage: {command} VERB ...", "", *lines, "", "Each verb has --help."])


def run_verb(command: str, verbs: Mapping[str, Verb], arguments: Sequence[str]) -> None:
    """Run the verb of `command` that `arguments` begin with."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(command, verbs))
        return
    if arguments[0] not in verbs:
        raise UserError(f"there is no verb '{arguments[0]}'{nearest(arguments[0], verbs)}")
    module, _, function = verbs[arguments[0]].function.partition(":")
    getattr(importlib.import_module(f"vqcnir_arch.{module}"), function)(arguments[1:])


def dispatch(arguments: Sequence[str]) -> None:
    """Run the verb that `arguments` begin with."""
    if arguments and arguments[0] in ("-V", "--version"):
        print(__version__)
        return
    run_verb("vqcnir", VERBS, arguments)


def end(message: str, is_of_part: bool = False) -> None:
    """Print the lines of an error and exit; what all processes have in common, the first one says."""
    for line in message.splitlines() if is_of_part or reports_errors() else ():
        print(f"vqcnir: error: {line}", file=sys.stderr)
    sys.exit(USER_ERROR_STATUS)


def exit_with_one_line(function: Callable[[], object]) -> None:
    """Call a command in a process of its own; print a `UserError` as one line per finding and exit with status 2.

    Where a command needs BasicSR and there is none, that is one line, too.
    """
    keep_freed_memory()
    try:
        function()
        sys.stdout.flush()
    except UserError as error:
        # an error from a data-loader worker arrives with that worker's traceback before it
        end(str(error).rpartition("UserError: ")[2].strip(), isinstance(error, PartError))
    except ImportError as error:
        if has_basicsr() or "basicsr" not in str(error):
            raise
        end(NEEDS_BASICSR)
    except KeyboardInterrupt:
        print("vqcnir: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, `head` say, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the flush at the end fail
        sys.exit(141)


def main() -> None:
    """Entry point of the `vqcnir` command."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may hold what the terminal's encoding does not
        sys.stdout.reconfigure(errors="backslashreplace")
    exit_with_one_line(lambda: dispatch(sys.argv[1:]))


if __name__ == "__main__":
    main()
