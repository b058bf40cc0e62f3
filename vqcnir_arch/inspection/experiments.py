"""What an option file would train."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqcnir_arch.archs.parameters import parameter_counts
from vqcnir_arch.errors import UserError
from vqcnir_arch.inspection.cost import Memory, fake_network, fakes, gmacs, step_memory
from vqcnir_arch.options import read_options
from vqcnir_arch.options.preflight import Trial
from vqcnir_arch.options.unchecked import unchecked_blocks

COUNTED_SIZE = 512  # the papers' size for FLOPs


@dataclass
class OptionReport:
    """What an option file would train."""

    name: str
    network: str = ""
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(trainable, frozen) parameters of each part of network_g."""
    discriminator: tuple[str, int] | None = None
    """Type and parameters of network_d."""
    gmacs: dict[int, float] = field(default_factory=dict)
    """Of network_g, one image, by its height and width in pixels: the training crop, and 512."""
    memory: Memory | None = None
    """Estimate for a training step in float32."""
    data: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def trainable(self) -> int:
        return sum(trains for trains, _ in self.parts.values())

    @property
    def parameters(self) -> int:
        return sum(sum(counts) for counts in self.parts.values())


def inspect_options(file: str) -> OptionReport:
    """Check an option file, build what it names, and count what it would train; all that is wrong is in `findings`."""
    report = OptionReport(name=Path(file).stem)
    try:
        raw = read_options(file)
    except UserError as error:
        report.findings += str(error).splitlines()
        return report
    trial = Trial(raw, is_train=bool(raw.get("train")), root=Path.cwd())
    options, report.findings = trial.options, trial.findings
    report.name = options.get("name", report.name)
    for name, samples in trial.samples.items():
        report.data.append(f"{name}: {samples:,} samples ({options['datasets'][name]['type']})")
    if not trial.checks:
        return report  # sizes of a network whose options are wrong mean nothing
    report.network = options["network_g"]["type"]
    report.notes = unchecked_blocks(options)
    try:
        count(report, options)
    except UserError as error:  # a network that cannot be built is a finding of the trial already
        report.notes.append(f"{str(error).splitlines()[0]}: it is not counted further")
    return report


def count(report: OptionReport, options: dict[str, Any]) -> None:
    """Count parameters, GMACs and what a training step holds, with tensors that have no memory behind them."""
    train_set = options["datasets"].get("train") or {}
    crop = train_set.get("gt_size")
    with fakes():
        report.parts = parameter_counts(fake_network(options, "network_g"))
        if options.get("train") and options.get("network_d"):
            counts = parameter_counts(fake_network(options, "network_d"))
            report.discriminator = (options["network_d"]["type"], sum(map(sum, counts.values())))
        for size in dict.fromkeys([crop // options.get("scale", 1), COUNTED_SIZE] if crop else [COUNTED_SIZE]):
            report.gmacs[size] = gmacs(options, size)
    if options.get("train") and crop:
        report.memory, left_out = step_memory(options, crop, train_set.get("batch_size_per_gpu") or 1)
        report.notes += [f"memory without {what}" for what in left_out]
