"""Reports as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from vqcnir_arch.archs.parameters import parameter_lines
from vqcnir_arch.inspection.experiments import COUNTED_SIZE, OptionReport

MEMORY = ("weights", "gradients", "optimiser", "activations", "total")


def describe(report: OptionReport) -> str:
    """Return a report as lines of text."""
    lines = [f"{report.name}: {report.network}" if report.network else f"{report.name}: cannot be counted as it is"]
    if report.parts:
        lines += [f"  {line}" for line in parameter_lines(report.parts)]
    if report.discriminator:
        kind, count = report.discriminator
        lines.append(f"  {'discriminator':<14} trains {count:>12,d}   ({kind})")
    lines += [f"  {value:.1f} GMAC at {size} x {size}" for size, value in report.gmacs.items()]
    if report.memory is not None:
        split = ", ".join(f"{name} {gigabytes(report, name)}" for name in MEMORY[:-1])
        lines.append(f"  a training step holds about {gigabytes(report, 'total')} GB in float32: {split}")
    lines += [f"  {line}" for line in (*report.data, *(f"note: {note}" for note in report.notes))]
    return "\n".join(lines) + "\n"


def table(reports: Sequence[OptionReport]) -> str:
    """Return several reports as a Markdown table; memory in GB."""
    lines = [
        "| experiment | network | parameters | trainable | discriminator | GMAC at crop | GMAC at 512² | "
        + " | ".join((*MEMORY[:-1], "step, GB"))
        + " | findings |",
        "|" + "---|" * (8 + len(MEMORY)),
    ]
    for r in reports:
        crop = next((f"{value:.1f} ({size}²)" for size, value in r.gmacs.items() if size != COUNTED_SIZE), "-")
        at_512 = f"{r.gmacs[COUNTED_SIZE]:.1f}" if COUNTED_SIZE in r.gmacs else "-"
        cells = [
            r.name,
            r.network or "-",
            f"{r.parameters:,}" if r.parts else "-",
            f"{r.trainable:,}" if r.parts else "-",
            f"{r.discriminator[1]:,}" if r.discriminator else "-",
            crop,
            at_512,
            *(gigabytes(r, name) for name in MEMORY),
            str(len(r.findings) or "-"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def gigabytes(report: OptionReport, name: str) -> str:
    """Return one entry of a report's memory in GB."""
    return "-" if report.memory is None else f"{getattr(report.memory, name) / 1e9:.2f}"
