"""`vqcnir data`: one table of its verbs, each a `main(arguments)` in a module that is imported when it is called."""

from __future__ import annotations

from collections.abc import Sequence

from vqcnir_arch.cli import Verb, run_verb

VERBS = {
    "synth": Verb("data.commands.synth:main", "SHARP_DIR OUT_DIR --recipe NAME", "make pairs from sharp photographs"),
    "crop": Verb("data.commands.crop:main", "DIR --out DIR [--folders A B]", "cut images into sub-images"),
    "lmdb": Verb("data.commands.lmdb:main", "DIR [--folders A B]", "put images into BasicSR's LMDBs"),
    "check": Verb("data.commands.check:main", "NAME DIR [--quick]", "compare a data set with what was published"),
}


def main(arguments: Sequence[str]) -> None:
    """Run the verb that `arguments` begin with."""
    run_verb("vqcnir data", VERBS, arguments)
