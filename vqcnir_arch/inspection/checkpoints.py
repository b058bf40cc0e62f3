"""What a checkpoint or a training state is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqcnir_arch.archs.extra_state import EXTRA_STATE
from vqcnir_arch.archs.loading import dropped, load_network, without_prefix
from vqcnir_arch.state_dicts import OTHERS, dictionaries, unwrapped
from vqcnir_arch.tensor_files import checkpoint_file, is_training_state, load_file


def describe_checkpoint(file: str, key: str | None = None) -> str:
    """Load a checkpoint and say what it is: network, stage, options, whose file, how it is wrapped.

    `key` is as of `unwrapped`.

    Raises:
        UserError: it is no training state and no checkpoint of this library's networks.
    """
    path = checkpoint_file(file)
    content = load_file(path, "checkpoint")
    return describe_state(file, content) if is_training_state(content) else describe_network(file, path, content, key)


def describe_state(file: str, state: Mapping[str, Any]) -> str:
    """Describe a training state (`.state`)."""
    own = state.get("vqcnir")
    lines = [f"{file}: training state, iteration {state['iter']:,}, epoch {state['epoch']}"]
    if own is None:
        lines.append("  BasicSR's: without random state and place in the epoch, which begins again on a resume")
    else:
        lines.append(f"  ours, for an exact resume; of {', '.join(own.get('networks', ()))}")
    for optimizer in state["optimizers"]:
        groups = optimizer["param_groups"]
        count = sum(len(group["params"]) for group in groups)
        lines.append(f"  optimiser of {count} tensors, learning rate {groups[0]['lr']:g}")
    return "\n".join(lines) + "\n"


def describe_network(file: str, path: Path, content: Any, key: str | None = None) -> str:
    """Describe a checkpoint of a network."""
    tensors, wrapper = unwrapped(content, file, key=key)
    tensors = without_prefix(tensors, f"checkpoint '{file}'")
    net = load_network(tensors, name=f"checkpoint '{file}'")
    whose = "ours, with its options" if EXTRA_STATE in tensors else "published layout, options read off its shapes"
    kind, stage = ("prior", "I") if net.is_prior else ("restoration network", "II")
    wrappers = [at for at, _ in dictionaries(content) if at and not OTHERS.search(at)]
    layout = f"in {' and '.join(wrappers)} ({wrapper} is read)" if wrapper else "bare, without a wrapper"
    lines = [
        f"{file}: {type(net).__name__} ({kind}, stage {net.options.get('stage', stage)})",
        f"  {whose}; {len(tensors)} tensors, {layout}; {path.stat().st_size / 1e6:.1f} MB",
        f"  {sum(p.numel() for p in net.parameters()):,} parameters in use",
        *(f"  {line}" for line in dropped(net, tensors)),
        *(f"  {name}: {value}" for name, value in net.options.items()),
    ]
    return "\n".join(lines) + "\n"
