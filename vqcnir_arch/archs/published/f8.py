"""The published files at f8: VQCNIR, its prior (which is FeMaSR's HQ network), FeMaSR, AdaCode."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vqcnir_arch.archs.published.layout import Layout, Rules, Shapes, count_numbers, register_layout

CODEBOOK = "quantize_group.0.embedding.weight"
IN_CONV = "multiscale_encoder.in_conv.weight"
ENHANCER = "multiscale_encoder.blocks.3.blks."
TRAINING_ALONE = ("conv_semantic.", "vgg_feat_extractor.")
"""Heads and networks of training losses, which files carry along."""

# --- names -----------------------------------------------------------------------------------------------------------

PRIOR_NAMES: Rules = (
    (r"^encoder\.stages\.", "multiscale_encoder.blocks."),
    (r"^encoder\.", "multiscale_encoder."),
    (r"^(multiscale_encoder\.blocks\.\d+\.\d+)\.norm1\.", r"\1.conv.0.norm."),
    (r"^(multiscale_encoder\.blocks\.\d+\.\d+)\.conv1\.", r"\1.conv.2."),
    (r"^(multiscale_encoder\.blocks\.\d+\.\d+)\.norm2\.", r"\1.conv.3.norm."),
    (r"^(multiscale_encoder\.blocks\.\d+\.\d+)\.conv2\.", r"\1.conv.5."),
    (r"^generator\.(\d+)\.0\.1\.", r"decoder_group.\1.block.1."),
    (r"^generator\.(\d+)\.1\.", r"decoder_group.\1.block.2."),
    (r"^generator\.(\d+)\.2\.", r"decoder_group.\1.block.3."),
    (r"^(decoder_group\.\d+\.block\.\d)\.norm1\.", r"\1.conv.0.norm."),
    (r"^(decoder_group\.\d+\.block\.\d)\.conv1\.", r"\1.conv.2."),
    (r"^(decoder_group\.\d+\.block\.\d)\.norm2\.", r"\1.conv.3.norm."),
    (r"^(decoder_group\.\d+\.block\.\d)\.conv2\.", r"\1.conv.5."),
    (r"^quantizer\.codebook$", CODEBOOK),
    (r"^before_quant\.", "before_quant_group.0."),
    (r"^after_quant\.", "after_quant_group.0.conv."),
    (r"^semantic_head\.", "conv_semantic."),
)
VQCNIR_NAMES: Rules = (
    (r"^enhancer\.(\d+)\.", rf"{ENHANCER}\1."),
    (r"(\.blks\.\d+)\.expand1\.", r"\1.conv1."),
    (r"(\.blks\.\d+)\.depthwise\.", r"\1.conv2."),
    (r"(\.blks\.\d+)\.project1\.", r"\1.conv3."),
    (r"(\.blks\.\d+)\.channel\.", r"\1.sca2.1."),
    (r"(\.blks\.\d+)\.large_kernel\.local\.", r"\1.sca1.conv0."),
    (r"(\.blks\.\d+)\.large_kernel\.dilated\.", r"\1.sca1.conv_spatial."),
    (r"(\.blks\.\d+)\.large_kernel\.project\.", r"\1.sca1.conv1."),
    (r"(\.blks\.\d+)\.expand2\.", r"\1.conv4."),
    (r"(\.blks\.\d+)\.ima\.curve\.(\d+)\.", r"\1.IMAC.predictA\2."),
    (r"(\.blks\.\d+)\.ima\.conv\.(\d+)\.", r"\1.IMAC.conv\2."),
    (r"(\.blks\.\d+)\.project2\.", r"\1.conv5."),
    (r"^decoder\.fusions\.f(\d+)\.attention\.", r"main_decode.attn.Level_\1."),
    (r"(\.attn\.Level_\d+)\.query\.", r"\1.d_proj1."),
    (r"(\.attn\.Level_\d+)\.key\.", r"\1.g_proj1."),
    (r"(\.attn\.Level_\d+)\.value_d\.", r"\1.d_proj2."),
    (r"(\.attn\.Level_\d+)\.value_g\.", r"\1.g_proj2."),
    (r"^decoder\.fusions\.f(\d+)\.warp\.estimate\.", r"main_decode.align_func_dict.Level_\1.offset_conv1."),
    (r"^decoder\.fusions\.f(\d+)\.warp\.merge\.", r"main_decode.align_func_dict.Level_\1.offset_conv2."),
    (r"^decoder\.fusions\.f(\d+)\.warp\.deform\.", r"main_decode.align_func_dict.Level_\1.dcn."),
    (r"^decoder\.upsamples\.f(\d+)\.", r"main_decode.pre_upsample_dict.Level_\1."),
    (r"^decoder\.blocks\.f(\d+)\.skip\.", r"main_decode.decoder_dict.Level_\1.residual_func."),
    (r"^decoder\.blocks\.f(\d+)\.", r"main_decode.decoder_dict.Level_\1."),
    *PRIOR_NAMES,
)
FEMASR_NAMES: Rules = (
    (r"^(encoder\.stages|weight_predictor)(\.\d+)\.(\d+)\.conv\.", r"\1\2.swin_blks.\3.conv."),
    (
        r"^(encoder\.stages|weight_predictor)(\.\d+)\.(\d+)\.blocks\.(\d+)\.block\.",
        r"\1\2.swin_blks.\3.residual_group.blocks.\4.",
    ),
    *PRIOR_NAMES,
)
SWIN_DEAD = ("*.swin_blks.*.attn_mask", "*.swin_blks.*.relative_position_index")
"""Published tensors that follow from the size of the window and of the image."""


def adacode_names(net: nn.Module) -> Rules:
    """Return AdaCode's rules: files count the codebooks, which have names here."""
    codebooks = net.get_submodule("codebooks").named_children()
    return (
        *((rf"^codebooks\.{name}\.", f"codebooks.{k}.") for k, (name, _) in enumerate(codebooks)),
        (r"^codebooks\.(\d+)\.quantizer\.codebook$", r"quantize_group.\1.embedding.weight"),
        (r"^codebooks\.(\d+)\.(before|after)_quant\.", r"\2_quant_group.\1."),
        *FEMASR_NAMES,
        (r"^weight_predictor\.", "weight_predictor.blocks."),
    )


# --- options ---------------------------------------------------------------------------------------------------------


def prior_options(shapes: Shapes) -> dict[str, Any]:
    """Read what the prior and VQCNIR have in common: channels at f1, f2, f4 and f8, and the codebook's size."""
    stages = [shapes[f"multiscale_encoder.blocks.{i}.0.weight"][0] for i in range(3)]
    codebook_size, code_dim = shapes[CODEBOOK]
    return {"channels": [shapes[IN_CONV][0], *stages], "codebook_size": codebook_size, "code_dim": code_dim}


def vqcnir_options(shapes: Shapes) -> dict[str, Any] | None:
    """Read VQCNIR's options; None where there is no AIEM.

    A DCNv2 predicts 27 numbers for each of its groups: 9 offsets in x and y, 9 masks.
    """
    depth = count_numbers(shapes, ENHANCER)
    if not depth:
        return None
    first = f"{ENHANCER}0.IMAC."
    splits = sum(1 for name in shapes if name.startswith(f"{first}conv") and name.endswith(".weight"))
    heads = [shapes[f"main_decode.attn.Level_{level}.scale"][0] for level in (8, 4, 2, 1)]
    offsets = shapes["main_decode.align_func_dict.Level_8.dcn.conv_offset.weight"][0]
    curve_order = shapes[f"{first}predictA0.4.weight"][0]
    return {
        **prior_options(shapes),
        "enhancer": {"type": "AIEM", "depth": depth, "splits": splits, "curve_order": curve_order},
        "fusion": {"type": "DBCA", "heads": heads, "offset_groups": offsets // 27},
    }


def swin_options(shapes: Shapes, stack: str) -> dict[str, Any] | None:
    """Read a Swin stack's options off the tensors whose names begin with `stack`; None where it is another's."""
    table = shapes.get(f"{stack}.swin_blks.0.residual_group.blocks.0.attn.relative_position_bias_table")
    if table is None or len(table) != 2:
        return None
    groups = count_numbers(shapes, f"{stack}.swin_blks.")
    depth = count_numbers(shapes, f"{stack}.swin_blks.0.residual_group.blocks.")
    entries, heads = table
    window = (round(entries**0.5) + 1) // 2  # the table has (2·window - 1)² entries
    return {"swin_groups": groups, "swin_depth": depth, "swin_heads": heads, "window": window}


def all_of(shapes: Shapes, name: str, count: int) -> list[torch.Size] | None:
    """Return the shapes of tensors whose names have a number from 0 on for `{}`; None where one is missing."""
    names = [name.format(i) for i in range(count)]
    return [shapes[each] for each in names] if shapes.keys() >= set(names) else None


def generator_channels(shapes: Shapes) -> list[int] | None:
    """Read the prior's channels off G, full size first; None where there is none."""
    convs = all_of(shapes, "decoder_group.{}.block.1.weight", count_numbers(shapes, "decoder_group."))
    if not convs:
        return None
    return [conv[0] for conv in reversed(convs)] + [convs[0][1]]


def swin_encoder_options(shapes: Shapes) -> dict[str, Any] | None:
    """Read channels, scale, Swin stack and feature fusion of a super-resolution network; None where it is none."""
    blocks = "multiscale_encoder.blocks."
    stacks = {n.split(".swin_blks.")[0] for n in shapes if n.startswith(blocks) and ".swin_blks." in n}
    channels = generator_channels(shapes)
    if len(stacks) != 1 or channels is None:
        return None
    (stack,) = stacks
    halvings = int(stack.rsplit(".", 1)[1])
    options = swin_options(shapes, stack)
    if options is None:
        return None
    return {
        "channels": channels,
        "scale": 2 ** (len(channels) - 1 - halvings),
        **options,
        "feature_fusion": count_numbers(shapes, blocks) > halvings + 1,
    }


def femasr_options(shapes: Shapes) -> dict[str, Any] | None:
    """Read FeMaSR's options."""
    options = swin_encoder_options(shapes)
    codebook_size, code_dim = shapes[CODEBOOK]
    return None if options is None else {**options, "codebook_size": codebook_size, "code_dim": code_dim}


def adacode_options(shapes: Shapes) -> dict[str, Any] | None:
    """Read AdaCode's options: stage 3 has a Swin stack in its encoder, stage 2 only in the weights' predictor."""
    channels, weights = generator_channels(shapes), shapes["weight_predictor.blocks.1.weight"]
    count = count_numbers(shapes, "quantize_group.")
    codebooks = all_of(shapes, "quantize_group.{}.embedding.weight", count)
    stack, restoration = swin_options(shapes, "weight_predictor.blocks.0"), swin_encoder_options(shapes)
    if channels is None or count != weights[0] or codebooks is None or stack is None:
        return None
    return {
        "stage": 2 if restoration is None else 3,
        **(restoration or {"scale": 1, "channels": channels, **stack}),
        "codebook_size": [codebook[0] for codebook in codebooks],
        "code_dim": codebooks[0][1],
    }


# --- layouts ---------------------------------------------------------------------------------------------------------

PRIOR_REQUIRED = (
    CODEBOOK,
    IN_CONV,
    *(f"multiscale_encoder.blocks.{i}.0.weight" for i in range(3)),
    "after_quant_group.0.conv.weight",
)

register_layout(
    Layout(
        network="VQGANPrior",
        names=PRIOR_NAMES,
        read_options=prior_options,
        required=PRIOR_REQUIRED,
        # AdaCode's second codebook; AIEM (VQCNIR) or Swin (FeMaSR) behind the last halving
        foreign=("quantize_group.1.embedding.weight", "multiscale_encoder.blocks.3.*"),
        dead=("main_decode.", *TRAINING_ALONE),
    )
)
register_layout(
    Layout(
        network="VQCNIR",
        names=VQCNIR_NAMES,
        read_options=vqcnir_options,
        required=PRIOR_REQUIRED,
        dead=TRAINING_ALONE,
    )
)
register_layout(
    Layout(
        network="FeMaSR",
        names=FEMASR_NAMES,
        read_options=femasr_options,
        required=(
            CODEBOOK,
            IN_CONV,
            "multiscale_encoder.blocks.*.swin_blks.0.residual_group.blocks.0.attn.relative_position_bias_table",
            "multiscale_encoder.blocks.*.swin_blks.0.conv.weight",
            "before_quant_group.0.weight",
            "after_quant_group.0.conv.weight",
            "decoder_group.0.block.1.weight",
        ),
        dead=(*TRAINING_ALONE, *SWIN_DEAD),
    )
)
register_layout(
    Layout(
        network="AdaCode",
        names=adacode_names,
        read_options=adacode_options,
        required=(
            CODEBOOK,
            IN_CONV,
            "weight_predictor.blocks.0.swin_blks.0.residual_group.blocks.0.attn.relative_position_bias_table",
            "weight_predictor.blocks.1.weight",
            "before_quant_group.0.weight",
            "after_quant_group.0.weight",
            "decoder_group.0.block.1.weight",
        ),
        dead=("contrast_cri.", *TRAINING_ALONE, *SWIN_DEAD),
    )
)
