"""The speed switches of `train:`: mixed precision, memory format, compilation, micro-batches, checkpointed blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.options.schema import TrainSection

AMP_DTYPES = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class SpeedSwitches:
    """Mixin over `SafeTraining` for a model that computes its losses under `autocast`, one micro-batch at a time.

    The switches act in training alone: validation and test run uncompiled, in float32, on whole images.
    """

    has_speed_switches = True
    compile_backend: ClassVar[str] = "inductor"
    first_scale: ClassVar[float] = 2.0**16
    """Of float16's loss; torch's default."""

    def switch(self, name: str) -> Any:
        """Return the value of a switch, off in a test."""
        train = (self.opt.get("train") or {}) if self.is_train else {}
        return train.get(name, TrainSection.model_fields[name].default)

    # --- networks ----------------------------------------------------------------------------------------------------

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.switch("channels_last") else torch.preserve_format

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Prepare a network before DDP wraps it, whose buckets keep the memory format that they first see."""
        net = net.to(memory_format=self.memory_format)
        if isinstance(net, VQNetwork):
            if self.switch("checkpoint_blocks"):
                checkpoint_blocks(net)
            if self.switch("compile"):
                net.compile(backend=self.compile_backend)  # in place: the names of the tensors stay as they are
        return super().model_to_device(net)

    def test(self) -> None:
        """Images of many sizes would be compiled one after the other."""
        if not self.switch("compile"):
            super().test()
            return
        with torch.compiler.set_stance("force_eager"):
            super().test()

    @contextmanager
    def compile_errors(self) -> Iterator[None]:
        """Turn an error of the compiler, which runs at the first use of the network, into one line."""
        try:
            yield
        except RuntimeError as error:
            if self.switch("compile") and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                reason = " ".join(lines[:2]) or type(error).__name__  # which backend, and what it said
                raise UserError(
                    f"train: compile: torch.compile failed on this machine ({reason}): leave it off"
                ) from error
            raise

    # --- forward and backward ----------------------------------------------------------------------------------------

    def autocast(self) -> AbstractContextManager:
        """Run forward passes in the precision of `amp`; the code search keeps itself out of it."""
        dtype = AMP_DTYPES[self.switch("amp")]
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def micro_batches(self, *names: str) -> Iterator[None]:
        """Make each part of the batches of these names in turn the model's; afterwards they are whole again.

        What happens once per batch happens once: DDP exchanges gradients with the last part, spectral norm estimates
        its norms with the first.

        Raises:
            UserError: the batch cannot be split into equal parts.
        """
        count = self.switch("grad_accumulation")
        whole = {name: getattr(self, name) for name in names}
        size = len(whole[names[0]])
        if size % count:
            raise UserError(f"train: grad_accumulation: a batch of {size} does not split into {count} parts")
        wrapped = [net for net in vars(self).values() if isinstance(net, DistributedDataParallel)]
        normed = spectral_normed(self.net_d) if count > 1 and hasattr(self, "net_d") else []
        for i in range(count):
            for name, images in whole.items():
                setattr(self, name, images.chunk(count)[i].to(memory_format=self.memory_format))
            for module in normed:
                module.training = i == 0
            with ExitStack() as stack:
                for net in wrapped if i < count - 1 else ():
                    stack.enter_context(net.no_sync())
                yield
        for module in normed:
            module.training = True
        for name, images in whole.items():
            setattr(self, name, images)

    def backward(self, loss: Tensor) -> None:
        """Add a micro-batch's share of the gradients, scaled up in float16."""
        self.scaler.scale(loss / self.switch("grad_accumulation")).backward()

    # --- steps -------------------------------------------------------------------------------------------------------

    @cached_property
    def scaler(self) -> GradScaler:
        """The loss scale of float16: what it makes overflow is a skipped step, after which it is smaller."""
        return GradScaler(self.device.type, self.first_scale, enabled=self.switch("amp") == "fp16")

    def step(self, losses: Mapping[str, Tensor], *optimizers: Optimizer) -> bool:
        """Step all optimisers or none, as the guard says of their unscaled gradients; return what it said."""
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        may = self.may_step(losses, *optimizers)
        if may:
            for optimizer in optimizers:
                optimizer.step()
        if optimizers:
            self.scaler.update()
        return may

    def resumable_state(self) -> dict[str, Any]:
        return {**super().resumable_state(), "scaler": self.scaler.state_dict()}

    def load_resumable_state(self, state: dict[str, Any]) -> None:
        super().load_resumable_state(state)
        if state.get("scaler"):  # empty when the run before had no float16
            self.scaler.load_state_dict(state["scaler"])


def checkpoint_blocks(net: VQNetwork) -> None:
    """Let the big blocks of a network keep their inputs alone; the backward pass computes the rest once more."""
    for block in net.big_blocks():
        block.forward = checkpointed(block.forward)


def checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with a checkpoint around it, in a form that torch.compile understands."""

    def run(*arguments: Any) -> Any:
        return checkpoint(forward, *arguments, use_reentrant=False)

    return run


def spectral_normed(net: nn.Module) -> list[nn.Module]:
    """Return the layers under spectral norm, which estimates their norm anew in every forward pass in train mode."""
    return [m for m in net.modules() if any(isinstance(h, SpectralNorm) for h in m._forward_pre_hooks.values())]


def mean_of(parts: Sequence[Mapping[str, Tensor]]) -> OrderedDict[str, Tensor]:
    """Return the mean of each loss over micro-batches of equal size."""
    if len(parts) == 1:
        return OrderedDict(parts[0])
    return OrderedDict((name, torch.stack([part[name] for part in parts]).mean(0)) for name in parts[0])
