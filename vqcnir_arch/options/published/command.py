"""`vqcnir convert THEIRS.yml OURS.yml`: a published option file into ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.options.check import find_problems
from vqcnir_arch.options.published import daefr
from vqcnir_arch.options.published.detect import leftovers, not_translated
from vqcnir_arch.options.published.engine import Translation, translate
from vqcnir_arch.options.published.projects import PROJECTS
from vqcnir_arch.options.published.rules import Source, Stage, shown
from vqcnir_arch.options.published.write import option_text, report
from vqcnir_arch.options.read import load_file, option_file
from vqcnir_arch.registry import MODEL_REGISTRY, names


def convert_options(given: str, target: Path) -> None:
    """Translate a published option file, write ours, and print for each key what became of it.

    Raises:
        UserError: it is no published file or one that has no translation, one line for each thing; nothing is written.
    """
    path = option_file(given)
    options, twice = load_file(path)
    stage, translation = translated(options, path)
    write_file(
        target, option_text(translation, f"{stage.title}, translated from {path.name}; compare {stage.ours}.").encode()
    )
    print(f"{stage.title}: {path} -> {target}")
    print(report(translation))
    for line in twice:
        print(f"note: {path}, {line}: the last counts, as in BasicSR")
    print(f"compare {stage.ours}; check it, and which data and checkpoints are missing: vqcnir inspect {target}")


def translated(options: dict[str, Any], path: Path) -> tuple[Stage, Translation]:
    """Translate a published option file's content; `path` names it in errors.

    Raises:
        UserError: one line for each thing that has no translation.
    """
    source = Source(options)
    stage = stage_of(source, path)
    translation = translate(source, stage)
    translation.options.setdefault("path", {"pretrain_network_g": None})  # a section that every file of ours has
    _, findings = find_problems(translation.options, is_train=True)
    if findings:
        raise UserError("\n".join(f"after the translation: {finding}" for finding in findings))
    return stage, translation


def stage_of(source: Source, path: Path) -> Stage:
    """Return the stage whose rules translate a file.

    Raises:
        UserError: it is no published file, one of which only a part is, or DAEFR's.
    """
    if daefr.counterpart(source) is not None:
        raise UserError(not_translated(source, path))
    model = source.at("model_type")
    known = [project for project in PROJECTS if model in project.models]
    if not known:
        if model in names(MODEL_REGISTRY):
            left = leftovers(source)
            half = f", but of a published one stands there still: {'; '.join(left)}" if left else ""
            raise UserError(f"option file '{path}' is not a published one: model_type {model} is of this library{half}")
        models = [name for project in PROJECTS for name in project.models]
        raise UserError(
            f"option file '{path}': model_type '{model}' is of no project that is known{nearest(str(model), models)}"
        )
    stages = [stage for project in known for stage in project.stages]
    fitting = [stage for stage in stages if stage.fits(source)]
    if fitting:
        return fitting[0]
    for place in dict.fromkeys(place for stage in stages for place in stage.when):
        values = {shown(value) for stage in stages for value in stage.when.get(place, ())}
        given = shown(source.at(place))
        if given not in values:
            raise UserError(f"option file '{path}': {place}: {given} tells no stage{nearest(given, values)}")
    raise UserError(f"option file '{path}': it fits no stage of {', '.join(project.name for project in known)}")
