"""The copy of an option file that a training keeps."""

from __future__ import annotations

import json
from typing import Any

import yaml


def as_run(text: str, run: dict[str, Any]) -> str:
    """Return, as comments to stand below an option file, the sections that `--force_yml` or `from` made others.

    Args:
        text: of the option file.
        run: the options of the run, as they were checked.
    """
    written = yaml.safe_load(text)
    changed = {key: plain(value) for key, value in run.items() if plain(value) != plain(written.get(key))}
    if not changed:
        return ""
    lines = yaml.safe_dump(changed, sort_keys=False, allow_unicode=True).splitlines()
    return "\n# As it was run:\n" + "".join(f"# {line}\n" for line in lines)


def plain(value: Any) -> Any:
    """Return options with lists in the place of tuples, as YAML has them."""
    return json.loads(json.dumps(value, default=str))
