"""CodeFormer's option files: VQGAN, stages II and III, colourisation and inpainting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqcnir_arch.errors import UserError
from vqcnir_arch.options.published.codeformer_faces import COLORS, DATA, RANGES, exactly, no_codes, setting
from vqcnir_arch.options.published.common import COMMON, UNIT_RANGE, WEIGHTS, address, weights
from vqcnir_arch.options.published.project import Project
from vqcnir_arch.options.published.rules import (
    By,
    Gone,
    Means,
    PartOf,
    Place,
    Rule,
    Same,
    Source,
    Stage,
    To,
    known_values,
    shown,
)

LEVELS = ["32", "64", "128", "256"]
"""Sides of the maps that have a fusion, for faces of 512 pixels."""
STAGE3_SCHEDULE = [
    {"until": 40000, "w": 1.0, "image_every": 1},
    {"until": 80000, "w": 1.3, "image_every": 1},
    {"until": 120000, "w": 1.0, "image_every": 0},
    {"w": 1.3, "image_every": 15},
]
"""What CodeFormerJointModel does at which iteration; no option says it."""
CODEBOOK_LOSS = {"type": "CodebookLoss", "beta": 0.25, "beta_on": "codebook", "loss_weight": 1.0}
"""Of VQGANModel; no option says it."""
VQGAN_GAN_WEIGHT = 0.8
"""What the published models multiply the adaptive weight by where `scale_adaptive_gan_weight` does not say."""


def fusions(value: Any, source: Source, here: Place) -> Mapping[str, Any] | None:
    """Fusions at all levels are the default here; inpainting's network has none at the finest."""
    if value not in (LEVELS, LEVELS[:3]):
        raise UserError(f"{shown(value)} is not known here: {known_values((LEVELS, LEVELS[:3]))}")
    return None if value == LEVELS else {"network_g: fusion_sizes": [int(side) for side in reversed(value)]}


def as_large_as(other: str) -> PartOf:
    """Return the rule of a second name for the side of the faces."""

    def check(value: Any, source: Source, here: Place) -> None:
        if value != source.at(other):
            raise UserError(f"{shown(value)}, but {other} is {shown(source.at(other))}: here they are one")

    return PartOf(other, check)


def channels(block: str) -> By:
    """Return the rule of `ch_mult`, the channels of the levels in multiples of `nf`."""
    place = "network_g: channels"
    return By(lambda value, source, here: {place: [source.at(f"{block}: nf") * n for n in value]}, place, "times nf")


def gan(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """The published models multiply the adaptive weight; here the loss's own weight does."""
    factor = source.at("train: scale_adaptive_gan_weight", VQGAN_GAN_WEIGHT)
    return {"train: gan_opt": {**value, "loss_weight": value.get("loss_weight", 1.0) * factor}}


def of_gan(place: str, ours: Any = None) -> By:
    """Return the rule of a key that counts only beside `gan_opt`."""

    def function(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
        is_there = bool(source.at("train: gan_opt"))
        return {place: value if ours is None else ours if value else None} if is_there else {}

    return By(function, place if ours is None else f"{place}: {ours}", gone="there is no gan_opt")


def lpips(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """LPIPS as pyiqa computes it takes images in [0, 1] and normalises them itself."""
    for key in ("use_input_norm", "range_norm"):
        if value.get(key, True) is not True:
            raise UserError(f"{key}: {shown(value[key])} has no counterpart")
    return {"train: perceptual_opt": {k: v for k, v in value.items() if k not in ("use_input_norm", "range_norm")}}


def fixed(value: Any, ours: str) -> Means:
    """Return the rule of a key with one known value, as networks here are."""
    return Means(((value, {}),), ours)


def autoencoder(block: str) -> dict[str, Rule]:
    """Return the rules of the VQGAN's sizes, in its own file and where other stages name it."""
    return {
        f"{block}: img_size": as_large_as(f"{DATA}: gt_size"),
        f"{block}: nf": PartOf("network_g: channels"),
        f"{block}: ch_mult": channels(block),
        f"{block}: quantizer": fixed("nearest", "the prior's"),
        f"{block}: codebook_size": To("network_g: codebook_size"),
        f"{block}: embed_dim": To("network_g: code_dim"),
    }


FACES: dict[str, Rule] = {
    **COMMON,
    f"{DATA}: type": Means(
        tuple(
            (name, {f"{DATA}: type": "FaceDegradationDataset"})
            for name in ("FFHQBlindDataset", "FFHQBlindJointDataset")
        )
    ),
    f"{DATA}: dataroot_gt": To(f"{DATA}: dataroot"),
    f"{DATA}: filename_tmpl": Means((("{}", {}),)),
    f"{DATA}: io_backend": Means((({"type": "disk"}, {}),)),
    f"{DATA}: in_size": as_large_as(f"{DATA}: gt_size"),
    f"{DATA}: gt_size": Same(),
    f"{DATA}: mean": UNIT_RANGE,
    f"{DATA}: std": UNIT_RANGE,
    f"{DATA}: use_hflip": Same(),
    f"{DATA}: use_corrupt": By(setting, f"{DATA}: setting, by what is drawn"),
    f"{DATA}: blur_kernel_size": exactly(41),
    f"{DATA}: use_motion_kernel": exactly(False),
    f"{DATA}: motion_kernel_prob": Gone("use_motion_kernel is off"),
    f"{DATA}: kernel_list": exactly(["iso", "aniso"]),
    f"{DATA}: kernel_prob": exactly([0.5, 0.5]),
    **{f"{DATA}: {name}{ending}": PartOf(f"{DATA}: setting") for name in RANGES for ending in ("", "_large")},
    **{f"{DATA}: {name}": PartOf(f"{DATA}: setting") for name in COLORS},
    f"{DATA}: color_jitter_shift": exactly(20, None),
    f"{DATA}: gen_inpaint_mask": exactly(True, False),
    f"{DATA}: gray_prob": To(f"{DATA}: gray_prob", lambda value: value or 0),
    f"{DATA}: latent_gt_path": By(
        no_codes, f"{DATA}: codes", "only ~: files of `vqcnir data codes` are laid out otherwise"
    ),
    "network_d: type": Means((("VQGANDiscriminator", {"network_d: type": "PatchDiscriminator"}),)),
    "network_d: nc": To("network_d: num_in_ch"),
    "network_d: ndf": To("network_d: num_feat"),
    "network_d: n_layers": To("network_d: num_layers"),
    "network_d: model_path": Gone("path: pretrain_network_d names it", only=(None,)),
    "train: ema_decay": Same(),
    "train: perceptual_opt": By(lpips, "train: perceptual_opt: LPIPSLoss"),
    "train: gan_opt": By(gan, "train: gan_opt", "its weight times scale_adaptive_gan_weight, 0.8 without it"),
    "train: scale_adaptive_gan_weight": PartOf("train: gan_opt: loss_weight"),
    "train: use_adaptive_weight": of_gan("train: adaptive_gan_weight", ours=1.0),
    "train: net_g_start_iter": Means(((0, {}),)),
    "train: net_d_start_iter": of_gan("train: gan_start_iter"),
    "train: manual_seed": Gone("the manual_seed at the head counts"),
    "val: metrics: *": Same(),
}
RESTORATION: dict[str, Rule] = {
    **FACES,
    "network_g: type": Same(),
    "network_g: dim_embd": Means(((512, {}),), "width of the transformer"),
    "network_g: n_head": To("network_g: quantizer: num_heads"),
    "network_g: n_layers": To("network_g: quantizer: depth"),
    "network_g: codebook_size": Same(),
    "network_g: connect_list": By(fusions, "`network_g: fusion_sizes`; all four are the default"),
    "network_g: fix_modules": Means(
        ((["quantize", "generator"], {"network_g: freeze_prior": True}), ([], {"network_g: freeze_prior": False}))
    ),
    "network_g: vqgan_path": To("network_g: prior", weights, address),
    "network_vqgan: type": fixed("VQAutoEncoder", "network_g: prior is it"),
    **autoencoder("network_vqgan"),
    "network_vqgan: model_path": To("network_g: prior", weights, address),
    "train: use_hq_feat_loss": Means(((True, {}),), "alignment_opt"),
    "train: feat_loss_weight": To(
        "train: alignment_opt", lambda value: {"type": "CodeAlignmentLoss", "alignment": "l2", "loss_weight": value}
    ),
    "train: cross_entropy_loss": Means(((True, {}),), "token_opt"),
    "train: entropy_loss_weight": To(
        "train: token_opt", lambda value: {"type": "TokenCrossEntropyLoss", "loss_weight": value}
    ),
    "train: fidelity_weight": To("network_g: w"),
}
TRANSFORMER = {
    "network_g: quantizer: type": ("CodePrediction", "the published network's"),
    "network_g: quantizer: attention": ("CodeFormer", "the published network's"),
    "network_g: prior": (f"{WEIGHTS}/vqgan/vqgan_code1024.pth", "stage I's result, which the file does not name"),
}


def model(name: str, **more: Any) -> Means:
    """Return the rule of a model of the later stages."""
    return Means(((name, {"model_type": "VQRestorationModel", **more}),))


PROJECT = Project(
    name="CodeFormer",
    models=("VQGANModel", "CodeFormerIdxModel", "CodeFormerJointModel", "CodeFormerModel"),
    stages=(
        Stage(
            title="CodeFormer's stage I",
            ours="options/codeformer/train_codeformer_stage1.yml",
            when={"model_type": ("VQGANModel",)},
            rules={
                **FACES,
                "model_type": Means(
                    (
                        (
                            "VQGANModel",
                            {
                                "model_type": "VQPriorModel",
                                "train: codebook_opt": CODEBOOK_LOSS,
                                "train: adaptive_gan_weight": 1.0,
                            },
                        ),
                    ),
                    "what that model does without an option",
                ),
                "network_g: type": Means(
                    (("VQAutoEncoder", {"network_g: type": "FaceVQGANPrior", "network_g: flavour": "codeformer"}),)
                ),
                **autoencoder("network_g"),
            },
            added={"network_d: num_layers": (4, "the published network's")},
        ),
        Stage(
            title="CodeFormer's stage II (its colourisation)",
            ours="options/codeformer/train_codeformer_stage2.yml",
            when={"model_type": ("CodeFormerIdxModel",)},
            rules={**RESTORATION, "model_type": model("CodeFormerIdxModel")},
            added=TRANSFORMER,
        ),
        Stage(
            title="CodeFormer's stage III",
            ours="options/codeformer/train_codeformer_stage3.yml",
            when={"model_type": ("CodeFormerJointModel",)},
            rules={
                **RESTORATION,
                "model_type": model("CodeFormerJointModel", **{"train: fidelity_schedule": STAGE3_SCHEDULE}),
                "path: pretrain_network_d": To(
                    "path: pretrain_network_d", weights, "stage II trains no discriminator: stage I's file goes there"
                ),
            },
            added=TRANSFORMER,
        ),
        Stage(
            title="CodeFormer's inpainting",
            ours="options/codeformer/train_codeformer_inpainting.yml",
            when={"model_type": ("CodeFormerModel",)},
            rules={**RESTORATION, "model_type": model("CodeFormerModel")},
            added=TRANSFORMER,
        ),
    ),
    types={
        "VQGANModel": "VQPriorModel",
        "CodeFormerIdxModel": "VQRestorationModel",
        "CodeFormerJointModel": "VQRestorationModel with train: fidelity_schedule",
        "CodeFormerModel": "VQRestorationModel",
        "VQAutoEncoder": "FaceVQGANPrior with flavour: codeformer",
        "VQGANDiscriminator": "PatchDiscriminator",
        "FFHQBlindDataset": "FaceDegradationDataset",
        "FFHQBlindJointDataset": "FaceDegradationDataset with setting: codeformer_stage3",
    },
)
