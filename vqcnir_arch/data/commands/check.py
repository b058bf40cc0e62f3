"""`vqcnir data check`: one report on a data set, exit status 1 if something is wrong with it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from vqcnir_arch.arguments import named_path, positive, sides
from vqcnir_arch.data.catalogue import DATA_SETS
from vqcnir_arch.data.checking import CheckReport, check_data_set
from vqcnir_arch.errors import UserError

WRONG_STATUS = 1


def text(report: CheckReport) -> str:
    """Return the report as a user reads it."""
    lines = [f"{report.data_set} in {report.folder} (from: {report.source})", ""]
    table = [("part", "folder", "images", "published", "sizes")]
    for row in report.rows:
        sizes = list(row.sizes)
        shown = f"{sizes[0]}{f' and {len(sizes) - 1} others' if sizes[1:] else ''}" if sizes else "unknown"
        table.append((row.part, row.folder or ".", f"{row.images:,}", f"{row.published:,}", shown))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for part, folder, images, published, sizes in table:
        lines.append(
            f"  {part:<{widths[0]}}  {folder:<{widths[1]}}  {images:>{widths[2]}}  {published:>{widths[3]}}  {sizes}"
        )
    lines.append("")
    for kind in ("wrong", "incomplete", "note"):
        lines += [f"  {kind}: {finding.where}: {finding.text}" for finding in report.of_kind(kind)]
    if report.quick:
        lines.append("  note: --quick: only headers were read; broken pixels and duplicates would not be found")
    return "\n".join([*lines, "", f"{report.data_set}: {report.verdict}"])


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="vqcnir data check", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("name", metavar="NAME", help=", ".join(DATA_SETS))
    parser.add_argument("folder", type=named_path, metavar="DIR", help="folder of the data set, see datasets/README.md")
    parser.add_argument("--size", type=sides, metavar="WxH", help="of every image, or one side (FFHQ: as needed)")
    parser.add_argument("--quick", action="store_true", help="read headers only")
    parser.add_argument("--workers", type=positive, default=os.cpu_count(), help="threads (default: one per core)")
    parser.add_argument("--json", type=named_path, metavar="FILE", help="write the report there, too")
    given = parser.parse_args(arguments)
    report = check_data_set(given.name, given.folder.expanduser(), given.size, given.quick, given.workers)
    print(text(report))
    if given.json:
        try:
            given.json.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"report '{given.json}' cannot be written: {error.strerror}") from error
    if report.of_kind("wrong"):
        sys.exit(WRONG_STATUS)
