"""`vqcnir inspect`: what an option file would train, or what a checkpoint is, without running anything."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from vqcnir_arch.archs.network import EXTRA_STATE, VQNetwork
from vqcnir_arch.checkpoint import detect, existing_file, load_network, read_state_dict
from vqcnir_arch.errors import UserError
from vqcnir_arch.options import check_options, read_options
from vqcnir_arch.options.preflight import check_dataset, section
from vqcnir_arch.options.unchecked import unchecked_blocks
from vqcnir_arch.registry import ARCH_REGISTRY, build

OPTION_ENDINGS = (".yml", ".yaml")
COUNTED_SIZE = 512  # the papers' size for FLOPs
BYTES = 4  # float32


@dataclass
class Report:
    """What an option file would train."""

    name: str
    network: str = ""
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Trainable and frozen parameters of each part of network_g."""
    gmacs: float = 0.0
    """Of network_g, one image of 512 × 512."""
    memory_gb: float | None = None
    """Estimate for a training step of network_g in float32."""
    data: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def trainable(self) -> int:
        return sum(trains for trains, _ in self.parts.values())

    @property
    def parameters(self) -> int:
        return sum(sum(counts) for counts in self.parts.values())


def main(arguments: Sequence[str]) -> None:
    """Inspect option files (`.yml`) or checkpoints; several option files give one table.

    Raises:
        UserError: what is wrong with the files, after everything else has been printed.
    """
    if "--codebook" in arguments:
        from vqcnir_arch import analysis

        return analysis.main(arguments)
    parser = argparse.ArgumentParser(prog="vqcnir inspect", description=main.__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="option files or checkpoints")
    parser.add_argument("--codebook", action="store_true", help="analyse a checkpoint's codebook; see with --help")
    files = parser.parse_args(arguments).files
    option_files = [file for file in files if Path(file).suffix.lower() in OPTION_ENDINGS]
    for file in files:
        if file not in option_files:
            print(describe_checkpoint(file))
    reports = [inspect_options(file) for file in option_files]
    print(table(reports) if len(reports) > 1 else "".join(describe(report) for report in reports))
    findings = [f"{file}: {f}" for file, r in zip(option_files, reports, strict=True) for f in r.findings]
    if findings:
        raise UserError("\n".join(findings))


def inspect_options(file: str) -> Report:
    """Check an option file and count what it would train; what is wrong goes into the report's findings."""
    report = Report(name=Path(file).stem)
    try:
        raw = read_options(file)
        options = check_options(raw, is_train=bool(raw.get("train")))
    except UserError as error:
        report.findings += str(error).splitlines()
        return report
    report.name, report.network = options["name"], options["network_g"]["type"]
    report.notes = unchecked_blocks(options)
    for name, dataset in options["datasets"].items():
        try:
            images = check_dataset(name, dataset, options)
            report.data.append(f"{name}: {images:,} samples ({dataset['type']})")
        except UserError as error:
            report.findings.append(str(error))
    try:
        count_network(report, options)
    except UserError as error:
        report.findings.append(str(error))
    return report


def count_network(report: Report, options: dict[str, Any]) -> None:
    """Build network_g without memory behind its tensors, and count parameters, GMACs and what a step would hold."""
    block = dict(options["network_g"])
    prior = block.pop("prior", None)
    if prior is not None:
        block.setdefault("freeze_prior", True)
        try:
            existing_file(prior, "network_g: prior")
        except UserError as error:
            report.findings.append(str(error))
    with FakeTensorMode():
        net = section("network_g", build, ARCH_REGISTRY, block)
        for name, part in net.named_children():
            counts = [
                sum(p.numel() for p in part.parameters() if p.requires_grad is trains) for trains in (True, False)
            ]
            if sum(counts):
                report.parts[name] = (counts[0], counts[1])
        if not isinstance(net, VQNetwork):
            report.notes.append(f"network_g: {report.network} is not of this library: GMACs and memory are not counted")
            return
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(torch.rand(1, 3, COUNTED_SIZE, COUNTED_SIZE))
        report.gmacs = counter.get_total_flops() / 2e9
        train = options["datasets"].get("train")
        if train and train.get("gt_size"):
            images = torch.rand(train.get("batch_size_per_gpu") or 1, 3, train["gt_size"], train["gt_size"])
            kept = report.parameters + 3 * report.trainable  # weights; gradients and Adam's two moments
            report.memory_gb = (kept * BYTES + saved_for_backward(net.train(), images)) / 1e9


def saved_for_backward(net: nn.Module, images: Tensor) -> int:
    """Return the bytes that autograd keeps of a forward pass, parameters left out."""
    sizes: dict[int, int] = {}
    own = {id(p.untyped_storage()) for p in net.parameters()}
    storages = []  # kept alive, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages.append(storage)
        if id(storage) not in own and not isinstance(tensor, nn.Parameter):
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = net(images)
    del result
    return sum(sizes.values())


def describe(report: Report) -> str:
    """Return a report as text."""
    lines = [f"{report.name}: {report.network}"]
    for name, (trains, frozen) in report.parts.items():
        lines.append(f"  {name:<14} trains {trains:>12,d}   frozen {frozen:>12,d}")
    if report.parts:
        lines.append(f"  {'in all':<14} trains {report.trainable:>12,d}   of {report.parameters:,d} parameters")
    if report.gmacs:
        lines.append(f"  {report.gmacs:.1f} GMAC at {COUNTED_SIZE} x {COUNTED_SIZE}")
    if report.memory_gb is not None:
        lines.append(
            f"  a training step holds about {report.memory_gb:.1f} GB for network_g in float32 (weights, gradients, "
            "Adam, what autograd saves; without discriminator, losses and work space)"
        )
    lines += [f"  {line}" for line in (*report.data, *(f"note: {note}" for note in report.notes))]
    return "\n".join(lines) + "\n"


def table(reports: Sequence[Report]) -> str:
    """Return several reports as a Markdown table."""
    lines = [
        "| experiment | network | parameters | trainable | GMAC at 512² | step, GB | findings |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in reports:
        memory = "-" if r.memory_gb is None else f"{r.memory_gb:.1f}"
        lines.append(
            f"| {r.name} | {r.network} | {r.parameters:,} | {r.trainable:,} | {r.gmacs:.1f} | {memory} | "
            f"{len(r.findings) or '-'} |"
        )
    return "\n".join(lines)


def describe_checkpoint(file: str) -> str:
    """Load a checkpoint and say what it is: network, stage, options, whose file.

    Raises:
        UserError: it is no checkpoint of this library's networks.
    """
    state = read_state_dict(file)
    cls, _ = detect(state, f"checkpoint '{file}'")
    net = load_network(file)
    whose = "ours, with its options" if EXTRA_STATE in state else "published layout, options read off its shapes"
    lines = [
        f"{file}: {cls.__name__} ({'prior, stage I' if cls.is_prior else 'restoration network, stage II'})",
        f"  {whose}; {len(state)} tensors, {sum(p.numel() for p in net.parameters()):,} parameters in use",
        *(f"  {name}: {value}" for name, value in net.options.items()),
    ]
    return "\n".join(lines) + "\n"
