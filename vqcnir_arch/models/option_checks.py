"""What in an option file for training does not fit the model, one line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import nearest
from vqcnir_arch.options.contradictions import scale_contradictions
from vqcnir_arch.registry import ARCH_REGISTRY, QUANTIZER_REGISTRY, lookup, names


def loss_blocks(train: dict[str, Any]) -> list[str]:
    """Return the names of the loss blocks of a section `train:`."""
    return [key for key, block in train.items() if key.endswith("_opt") and block]


def unknown_losses(model: str, known: Sequence[str], train: dict[str, Any]) -> list[str]:
    """Return the loss blocks that a model does not know."""
    return [
        f"train: {model} has no loss '{key}'{nearest(key, known)}" for key in loss_blocks(train) if key not in known
    ]


def missing_losses(options: dict[str, Any]) -> list[str]:
    """Return what the losses on the image lack: all but a GAN's, or what the GAN's needs."""
    train = options["train"]
    losses = loss_blocks(train)
    found = []
    if not set(losses) - {"gan_opt"}:
        found.append("train: no loss but a GAN's: add at least pixel_opt")
    for key in ("gan_start_iter", "adaptive_gan_weight"):
        if train.get(key) and "gan_opt" not in losses:
            found.append(f"train: {key}: there is no gan_opt")
    if train.get("adaptive_gan_weight") and not {"pixel_opt", "perceptual_opt"} & set(losses):
        found.append("train: adaptive_gan_weight needs pixel_opt or perceptual_opt, whose gradient it compares with")
    if "gan_opt" in losses:
        found += [
            f"{name} is missing: train: gan_opt needs it"
            for name, block in (("network_d", options.get("network_d")), ("train: optim_d", train.get("optim_d")))
            if not block
        ]
    return found


def network_class(options: dict[str, Any]) -> type | None:
    """Return the class that `network_g` names, None where there is none of that name, which another check says."""
    name = options["network_g"].get("type")
    return lookup(ARCH_REGISTRY, name) if name in names(ARCH_REGISTRY) else None


def unfit_network(model: str, trains_prior: bool, options: dict[str, Any]) -> list[str]:
    """Return why a model that trains priors, or restoration networks, cannot train `network_g`, if it cannot."""
    block, network = options["network_g"], network_class(options)
    if network is None:
        return []
    name = block["type"]
    if not (isinstance(network, type) and issubclass(network, VQNetwork)):
        return [f"network_g: {model} cannot train {name}: it has no codebook"]
    if network.builds_prior(block) != trains_prior:
        kind = "a prior (stage I)" if trains_prior else "a restoration network (stage II)"
        return [f"network_g: {model} trains {kind}, not a {name}"]
    return scale_contradictions(options)


def unfit_quantizer_losses(block: Any, train: dict[str, Any]) -> list[str]:
    """Return which losses do not fit the quantizer of a block `quantizer:`, with the reason."""
    kind = block.get("type", "NearestCode") if isinstance(block, dict) else None
    if kind not in names(QUANTIZER_REGISTRY):
        return []  # the check of the block itself says so
    output_kind = QUANTIZER_REGISTRY.get(kind).output_kind
    found = []
    if train.get("matching_opt") and output_kind != "features":
        other = "token_opt teaches its choice" if output_kind == "logits" else "alignment_opt pulls its input to them"
        found.append(f"train: matching_opt does not fit {kind}, whose output is codes as they are: {other}")
    if train.get("token_opt") and output_kind != "logits":
        found.append(f"train: token_opt does not fit {kind}, which has no classifier: only CodePrediction has one")
    if output_kind == "logits" and not train.get("token_opt"):
        found.append(f"train: token_opt is missing: {kind} learns from nothing else, as its choice has no gradient")
    return found
