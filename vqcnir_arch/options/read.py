"""Option file and `--force_yml` to a dictionary."""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vqcnir_arch.errors import UserError
from vqcnir_arch.options.force import apply_forced
from vqcnir_arch.options.from_checkpoint import resolve_networks
from vqcnir_arch.options.published import refuse_published
from vqcnir_arch.options.schema import Experiment
from vqcnir_arch.shipped import shipped
from vqcnir_arch.tensor_files import existing_file


class OptionLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which also finds what YAML lets pass.

    Attributes:
        twice: lines for keys that stand twice in a mapping, of which YAML silently takes the last.
        no_texts: lines for keys that are something else than text.
        templates: keys of the file that begin with `x-`, or whose sections others refer to.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.twice: list[str] = []
        self.no_texts: list[str] = []
        self.templates: list[str] = []
        self._referred: set[int] = set()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        is_alias, mark = self.check_event(yaml.AliasEvent), self.peek_event().start_mark
        node = super().compose_node(parent, index)
        if is_alias:
            self._referred.add(id(node))
            if isinstance(node, yaml.CollectionNode) and node.end_mark is None:
                raise yaml.composer.ComposerError(None, None, "a section refers to itself", mark)
        elif isinstance(node, yaml.MappingNode):
            self._note_keys(node)
        return node

    def _note_keys(self, node: yaml.MappingNode) -> None:
        """Look before sections are merged (`<<`), which puts their keys beside those that override them."""
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        names = [(key.tag, key.value) for key in keys]
        self.no_texts += [
            f"line {key.start_mark.line + 1}: '{key.value}' is no text to YAML, as on, no and numbers: put it in quotes"
            for key in keys
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
        ]
        self.twice += [
            f"line {key.start_mark.line + 1}: '{key.value}' stands there twice"
            for i, key in enumerate(keys)
            if names[i] in names[:i]
        ]

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if isinstance(node, yaml.MappingNode):
            self.templates = [
                str(key.value)
                for key, value in node.value
                if str(key.value).startswith("x-") or id(value) in self._referred
            ]
        return node


def read_options(
    path: str | os.PathLike[str], force: Sequence[str] = (), notes: list[str] | None = None
) -> dict[str, Any]:
    """Read an option file, apply `--force_yml` entries, and read networks `{from: CHECKPOINT}` from their checkpoints.

    Args:
        path: the file.
        force: entries such as `train:ema_decay=0.999`.
        notes: takes one line for each thing that became another than what stands in the file and in the entries.

    Raises:
        UserError: the file is missing, not YAML or a published project's, an entry names a key that is not in it, or a
            network's checkpoint cannot be read or is another network's.
    """
    path = option_file(path)
    options, twice = load_file(path)
    refuse_published(options, path)
    if twice:
        raise UserError(f"option file '{path}', {twice[0]}")
    forced, dropped = apply_forced(options, force)
    read = resolve_networks(options, forced)
    if notes is not None:
        notes += [*dropped, *read]
    return options


def load_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the content of an option file, whoever's it is, and a line for each key that stands in it twice.

    Raises:
        UserError: it is not YAML, or no mapping, or a key in it is no text.
    """
    text = read_text(path)
    try:
        loader = OptionLoader(text)
        options = loader.get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        mark, position = getattr(error, "problem_mark", None), getattr(error, "position", None)
        line = mark.line + 1 if mark else None if position is None else text.count("\n", 0, position) + 1
        where = f", line {line}" if line else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"option file '{path}'{where} is not YAML: {problem}{odd_character(text)}") from error
    if loader.no_texts:
        raise UserError(f"option file '{path}', {loader.no_texts[0]}")
    if not isinstance(options, dict):
        raise UserError(f"option file '{path}' holds a {type(options).__name__}, expected a mapping of options")
    for key in loader.templates:
        if key not in Experiment.model_fields and not re.fullmatch(Experiment.more, key):
            options.pop(key, None)
    return options, loader.twice


def odd_character(text: str) -> str:
    """Name the first character of a text that looks like a blank or a colon and is none; pages and editors put them."""
    found = re.search("[\u00a0\u2007\u202f\u200b\u3000\uff1a]", text)
    if found is None:
        return ""
    line = text.count("\n", 0, found.start()) + 1
    return f" (line {line} has U+{ord(found[0]):04X}, {unicodedata.name(found[0])}, which YAML takes for a letter)"


def read_text(path: Path) -> str:
    """Return the text of an option file, or raise `UserError` that names its encoding if that is not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"option file '{path}' cannot be read: {error.strerror}") from error
    try:
        if b"\0" not in content:
            return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    raise UserError(f"option file '{path}' is {encoding_of(content)}, expected text in UTF-8")


def encoding_of(content: bytes) -> str:
    """Guess, in words, the encoding of a text that is not UTF-8."""
    if b"\0" in content:
        is_text = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]
        return "in UTF-16 ('Unicode' in Windows)" if is_text else "no text"
    runs = re.findall(rb"[\x80-\xff]+", content)
    if all(len(run) % 2 == 0 for run in runs):  # pairs of bytes; a Western letter beyond ASCII mostly stands alone
        leads = b"".join(run[::2] for run in runs)
        common = sum(0xA1 <= lead <= 0xD7 for lead in leads)  # GB 2312's signs and its common characters
        if common > len(leads) / 2:
            return "probably in GBK"
    return "in another encoding, such as Windows-1252 or Shift JIS"


def option_file(path: str | os.PathLike[str]) -> Path:
    """Return an existing option file; the error for a missing one says where vqcnir brings one of that name."""
    try:
        return existing_file(path, "option file")
    except UserError as error:
        own = shipped(path)
        if own is None or not own.is_file():
            raise
        raise UserError(f"{error}; vqcnir brings '{own}'") from error
