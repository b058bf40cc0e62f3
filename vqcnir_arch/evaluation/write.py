"""The files of an evaluation: per image (CSV), everything (JSON), and a table beside the papers' rows (Markdown)."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.comparison import column_for, compare
from vqcnir_arch.evaluation.journal import ESCAPED
from vqcnir_arch.evaluation.papers import PaperRow
from vqcnir_arch.evaluation.protocols import Column
from vqcnir_arch.evaluation.run import Evaluation, describe
from vqcnir_arch.evaluation.statistics import LEVEL, RESAMPLES, SEED, Mean, unit

DIGITS = {"psnr": 2, "ssim": 4, "lpips": 4, "niqe": 3, "musiq": 2, "nrqm": 3, "brisque": 2, "pi": 3, "fid": 2}
MARKS = {"yes": "", "not known": " ?", "no": " ≠"}
LEGEND = "No mark: comparable. `?`: not known whether comparable. `≠`: not comparable. [n]: why."


def write_all(evaluation: Evaluation) -> list[Path]:
    """Write `images.csv`, `videos.csv` where there are videos, `summary.json` and `table.md`; return their paths.

    Raises:
        UserError: a file cannot be written.
    """
    out = evaluation.out
    try:
        written = [_write_csv(out / "images.csv", image_rows(evaluation))]
        videos = video_rows(evaluation)
        if len(videos) > 1:
            written.append(_write_csv(out / "videos.csv", videos))
        (out / "summary.json").write_text(
            json.dumps(summary(evaluation), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
            encoding="utf-8",
            errors=ESCAPED,
        )
        (out / "table.md").write_text(markdown(evaluation), encoding="utf-8", errors=ESCAPED)
    except OSError as error:
        raise UserError(f"'{error.filename or out}' cannot be written: {error.strerror}") from error
    return [*written, out / "summary.json", out / "table.md"]


def _write_csv(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", encoding="utf-8", errors=ESCAPED, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def image_rows(evaluation: Evaluation) -> list[list[Any]]:
    """Return the per-image table: name, video, one column per metric, and what there is to say of the image."""
    measured = evaluation.measured
    columns = [column.name for column in evaluation.columns if column.reference != "set"]
    rows: list[list[Any]] = [["image", "video", *columns, "notes"]]
    for pair in evaluation.pairs:
        values = [measured.values[name].get(pair.name) for name in columns]
        notes = [f"{n}: {v.note}" for n, v in zip(columns, values, strict=True) if v is not None and v.note]
        notes += [of_images[pair.name] for of_images in (measured.failed, evaluation.unusual) if pair.name in of_images]
        numbers = ["" if value is None or value.value is None else value.value for value in values]
        rows.append([pair.name, pair.video, *numbers, "; ".join(notes)])
    return rows


def video_rows(evaluation: Evaluation) -> list[list[Any]]:
    """Return the table of means per video."""
    means = evaluation.video_means
    videos = sorted({video for of_video in means.values() for video in of_video})
    return [["video", *means], *([video, *(means[name].get(video, "") for name in means)] for video in videos)]


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return everything but the single images, for `summary.json`."""
    by_name = {column.name: column for column in evaluation.protocol.columns}
    return {
        "protocol": evaluation.protocol.name,
        **{name.replace(" ", "_"): text for name, text in evaluation.about.items()},
        "test_set": evaluation.conditions.test_set,
        "crop_border": evaluation.protocol.crop_border,
        "images": len(evaluation.pairs),
        "interval": {
            "level": LEVEL,
            "method": "percentile bootstrap of the mean over images",
            "resampled": unit([pair.video for pair in evaluation.pairs]),
            "resamples": RESAMPLES,
            "seed": SEED,
        },
        "columns": {
            name: {**asdict(mean), "better": by_name[name].better, "settings": by_name[name].settings}
            for name, mean in evaluation.means.items()
        },
        "videos": evaluation.video_means,
        "skipped": evaluation.measured.skipped,
        "failed": evaluation.measured.failed,
        "undefined": evaluation.undefined,
        "not_8_bit_rgb_png": evaluation.unusual,
        "papers": [_paper_entry(row, evaluation) for row in evaluation.conditions.rows],
    }


def _paper_entry(row: PaperRow, evaluation: Evaluation) -> dict[str, Any]:
    values = {}
    for measure, printed in row.values.items():
        column = column_for(measure, printed.way, evaluation.protocol)
        entry = {"value": printed.value, "printed": printed.printed, "note": printed.note}
        if column is not None:
            verdict = compare(row, measure, column, evaluation.conditions)
            entry |= {"column": column.name, "comparable": verdict.comparable, "reasons": verdict.reasons}
        values[measure] = entry
    return {"source": row.place, "set": row.set, "method": row.method, "values": values}


def markdown(evaluation: Evaluation) -> str:
    """Return the report: what was done, ours beside the papers' rows, the videos, and what is missing."""
    done, *how = describe(evaluation.protocol, evaluation.about)
    parts = [f"# {done}", "\n".join(f"- {line.strip()}" for line in how), _comparison(evaluation)]
    videos = video_rows(evaluation)
    if len(videos) > 1:
        by_name = {column.name: column for column in evaluation.columns}
        header = ["video", *(by_name[name].title for name in videos[0][1:])]
        body = [
            [video, *(_number(name, value) for name, value in zip(videos[0][1:], numbers, strict=True))]
            for video, *numbers in videos[1:]
        ]
        parts += ["## Videos", _table(header, body)]
    return "\n\n".join([*parts, *missing(evaluation)]) + "\n"


def missing(evaluation: Evaluation) -> list[str]:
    """Return what is not in the means: skipped columns, images that failed, values that do not exist."""
    measured = evaluation.measured
    lines = [f"- column {name} SKIPPED: {reason}" for name, reason in measured.skipped.items()]
    lines += [f"- image {name} FAILED: {reason}" for name, reason in measured.failed.items()]
    for name, notes in evaluation.undefined.items():
        lines += [f"- {name} of {image} not in the mean: {note}" for image, note in notes.items()]
    return ["## Not measured", "\n".join(lines)] if lines else []


def _comparison(evaluation: Evaluation) -> str:
    columns = list(evaluation.protocol.columns)
    ours = [_interval(column, evaluation.means.get(column.name)) for column in columns]
    rows = [["**these results**", "", *ours]]
    reasons: dict[str, int] = {}
    several_sets = len({row.set for row in evaluation.conditions.rows}) > 1
    for row in evaluation.conditions.rows:
        cells = {column.name: "" for column in columns}
        for measure, printed in row.values.items():
            column = column_for(measure, printed.way, evaluation.protocol)
            if column is None:
                continue
            verdict = compare(row, measure, column, evaluation.conditions)
            said = [text for text in (*verdict.reasons, printed.note) if text]
            numbers = "".join(f"[{reasons.setdefault(text, len(reasons) + 1)}]" for text in said)
            cells[column.name] = printed.printed + MARKS[verdict.comparable] + numbers
        where = f"{row.place}, {row.set}" if several_sets else row.place
        rows.append([row.method, where, *cells.values()])
    header = ["method", "printed in", *(f"{column.title} {column.arrow}" for column in columns)]
    videos = [pair.video for pair in evaluation.pairs]
    text = [f"Mean over images [95 % bootstrap interval, resampled: {unit(videos)}].", _table(header, rows), LEGEND]
    return "\n\n".join([*text, "\n".join(f"- [{number}] {reason}" for reason, number in reasons.items())])


def _interval(column: Column, mean: Mean | None) -> str:
    if mean is None:
        return "SKIPPED"
    text = f"**{_number(column.name, mean.mean)}**"
    if mean.low is not None:
        text += f" [{_number(column.name, mean.low)}, {_number(column.name, mean.high)}]"
    return text


def _number(name: str, value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.{DIGITS[name.split('_')[0]]}f}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
