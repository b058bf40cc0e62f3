"""LEDNet's option files: its data, losses and schedule, with VQCNIR in place of its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.options.published.common import COMMON, PAIRS, WEIGHTS, both_phases
from vqcnir_arch.options.published.project import Project
from vqcnir_arch.options.published.rules import By, Gone, Means, Place, Rule, Same, Source, Stage, To, shown

NETWORK = "LEDNet is not in this library: VQCNIR restores the same pairs"


PERCEPTUAL = {
    "type": "PerceptualLoss",
    "vgg_type": "vgg19",
    "use_input_norm": True,
    "range_norm": True,  # its images come in [-1, 1], ours in [0, 1]
    "style_weight": 0,
    "criterion": "l1",
}
"""What BasicSR's loss has to be told to be our `VGG19PerceptualLoss`, which needs no download."""


def perceptual(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """Return the same loss: L1 of VGG19's features at layers that weigh alike."""
    for key, known in value.items():
        if key not in (*PERCEPTUAL, "layer_weights", "perceptual_weight"):
            raise UserError(f"unknown option '{key}'{nearest(key, PERCEPTUAL)}")
        if key in PERCEPTUAL and known != PERCEPTUAL[key]:
            raise UserError(f"{key}: {shown(known)} has no counterpart, only {shown(PERCEPTUAL[key])}")
    layers = value["layer_weights"]
    if len(set(layers.values())) != 1:
        raise UserError(f"layer_weights: {shown(layers)}: layers that weigh differently have no counterpart")
    weight = value.get("perceptual_weight", 1.0) * next(iter(layers.values()))
    return {"train: perceptual_opt": {"type": "VGG19PerceptualLoss", "layers": [*layers], "loss_weight": weight}}


RULES: dict[str, Rule] = {
    **COMMON,
    **PAIRS,
    "model_type": Means(
        tuple((name, {"model_type": "VQRestorationModel"}) for name in ("LEDNetModel", "LEDNetGANModel"))
    ),
    **both_phases(
        lambda here: {
            "type": Means((("PairedImageDataset", {f"{here}: type": "StoredPairsDataset"}),)),
            "dataroot_gt": Same(),
            "dataroot_lq": Same(),
        }
    ),
    "datasets: train: crop_size": To("datasets: train: gt_size"),
    "network_g: type": Means((("LEDNet", {"network_g: type": "VQCNIR"}),), NETWORK),
    "network_g: channels": Gone("of LEDNet"),
    "network_g: connection": Gone("of LEDNet"),
    "network_d: type": Means((("NLayerDiscriminator", {"network_d: type": "PatchDiscriminator"}),)),
    "network_d: input_nc": To("network_d: num_in_ch"),
    "network_d: ndf": To("network_d: num_feat"),
    "network_d: n_layers": To("network_d: num_layers"),
    "train: perceptual_opt": By(perceptual, "train: perceptual_opt: VGG19PerceptualLoss"),
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
