"""The page of what becomes what, from the tables: `python -m vqcnir_arch.options.published.reference`."""

from __future__ import annotations

from collections.abc import Mapping

from vqcnir_arch.options.published.common import COMMON, PAIRS
from vqcnir_arch.options.published.projects import PROJECTS
from vqcnir_arch.options.published.rules import By, Gone, Means, PartOf, Rule, Same, To, shown

INTRODUCTION = """# Option files of the published projects

Written by `python -m vqcnir_arch.options.published.reference` from the tables that translate.

```bash
vqcnir convert train_FeMaSR_LQ_stage.yml ours.yml    # FeMaSR, AdaCode, CodeFormer or LEDNet
vqcnir inspect ours.yml                              # what it trains, and which data and checkpoints are missing
vqcnir train -opt ours.yml
```

`convert` prints a line for each key of the file: what is as it was, what became what, what has no counterpart; and
what stands in no key of it and is ours to choose (these lines are at the head of the new file, too). A key or a value
that the tables do not have ends it with a line that names the nearest one, and nothing is written. AdaCode's stage 1
has the form of FeMaSR's HQ stage. DAEFR's files are PyTorch Lightning's and are not translated: the line says which
of `options/daefr/` is the counterpart.

* `inspect`, `train` and `test` refuse a published file with the name of this command, and one that was translated in
  part with a line for each type and key that is left. Where a project has registered models of these names itself,
  its files are its own affair.
* Nothing is downloaded. An address in `path:` becomes the file of that name in `experiments/pretrained_models/`.
* `use_resize_crop` is `random_resize`: patches of 512 pixels shrunk by one factor from 0.5 to 1, bicubic. Pairs that
  lie on disk are read by `StoredPairsDataset`, which has it; BasicSR's `PairedImageDataset` has not.
* A list (`.txt`, one path a line, counted from the current folder) may stand in the place of a folder, as in
  AdaCode's `datafile_gt`.
* CodeFormer's `latent_gt_code1024.pth` is refused: its layout is not known to us. `vqcnir data codes` makes such a
  file.
* LEDNet's network is not in this library. Its file becomes one for VQCNIR on the same pairs, with LEDNet's losses on
  the image, its schedule and its batches.
* The masks of CodeFormer's inpainting are ours, as its file says only that there are some
  ([degradations.md](degradations.md)).

`*` stands for any name. What is not listed has the same place and meaning here."""
ADDRESS = "an address: the file of that name, to be put there"
HEAD = ["| published | here | remark |", "|---|---|---|"]


def reference() -> str:
    """Return the page as Markdown: a table for each set of stages that have the same rows."""
    stages = {stage.title: stage for project in PROJECTS for stage in project.stages}
    shared = table({**COMMON, **PAIRS})
    having: dict[str, list[str]] = {}
    for title, stage in stages.items():
        for row in table(stage.rules):
            if row not in shared:
                having.setdefault(row, []).append(title)
    groups: dict[tuple[str, ...], list[str]] = {}
    for row, titles in having.items():
        groups.setdefault(tuple(titles), []).append(row)
    lines = [INTRODUCTION, "", "## All", "", *HEAD, *shared]
    for group in sorted((group for group in groups if len(group) > 1), key=len, reverse=True):
        lines += ["", f"## {', '.join(group)}", "", *HEAD, *groups[group]]
    for title, stage in stages.items():
        added = [f"| (none) | `{place}: {shown(value)}` | {why} |" for place, (value, why) in stage.added.items()]
        lines += ["", f"## {title}", "", f"Ours: [{stage.ours}](../{stage.ours})", ""]
        lines += [*HEAD, *groups.get((title,), []), *added]
    return "\n".join(lines) + "\n"


def table(rules: Mapping[str, Rule]) -> list[str]:
    """Return the rows of rules, but for what stays as it is."""
    return list(dict.fromkeys(row for place, rule in rules.items() for row in rows_of(place, rule)))


def rows_of(place: str, rule: Rule) -> list[str]:
    """Return a rule's rows."""
    why = getattr(rule, "why", "")
    why = ADDRESS if callable(why) else why
    match rule:
        case Same():
            return []
        case To() if rule.place == place and why in ("", ADDRESS):
            return []
        case To():
            cells = [(f"`{place}`", f"`{rule.place}`", why)]
        case PartOf():
            cells = [(f"`{place}`", f"part of `{rule.place}`", "")]
        case Gone():
            only = f"only {', '.join(map(shown, rule.only))}: " if rule.only is not None else ""
            cells = [(f"`{place}`", "no counterpart", only + rule.why)]
        case By():
            cells = [(f"`{place}`", rule.here, "; ".join(filter(None, (why, rule.gone and f"else: {rule.gone}"))))]
        case Means():
            cells = [
                (
                    f"`{place}: {'~' if value is None else shown(value)}`",
                    ", ".join(f"`{name}: {shown(ours)}`" for name, ours in sets.items()) or "always so",
                    why,
                )
                for value, sets in rule.values
            ]
    return [f"| {' | '.join(cell)} |" for cell in cells]


if __name__ == "__main__":
    print(reference(), end="")
