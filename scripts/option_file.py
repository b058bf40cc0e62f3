"""An option file as data that can be changed and written again, with its header and its comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

WIDTH = 118


class Writer(yaml.SafeDumper):
    """Writes values as the option files have them: ~ for nothing, 1.0e-4 for small numbers."""


def small_number(writer: Writer, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if 0 < abs(value) < 0.01:
        mantissa, exponent = f"{value:.15e}".split("e")
        text = f"{float(mantissa)}e{int(exponent)}"
    return writer.represent_scalar("tag:yaml.org,2002:float", text)


Writer.add_representer(float, small_number)
Writer.add_representer(type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "~"))


def inline(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.dump(value, Dumper=Writer, default_flow_style=True, sort_keys=False, width=float("inf"))
    return text.removesuffix("...\n").strip()


class OptionFile:
    """The content of an option file, by dotted path: `file["train.total_iter"] = 100_000`.

    A path that is set must be there, so that a base which has changed is noticed. Comments stay with the value that
    they were written for: a changed one loses its comment.

    Raises:
        ValueError: the text would come out differently even if nothing were changed.

    Attributes:
        header: comment at the beginning, one string per line.
        options: the content.
        comments: what stands behind values, by path.
        layout: for each path of the base, whether the value has lines of its own and whether an empty line is before.
    """

    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        start = next(i for i, line in enumerate(lines) if not line.startswith("#"))
        self.header = [line.removeprefix("# ") for line in lines[:start]]
        self.options: dict[str, Any] = yaml.safe_load(text)
        self.comments: dict[str, str] = {}
        self.layout: dict[str, tuple[bool, bool]] = {}
        for path, key, value in marked(yaml.compose(text)):
            spread = not isinstance(value, yaml.ScalarNode) and not value.flow_style
            self.layout[path] = spread, not lines[key.start_mark.line - 1]
            rest = "" if spread else lines[value.end_mark.line][value.end_mark.column :]
            if rest:
                self.comments[path] = rest
        if self.write() != text:
            raise ValueError(
                "this option file has a form that would not be kept, such as a comment on a line of its own"
            )

    def head(self, text: str) -> None:
        """Give the file another header."""
        self.header = textwrap.wrap(text, WIDTH)

    def place(self, path: str) -> tuple[dict[str, Any], str]:
        """Return the block that holds a path, and the path's last name.

        Raises:
            KeyError: the path is not there.
        """
        *names, last = path.split(".")
        block = self.options
        for name in names:
            block = block[name]
        if last not in block:
            raise KeyError(path)
        return block, last

    def __getitem__(self, path: str) -> Any:
        block, name = self.place(path)
        return block[name]

    def __setitem__(self, path: str, value: Any) -> None:
        block, name = self.place(path)
        if block[name] != value:
            self.comments.pop(path, None)
        block[name] = value

    def __delitem__(self, path: str) -> None:
        block, name = self.place(path)
        del block[name]
        self.comments.pop(path, None)

    def comment(self, path: str, text: str) -> None:
        """Say something behind a value."""
        self.place(path)
        self.comments[path] = f"   # {text}"

    def insert(self, path: str, name: str, value: Any) -> None:
        """Put a new value right behind the one at a path."""
        block, before = self.place(path)
        items = list(block.items())
        items.insert(list(block).index(before) + 1, (name, value))
        block.clear()
        block.update(items)

    def replace_in_strings(self, old: str, new: str) -> None:
        """Replace a piece of text in all values that are text, in the header and in comments."""

        def replaced(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: replaced(each) for key, each in value.items()}
            if isinstance(value, list):
                return [replaced(each) for each in value]
            return value.replace(old, new) if isinstance(value, str) else value

        self.options, self.header, self.comments = map(replaced, (self.options, self.header, self.comments))

    def write(self) -> str:
        """Return the file's text."""
        return "\n".join([*(f"# {line}" for line in self.header), *self.lines(self.options, ""), ""])

    def lines(self, block: dict[str, Any], path: str) -> Iterator[str]:
        margin = "  " * path.count(".")
        for name, value in block.items():
            where = path + name
            spread, spaced = self.layout.get(where, (False, False))
            if spaced:
                yield ""
            if not spread or not isinstance(value, dict | list):
                yield f"{margin}{name}: {inline(value)}{self.comments.get(where, '')}"
                continue
            yield f"{margin}{name}:"
            if isinstance(value, list):
                yield from (f"{margin}  - {inline(each)}" for each in value)
            else:
                yield from self.lines(value, f"{where}.")


def marked(block: yaml.MappingNode, path: str = "") -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Yield path, key and value of everything that has a line of its own."""
    for key, value in block.value:
        yield path + key.value, key, value
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from marked(value, f"{path}{key.value}.")
