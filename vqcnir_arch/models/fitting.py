"""What a model can train: which networks and losses of an option file fit it."""

from __future__ import annotations

from typing import Any

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import nearest
from vqcnir_arch.registry import ARCH_REGISTRY, lookup, names


class Fitting:
    """Mixin of a model: what it trains, and what in an option file does not fit that."""

    image_losses: tuple[str, ...] = ("pixel_opt", "ssim_opt", "perceptual_opt", "gan_opt")
    own_losses: tuple[str, ...] = ()
    """Loss blocks of the subclass, beside those on the image."""
    trains_prior = False

    @classmethod
    def contradictions(cls, options: dict[str, Any]) -> list[str]:
        """Return what in an option file for training makes no sense for this model, one line each."""
        train = options["train"]
        losses = [key for key, block in train.items() if key.endswith("_opt") and block]
        known = (*cls.image_losses, *cls.own_losses)
        found = [
            f"train: {cls.__name__} has no loss '{key}'{nearest(key, known)}" for key in losses if key not in known
        ]
        found += cls.unfit_network(options)
        if train.get("restart_unused_codes") and not cls.trains_prior:
            found.append(f"train: restart_unused_codes: {cls.__name__} trains no codebook, only stage I does")
        if not set(losses) - {"gan_opt"}:
            found.append("train: no loss but a GAN's: add at least pixel_opt")
        for key in ("gan_start_iter", "adaptive_gan_weight"):
            if train.get(key) and "gan_opt" not in losses:
                found.append(f"train: {key}: there is no gan_opt")
        if train.get("adaptive_gan_weight") and not {"pixel_opt", "perceptual_opt"} & set(losses):
            found.append(
                "train: adaptive_gan_weight needs pixel_opt or perceptual_opt, whose gradient it compares with"
            )
        if "gan_opt" in losses:
            found += [
                f"{name} is missing: train: gan_opt needs it"
                for name, block in (("network_d", options.get("network_d")), ("train: optim_d", train.get("optim_d")))
                if not block
            ]
        return found

    @classmethod
    def unfit_network(cls, options: dict[str, Any]) -> list[str]:
        """Return why this model cannot train the network of an option file, if it cannot; unknown names aside."""
        block = options["network_g"]
        name = block.get("type")
        if name not in names(ARCH_REGISTRY):
            return []
        network = lookup(ARCH_REGISTRY, name)
        if not (isinstance(network, type) and issubclass(network, VQNetwork)):
            return [f"network_g: {cls.__name__} cannot train {name}: it has no codebook"]
        if network.builds_prior(block) != cls.trains_prior:
            kind = "a prior (stage I)" if cls.trains_prior else "a restoration network (stage II)"
            return [f"network_g: {cls.__name__} trains {kind}, not a {name}"]
        scale, of_data = network.scale_of(block), options.get("scale", 1)
        return [] if scale == of_data else [f"scale: {of_data}, but network_g enlarges by {scale}"]
