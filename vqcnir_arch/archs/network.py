"""What every network of the library can do: pad and crop, carry its options in its checkpoint, load published files."""

from __future__ import annotations

import contextlib
import inspect
import json
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.cpu import to_channels_last
from vqcnir_arch.archs.extra_state import EXTRA_STATE, decode_options, encode_options
from vqcnir_arch.archs.padding import crop_bottom_right, pad_bottom_right
from vqcnir_arch.archs.published.layout import rename_published
from vqcnir_arch.errors import UserError
from vqcnir_arch.names import PADDING_RULES
from vqcnir_arch.registry import ARCH_REGISTRY, QUANTIZER_REGISTRY, lookup, with_defaults
from vqcnir_arch.version import __version__


class VQNetwork(nn.Module):
    """Base of the networks: RGB in, RGB out, NCHW, float, nominal range [0, 1], any height and width.

    A subclass calls `remember_options(locals())` in its constructor, `draw_weights()` when all its layers are there and
    before it loads any, and computes in `compute`. How its published files look, `archs/published/` says.
    """

    scale: int = 1
    is_prior: bool = False
    """Whether it learns the codebook (stage I) instead of using it."""
    prior_type: ClassVar[str] = "VQGANPrior"
    """Network that `prior` must hold."""
    frozen_parts: tuple[str, ...] = ()
    """Modules that are frozen with the prior; codebooks are frozen in any case."""
    default_quantizer: ClassVar[str] = "NearestCode"
    """Type of the `quantizer` block that names none."""
    decodes_on_demand: ClassVar[bool] = False
    """Whether `compute` takes `decode=False`: the codes alone, for training without a loss on the image."""
    has_several_codebooks: ClassVar[bool] = False
    """Whether its codes are `MergedCodes`."""
    has_fidelity_weight: ClassVar[bool] = False
    """Whether `compute` takes `w`, and has an attribute of that name for calls without it."""
    has_target_codes: ClassVar[bool] = False
    """Whether `target_codes(gt)` gives the prior's codes of ground truths; else training keeps the prior beside it."""
    size_multiple: int = 1
    """Height and width that `compute` takes are multiples of this."""
    published_size_multiple: int = 64
    fixed_size: int | None = None
    """Height and width of every image, where the network takes one size alone."""
    runtime_options: ClassVar[tuple[str, ...]] = ("padding", "prior", "freeze_prior")
    """Options that say nothing about the tensors: two networks that differ only here load each other's checkpoints."""
    start_options: ClassVar[tuple[str, ...]] = ("prior", "freeze_prior")
    """Options that say where training starts and what it trains; no checkpoint carries them."""
    per_level_blocks: ClassVar[tuple[str, ...]] = ()
    """Blocks whose options may be lists: one value per level, or per codebook."""

    options: dict[str, Any]
    padding: str
    w: float
    """Only where it `has_fidelity_weight`."""
    out_conv: nn.Conv2d
    """What makes the image; a network without it has an `adaptive_layer` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.random_state = torch.get_rng_state()
        self.compares_options = True
        self.register_load_state_dict_pre_hook(VQNetwork._adapt_state_dict)

    def remember_options(self, arguments: dict[str, Any]) -> None:
        """Keep the constructor's options (`locals()` of the constructor) for the checkpoint, and check `padding`."""
        self.padding = arguments.get("padding", "exact")
        if self.padding not in PADDING_RULES:
            raise UserError(f"padding '{self.padding}' is unknown (known: {', '.join(PADDING_RULES)})")
        names = [n for n in inspect.signature(type(self)).parameters if n not in self.start_options]
        self.options = self.complete_options({name: arguments[name] for name in names})

    def draw_weights(self) -> None:
        """Draw all weights again on the CPU, those of every layer from a seed of its own: one number and its name.

        So a layer starts alike whatever else the network is built of, and torch's generator goes on as if one number
        had been drawn. A part's `reset_parameters` runs after those of the parts inside it.
        """
        before = self.__dict__.pop("random_state")
        if any(p.untyped_storage().device.type == "meta" for p in self.parameters()):
            return  # tensors without memory
        torch.set_rng_state(before)
        seed = int(torch.randint(2**31, ()))
        after = torch.get_rng_state()
        for name, part in reversed(list(self.named_modules())):
            if hasattr(part, "reset_parameters"):
                torch.default_generator.manual_seed(zlib.crc32(f"{seed} {name}".encode()))
                part.reset_parameters()
        torch.set_rng_state(after)

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Fill in the defaults of options that are missing, as in a file written before they existed."""
        parameters = inspect.signature(cls).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.name not in cls.start_options}
        completed = {**defaults, **options}
        if "quantizer" in completed:
            completed["quantizer"] = with_defaults(QUANTIZER_REGISTRY, cls.quantizer_block(completed))
        return completed

    @classmethod
    def quantizer_block(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Return the `quantizer` block with what the network decides where it says nothing."""
        return {"type": cls.default_quantizer, **(options["quantizer"] or {})}

    def forward(self, x: Tensor, **keywords: Any) -> Any:
        """Restore a batch of images.

        Args:
            x: [B, 3, H, W], RGB, nominal range [0, 1]; any H and W of at least 1.
            **keywords: what the network's `compute` takes beside the image.

        Returns:
            [B, 3, H·scale, W·scale], not clamped. With keywords that ask for more, a tuple that starts with it.
        """
        if x.dim() != 4 or x.shape[1] != 3:
            raise UserError(f"{type(self).__name__} takes images as [B, 3, H, W], got {list(x.shape)}")
        height, width = x.shape[-2:]
        if self.fixed_size is not None and (height, width) != (self.fixed_size, self.fixed_size):
            raise UserError(
                f"{type(self).__name__} takes images of {self.fixed_size}x{self.fixed_size} pixels alone, "
                f"got {width}x{height}: align and resize the face first"
            )
        x = self.padded(x)
        result = self.compute(x if torch.is_grad_enabled() else to_channels_last(x), **keywords)
        image, *rest = result if isinstance(result, tuple) else (result,)
        if isinstance(image, Tensor):
            image = crop_bottom_right(image, height * self.scale, width * self.scale)
        return (image, *rest) if rest else image

    def padded(self, x: Tensor) -> Tensor:
        """Pad images [B, 3, H, W] at the bottom and right, so that `compute` takes them."""
        # the published rule belongs to its test code: training crops are never padded by it
        if self.padding == "published" and not self.training and self.fixed_size is None:
            return pad_bottom_right(x, self.published_size_multiple, always=True)
        return pad_bottom_right(x, self.size_multiple)

    def compute(self, x: Tensor, *more: Any, **keywords: Any) -> Any:
        """Restore a batch whose size fits `size_multiple`; same contract as `forward`."""
        raise NotImplementedError

    @classmethod
    def builds_prior(cls, options: Mapping[str, Any]) -> bool:
        """Whether these options build a prior."""
        return cls.is_prior

    @classmethod
    def scale_of(cls, options: Mapping[str, Any]) -> int:
        """Return the scale of the network that these options build."""
        parameter = inspect.signature(cls).parameters.get("scale")
        return 1 if parameter is None else options.get("scale", parameter.default)

    def prior_options(self) -> dict[str, Any]:
        """Return the options of the prior that this network can start from."""
        known = inspect.signature(lookup(ARCH_REGISTRY, self.prior_type)).parameters
        return {name: value for name, value in self.options.items() if name in known}

    def prior_parts(self) -> dict[str, str]:
        """Return our name of each module or tensor that starts from the prior: the prior's name."""
        return {}

    def adaptive_layer(self) -> nn.Conv2d:
        """Return the layer at which `train: adaptive_gan_weight` compares gradients: the one that makes the image."""
        return self.out_conv

    def checkpointed_modules(self) -> list[nn.Module]:
        """Return the parts that `train: checkpoint_blocks` computes twice to hold less memory; none inside another."""
        return []

    def float32_modules(self) -> list[nn.Module]:
        """Return the parts that decide the codes, which `restore --precision bf16` keeps in float32."""
        return []

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def metadata(self) -> dict[str, str]:
        """Return what a safetensors file says of the network in its header."""
        return {
            "format": "pt",
            "arch": type(self).__name__,
            "options": json.dumps(self.options, sort_keys=True),
            "stage": "prior" if self.is_prior else "restoration",
            "version": __version__,
        }

    def get_extra_state(self) -> Tensor:
        return encode_options(type(self).__name__, self.options)

    def set_extra_state(self, state: Tensor) -> None:
        """Nothing to set: `_adapt_state_dict` has compared the options already."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        self.compares_options = strict  # torch always tells load hooks strict=True
        try:
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
        finally:
            self.compares_options = True

    def _adapt_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Rename published tensors, drop the published dead ones, and compare the options that the file carries."""
        if prefix + EXTRA_STATE in state_dict:
            error_msgs.extend(
                self._differing_options(state_dict[prefix + EXTRA_STATE]) if self.compares_options else []
            )
            return
        state_dict[prefix + EXTRA_STATE] = self.get_extra_state()
        rename_published(self, state_dict, prefix)

    def _differing_options(self, packed: Tensor) -> list[str]:
        arch, options = decode_options(packed)
        if arch != type(self).__name__:
            return [f"the file holds a {arch}, not a {type(self).__name__}"]
        with contextlib.suppress(TypeError, ValueError):  # options that this version cannot read stay as they are
            options = json.loads(json.dumps(self.complete_options(options)))
        mine = json.loads(json.dumps(self.options))
        return [
            f"the file was made with {name}: {options.get(name)}, this network has {mine.get(name)}"
            for name in sorted(set(options) | set(mine))
            if name not in self.runtime_options and options.get(name) != mine.get(name)
        ]
