"""FeMaSR's option files; AdaCode's stage 1 has the same form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqcnir_arch.errors import UserError
from vqcnir_arch.options.published.common import COMMON, PAIRS, address, both_phases, weights, whole
from vqcnir_arch.options.published.project import Project
from vqcnir_arch.options.published.rules import By, Gone, Means, PartOf, Place, Rule, Same, Source, Stage, To, text

ONLINE = "BSRGANTrainDataset"
SIDES = "dataroot_gt; dataroot where the data set has one side"
HALVINGS = 3  # of the image in our networks of this family: codes at 1/8


def truths(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """Return where the sharp images are: a folder or a list; data sets of one side alone call it dataroot."""
    key = "dataroot" if source.at((*here[:-1], "type")) == ONLINE else "dataroot_gt"
    return {text((*here[:-1], key)): value}


def resize(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    return {text((*here[:-1], "random_resize")): value}


def backend(value: Any, source: Source, here: Place) -> Mapping[str, Any] | None:
    """Data sets that degrade read image files alone."""
    if source.at((*here[:-1], "type")) != ONLINE:
        return {text(here): value}
    if value != {"type": "disk"}:
        raise UserError(f"{value} has no counterpart: BSRGANDataset reads image files")
    return None


def codebook(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """Read `[[side of the code map for a crop, codes, length of a code]]`."""
    is_one = isinstance(value, list) and len(value) == 1 and isinstance(value[0], list) and len(value[0]) == 3
    if not is_one:
        raise UserError(f"{value}: expected one codebook, [[side, codes, length]]")
    side, size, dim = value[0]
    crop = source.at("network_g: gt_resolution")
    if crop != side << HALVINGS:
        raise UserError(f"{value}: codes at 1/8 of the image are known alone, gt_resolution {crop} has {side}")
    return {"network_g: codebook_size": size, "network_g: code_dim": dim}


def saved(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """Numbered checkpoints; none are meant where the interval is longer than the run."""
    if source.at("logger: save_latest_freq") and value > source.at("train: total_iter"):
        return {}
    return {"logger: save_checkpoint_freq": whole(value)}


def latest(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    """A checkpoint that each next one replaces."""
    if source.at("logger: save_checkpoint_freq", 0) <= source.at("train: total_iter"):
        return {}
    return {"logger: save_checkpoint_freq": whole(value), "logger: keep_last": 1}


def semantic(value: Any, source: Source, here: Place) -> Mapping[str, Any]:
    if not source.at("network_g: use_semantic_loss"):
        return {}
    return {"train: semantic_opt": {"type": "SemanticGuidedLoss", **value}}


def typed(place: str, kind: str, **options: Any) -> By:
    """Return the rule of a loss that has no type there: its weight stays, the type and its options are added."""
    names = ", ".join(str(name) for name in (kind, *options.values()))
    return By(lambda value, source, here: {place: {"type": kind, **options, **value}}, f"{place}: {names}")


FAMILY: dict[str, Rule] = {
    **COMMON,
    **PAIRS,
    **both_phases(
        lambda here: {
            "dataroot_gt": By(truths, SIDES),
            "datafile_gt": By(truths, SIDES, "a list, one path a line"),
            "dataroot_lq": To(f"{here}: dataroot_lq"),
            "datafile_lq": To(f"{here}: dataroot_lq", why="a list, one path a line"),
        }
    ),
    "datasets: train: use_resize_crop": By(
        resize, "datasets: train: random_resize", "bicubic, factor 0.5 to 1 for patches of 512 pixels and crops of 256"
    ),
    "datasets: val*: type": Means((("PairedImageDataset", {"datasets: val*: type": "StoredPairsDataset"}),)),
    "datasets: val*: crop_eval_size": Gone("whole images are measured", only=(None,)),
    "network_g: gt_resolution": PartOf("network_g: channels, three halvings"),
    "network_g: norm_type": Means((("gn", {}),)),
    "network_g: act_type": Means((("silu", {}),)),
    "network_d": Same(),
    "train: gan_opt": Same(),
    "train: perceptual_opt": Same(),
    "logger: save_checkpoint_freq": By(
        saved, "logger: save_checkpoint_freq", gone="no numbered checkpoint within the run"
    ),
    "logger: save_latest_freq": By(
        latest, "logger: save_checkpoint_freq, keep_last: 1", gone="the newest checkpoint is always kept"
    ),
    "logger: show_tf_imgs_freq": Gone("TensorBoard gets no images; val: save_img writes them"),
}
HQ: dict[str, Rule] = {
    **FAMILY,
    "model_type": Means((("FeMaSRModel", {"model_type": "VQPriorModel"}),)),
    "scale": To("scale", lambda value: 1, "a prior does not enlarge"),
    "datasets: train: type": Means(
        (
            (ONLINE, {"datasets: train: type": "SharpImageDataset"}),
            ("PairedImageDataset", {"datasets: train: type": "StoredPairsDataset"}),
        )
    ),
    "train: codebook_opt": typed("train: codebook_opt", "CodebookLoss", beta=0.25, beta_on="commitment"),
    "path: strict_load": To("path: strict_load_g"),
}
LQ: dict[str, Rule] = {
    **FAMILY,
    "model_type": Means((("FeMaSRModel", {"model_type": "VQRestorationModel"}),)),
    "scale": Same(),
    "datasets: train: type": Means(
        (
            ("PairedImageDataset", {"datasets: train: type": "StoredPairsDataset"}),
            (ONLINE, {"datasets: train: type": "BSRGANDataset", "datasets: train: pairs": "online"}),
        )
    ),
    "datasets: train: io_backend": By(backend, "datasets: train: io_backend"),
    "network_g: scale_factor": To("network_g: scale"),
    "network_g: frozen_module_keywords": Means(
        (
            (["quantize", "decoder", "after_quant_group", "out_conv"], {"network_g: freeze_prior": True}),
            ([], {"network_g: freeze_prior": False}),
        ),
        "frozen as one",
    ),
    "path: pretrain_network_hq": To("network_g: prior", weights, address),
    "path: strict_load": Means(
        ((False, {"network_g: prior_encoder": "published"}), (True, {"network_g: prior_encoder": "none"})),
        "layers of the encoder whose names and sizes happen to be the prior's start from it",
    ),
    "train: codebook_opt": typed("train: alignment_opt", "CodeAlignmentLoss", alignment="l2_gram"),
    "train: semantic_opt": Gone("it is computed in the HQ stage alone"),
}
PROJECT = Project(
    name="FeMaSR",
    models=("FeMaSRModel",),
    stages=(
        Stage(
            title="FeMaSR's HQ stage (AdaCode's stage 1)",
            ours="options/femasr/train_femasr_hq.yml",
            when={"network_g: type": ("FeMaSRNet",), "network_g: LQ_stage": (False,)},
            rules={
                **HQ,
                "network_g: type": Means((("FeMaSRNet", {"network_g: type": "VQGANPrior"}),), "LQ_stage: false"),
                "network_g: codebook_params": By(codebook, "network_g: codebook_size, code_dim"),
                "network_g: use_semantic_loss": Means(((True, {"network_g: semantic_dim": 512}), (False, {}))),
                "network_g: LQ_stage": PartOf("model_type and network_g: type"),
                "network_g: use_quantize": Means(((True, {}),)),
                "train: semantic_opt": By(
                    semantic, "train: semantic_opt: SemanticGuidedLoss", gone="network_g: use_semantic_loss is off"
                ),
            },
        ),
        Stage(
            title="FeMaSR's LQ stage",
            ours="options/femasr/train_femasr_x4.yml",
            when={"network_g: type": ("FeMaSRNet",), "network_g: LQ_stage": (True,)},
            rules={
                **LQ,
                "network_g: type": Means((("FeMaSRNet", {"network_g: type": "FeMaSR"}),), "LQ_stage: true"),
                "network_g: codebook_params": By(codebook, "network_g: codebook_size, code_dim"),
                "network_g: LQ_stage": PartOf("model_type and network_g: type"),
                "network_g: use_quantize": Means(((True, {}),)),
                "network_g: use_semantic_loss": Means(((True, {}), (False, {})), "of the HQ stage alone"),
            },
        ),
    ),
    types={
        "FeMaSRModel": "VQPriorModel for its HQ stage, VQRestorationModel for LQ",
        "FeMaSRNet": "VQGANPrior for its HQ stage, FeMaSR for LQ",
        ONLINE: "SharpImageDataset for a prior, BSRGANDataset else",
    },
)
