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
)

from vqcnir_arch.archs.loading import detect, load_network, own_networks
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError

SEEN_BEFORE = {"VQCNIR": ("FeMaSR",)}
"""Architectures whose detection would take a checkpoint of ours: a VQCNIR holds all of FeMaSR's tensors."""


class VQArchitecture(Architecture[VQNetwork]):
    """One of our restoration networks as spandrel describes it."""

    def __init__(self, network: type[VQNetwork]) -> None:
        self.network = network
        super().__init__(id=network.__name__, detect=self.is_ours)

    def is_ours(self, state_dict: StateDict) -> bool:
        """Whether a state dict is one of this network, published or ours."""
        try:
            return detect(state_dict)[0] is self.network
        except UserError:
            return False

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[VQNetwork]:
        """Build the network and load it strictly."""
        net = load_network(state_dict)
        return ImageModelDescriptor(
            net,
            net.state_dict(),
            architecture=self,
            purpose="Restoration" if net.scale == 1 else "SR",
            tags=[],
            supports_half=False,
            supports_bfloat16=False,  # the code search needs float32: use autocast instead
            scale=net.scale,
            input_channels=3,
            output_channels=3,
            size_requirements=SizeRequirements(),  # padded and cropped inside
            tiling=ModelTiling.DISCOURAGED,  # norms and attention see the whole image: tiles differ in colour
        )


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
