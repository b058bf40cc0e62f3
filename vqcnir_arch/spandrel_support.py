"""Our networks for spandrel, the loader of chaiNNer and ComfyUI (extra `[spandrel]`)."""

from __future__ import annotations

from spandrel import (
    MAIN_REGISTRY,
    Architecture,
    ArchRegistry,
    ArchSupport,
    ImageModelDescriptor,
    ModelTiling,
    SizeRequirements,
    StateDict,
    UnsupportedModelError,
)

from vqcnir_arch.archs.loading import detect, load_network, own_networks, without_prefix
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.state_dicts import unwrapped

SEEN_BEFORE = {"VQCNIR": ("FeMaSR",)}
"""Architectures whose detection would take a checkpoint of ours: a VQCNIR holds all of FeMaSR's tensors."""


class VQArchitecture(Architecture[VQNetwork]):
    """One of our restoration networks as spandrel describes it."""

    def __init__(self, network: type[VQNetwork]) -> None:
        self.network = network
        super().__init__(id=network.__name__, detect=self.is_ours)

    def is_ours(self, state_dict: StateDict) -> bool:
        """Whether a state dict is one of this network, published or ours; also in dictionaries that spandrel lacks."""
        try:
            return detect(without_prefix(tensors_of(state_dict)))[0] is self.network
        except (UserError, LookupError, TypeError, ValueError, RuntimeError):  # of shapes that are of something else
            return False

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[VQNetwork]:
        """Build the network and load it strictly.

        Raises:
            UnsupportedModelError: the file is broken.
        """
        try:
            net = load_network(tensors_of(state_dict))
        except UserError as error:
            raise UnsupportedModelError(str(error)) from error
        return ImageModelDescriptor(
            net,
            net.state_dict(),
            architecture=self,
            purpose="Restoration" if net.scale == 1 else "SR",
            tags=[],
            supports_half=True,
            supports_bfloat16=True,  # the code search stays in float32
            scale=net.scale,
            input_channels=3,
            output_channels=3,
            size_requirements=SizeRequirements(),  # padded and cropped inside
            tiling=ModelTiling.DISCOURAGED,  # norms and attention see the whole image: tiles differ in colour
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"


def tensors_of(content: StateDict) -> StateDict:
    """Return the tensors of what spandrel read, without the dictionaries and prefixes that it does not know."""
    return unwrapped(content, "given")[0]


def install(registry: ArchRegistry = MAIN_REGISTRY) -> list[str]:
    """Add our restoration networks to a registry of spandrel; a second call changes nothing.

    Returns:
        The names that were added.
    """
    networks = [network for network in own_networks() if not network.is_prior]
    supports = [
        ArchSupport.from_architecture(VQArchitecture(network), before=SEEN_BEFORE.get(network.__name__, ()))
        for network in networks
    ]
    return [str(support.architecture.id) for support in registry.add(*supports, ignore_duplicates=True)]
