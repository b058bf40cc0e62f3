"""LEDNet's option files: its data, losses and schedule, with VQCNIR in place of its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqcnir_arch.options.published.common import COMMON, PAIRS, WEIGHTS
from vqcnir_arch.options.published.project import Project
from vqcnir_arch.options.published.rules import By, Gone, Means, Place, Rule, Same, Source, Stage, To

NETWORK = "LEDNet is not in this library: VQCNIR restores the same pairs"


def perceptual(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """BasicSR's loss stays; images come in [0, 1], so that its range_norm (from [-1, 1]) goes off."""
    return {"train: perceptual_opt": {**value, "range_norm": False}}


RULES: dict[str, Rule] = {
    **COMMON,
    **PAIRS,
    "model_type": Means(
        tuple((name, {"model_type": "VQRestorationModel"}) for name in ("LEDNetModel", "LEDNetGANModel"))
    ),
    **{
        f"datasets: {phase}: {key}": rule
        for phase in ("train", "val*")
        for key, rule in {
            "type": Means((("PairedImageDataset", {f"datasets: {phase}: type": "StoredPairsDataset"}),)),
            "dataroot_gt": Same(),
            "dataroot_lq": Same(),
        }.items()
    },
    "datasets: train: crop_size": To("datasets: train: gt_size"),
    "network_g: type": Means((("LEDNet", {"network_g: type": "VQCNIR"}),), NETWORK),
    "network_g: channels": Gone("of LEDNet"),
    "network_g: connection": Gone("of LEDNet"),
    "network_d: type": Means((("NLayerDiscriminator", {"network_d: type": "PatchDiscriminator"}),)),
    "network_d: input_nc": To("network_d: num_in_ch"),
    "network_d: ndf": To("network_d: num_feat"),
    "network_d: n_layers": To("network_d: num_layers"),
    "train: perceptual_opt": By(
        perceptual,
        "train: perceptual_opt, range_norm: false",
        "images are in [0, 1]; BasicSR looks for experiments/pretrained_models/vgg19-dcbb9e9d.pth",
    ),
    "train: gan_opt": Same(),
    "train: use_side_loss": Gone("of LEDNet, which also gives a small image"),
    "train: side_loss_weight": Gone("of LEDNet"),
    "train: init_weights": Means(((False, {}),)),
    "train: net_d_start_iter": To("train: gan_start_iter"),
}
PROJECT = Project(
    name="LEDNet",
    models=("LEDNetModel", "LEDNetGANModel"),
    stages=(
        Stage(
            title="LEDNet's training",
            ours="options/vqcnir/train_vqcnir_lolblur.yml",
            when={"network_g: type": ("LEDNet",)},
            rules=RULES,
            added={
                "network_g: prior": (f"{WEIGHTS}/FeMaSR_HRP_model_g.pth", "VQCNIR starts from a prior of stage I"),
                "network_g: freeze_prior": (True, "as in VQCNIR's paper"),
                "train: alignment_opt": (
                    {"type": "CodeAlignmentLoss", "alignment": "l2", "loss_weight": 1.0},
                    "VQCNIR's loss on codes (eq. 15)",
                ),
            },
        ),
    ),
    types={
        "LEDNetModel": "VQRestorationModel",
        "LEDNetGANModel": "VQRestorationModel",
        "LEDNet": "VQCNIR (LEDNet itself is not in this library)",
        "NLayerDiscriminator": "PatchDiscriminator",
    },
)
