"""The published files of the face networks: CodeFormer's and DAEFR's."""

from __future__ import annotations

from typing import Any

from torch import nn

from vqcnir_arch.archs.published.layout import Layout, Rules, Shapes, count_numbers, options_of, register_layout

# --- names -----------------------------------------------------------------------------------------------------------

ATTENTION_NAMES: Rules = (
    (r"(\w+_attention\d*)\.query\.", r"\1.q."),
    (r"(\w+_attention\d*)\.key\.", r"\1.k."),
    (r"(\w+_attention\d*)\.value\.", r"\1.v."),
    (r"(\w+_attention\d*)\.project\.", r"\1.proj_out."),
)
CODE_PREDICTION_NAMES: Rules = (
    (r"^quantizer\.transformer\.position$", "position_emb"),
    (r"^quantizer\.transformer\.embed\.", "feat_emb."),
    (r"^quantizer\.transformer\.layers\.(\d+)\.attention\.", r"ft_layers.\1.self_attn."),
    (r"^quantizer\.transformer\.layers\.", "ft_layers."),
    (r"^quantizer\.transformer\.norm\.", "idx_pred_layer.0."),
    (r"^quantizer\.classify\.", "idx_pred_layer.1."),
)


def codeformer_prior_names(net: nn.Module) -> Rules:
    """Return the rules of CodeFormer's prior: files count the parts of encoder and generator in their order."""
    parts = [
        (rf"^{stack}\.{part}\.", f"{stack}.blocks.{i}.")
        for stack in ("encoder", "generator")
        for i, (part, _) in enumerate(net.get_submodule(stack).named_children())
    ]
    return (
        *ATTENTION_NAMES,
        (r"^(encoder|generator)\.(\w+_block\d+)\.skip\.", r"\1.\2.conv_out."),
        (r"^(encoder|generator)\.(\w+_(?:down|up))\.(?:1\.)?", r"\1.\2.conv."),
        *parts,
        (r"^quantizer\.codebook$", "quantize.embedding.weight"),
    )


def codeformer_names(net: nn.Module) -> Rules:
    """Return CodeFormer's rules: files call a fusion by the height of its feature."""
    size, fusions = options_of(net)["image_size"], net.get_submodule("fusions")
    return (
        *((rf"^fusions\.{k}\.", f"fuse_convs_dict.{size >> int(k)}.") for k, _ in fusions.named_children()),
        (r"\.encode\.skip\.", ".encode.conv_out."),
        (r"\.encode\.", ".encode_enc."),
        *CODE_PREDICTION_NAMES,
        *codeformer_prior_names(net),
    )


STACK = r"^(vqvae\w*\.\w*(?:encoder|decoder)"
DAEFR_PRIOR_NAMES: Rules = (
    (r"^(vqvae\w*)\.quantizer\.codebook$", r"\1.quantize.embedding.weight"),
    (r"^(vqvae\w*)\.before_quant\.", r"\1.quant_conv."),
    (r"^(vqvae\w*)\.after_quant\.", r"\1.post_quant_conv."),
    (r"^(vqvae\w*)\.generator\.level", r"\1.decoder.up."),
    (r"^(vqvae\w*)\.generator\.", r"\1.decoder."),
    *ATTENTION_NAMES,
    (rf"{STACK}\.[\w.]+)\.query_norm\.", r"\1.norm2."),
    (rf"{STACK}\.[\w.]+)\.norm\.", r"\1.norm1."),
    (rf"{STACK}\.[\w.]+)\.skip\.", r"\1.nin_shortcut."),
    (rf"{STACK})\.middle_block0\.", r"\1.mid.block_1."),
    (rf"{STACK})\.middle_attention\.", r"\1.mid.attn_1."),
    (rf"{STACK})\.middle_block1\.", r"\1.mid.block_2."),
    (rf"{STACK})\.level", r"\1.down."),
    (rf"{STACK}\.(?:down|up)\.\d+)_block(\d+)\.", r"\1.block.\2."),
    (rf"{STACK}\.(?:down|up)\.\d+)_attention(\d+)\.", r"\1.attn.\2."),
    (rf"{STACK}\.down\.\d+)_down\.", r"\1.downsample.conv."),
    (rf"{STACK}\.up\.\d+)_up\.1\.", r"\1.upsample.conv."),
)
DAEFR_NAMES: Rules = (
    *CODE_PREDICTION_NAMES,
    (r"^fusion\.norm\.", "cross_attention.norm1."),
    (r"^fusion\.query_norm\.", "cross_attention.norm2."),
    (r"^fusion\.project\.", "cross_attention.proj_out."),
    (r"^fusion\.([qkv])\w+\.", r"cross_attention.\1."),
    (r"^hq_before_quant\.", "vqvae.HQ_quant_conv."),
    (r"^fixed_before_quant\.", "vqvae.Fixed_quant_conv."),
    (r"^quantizer\.codebook$", "vqvae.Fixed_quantize.embedding.weight"),
    (r"^hq_codebook$", "vqvae.HQ_quantize.embedding.weight"),
    (r"^lq_codebook$", "vqvae.LQ_quantize.embedding.weight"),
    (r"^hq_encoder\.", "vqvae.HQ_encoder."),
    (r"^fixed_encoder\.", "vqvae.Fixed_encoder."),
    (r"^(encoder|generator|before_quant|after_quant)\.", r"vqvae.\1."),
    *DAEFR_PRIOR_NAMES,
)

# --- options ---------------------------------------------------------------------------------------------------------


def codeformer_prior_options(shapes: Shapes) -> dict[str, Any] | None:
    """Read the options of CodeFormer's prior: E's channels, level by level, and the codebook's size."""
    downs = [n for n in range(len(shapes)) if f"encoder.blocks.{n}.conv.weight" in shapes]
    last = f"encoder.blocks.{downs[-1] + 1}.conv1.weight" if downs else ""
    if last not in shapes:
        return None
    channels = [*(shapes[f"encoder.blocks.{n}.conv.weight"][0] for n in downs), shapes[last][0]]
    codebook_size, code_dim = shapes["quantize.embedding.weight"]
    return {"channels": channels, "codebook_size": codebook_size, "code_dim": code_dim}


def daefr_prior_options(shapes: Shapes, codebook: str = "vqvae.quantize.embedding.weight") -> dict[str, Any]:
    """Read the options of DAEFR's prior: E's channels, level by level, and the codebook's size."""
    levels = [f"vqvae.encoder.down.{level}.block.0.conv1.weight" for level in range(len(shapes))]
    codebook_size, code_dim = shapes[codebook]
    channels = [shapes[name][0] for name in levels if name in shapes]
    return {"channels": channels, "codebook_size": codebook_size, "code_dim": code_dim}


def restoration_options(prior: dict[str, Any] | None, shapes: Shapes) -> dict[str, Any] | None:
    """Read the options of a network with CodeFormer's transformer, those of its prior being known."""
    if prior is None:
        return None
    depth = count_numbers(shapes, "ft_layers.")
    side = round(shapes["position_emb"][0] ** 0.5)
    quantizer = {"type": "CodePrediction", "attention": "CodeFormer", "depth": depth}
    return {**prior, "image_size": side << (len(prior["channels"]) - 1), "quantizer": quantizer}


def codeformer_options(shapes: Shapes) -> dict[str, Any] | None:
    """Read CodeFormer's options; the fusions only where a level between the finest and the coarsest has none."""
    options = restoration_options(codeformer_prior_options(shapes), shapes)
    beginning = "fuse_convs_dict."
    sizes = {int(name.split(".")[1]) for name in shapes if name.startswith(beginning)}
    if options is None or len(sizes) == len(options["channels"]) - 2:
        return options
    return {**options, "fusion_sizes": sorted(sizes, reverse=True)}


def daefr_options(shapes: Shapes) -> dict[str, Any] | None:
    """Read DAEFR's options."""
    return restoration_options(daefr_prior_options(shapes, "vqvae.Fixed_quantize.embedding.weight"), shapes)


# --- layouts ---------------------------------------------------------------------------------------------------------

register_layout(
    Layout(
        network="FaceVQGANPrior",
        variant={"flavour": "codeformer"},
        names=codeformer_prior_names,
        read_options=codeformer_prior_options,
        required=(
            "quantize.embedding.weight",
            "encoder.blocks.0.weight",
            "encoder.blocks.1.conv1.weight",
            "generator.blocks.0.weight",
        ),
        foreign=("position_emb*",),
        dead=("loss.",),
    )
)
register_layout(
    Layout(
        network="FaceVQGANPrior",
        variant={"flavour": "daefr"},
        names=((r"^", "vqvae."), *DAEFR_PRIOR_NAMES),
        read_options=daefr_prior_options,
        required=(
            "vqvae.quantize.embedding.weight",
            "vqvae.encoder.down.0.block.0.conv1.weight",
            "vqvae.post_quant_conv.weight",
        ),
        foreign=("position_emb*", "vqvae_LQ.*"),
        dead=("loss.",),
    )
)
register_layout(
    Layout(
        network="AssociatedPriors",
        names=((r"^hq\.", "vqvae."), (r"^lq\.", "vqvae_LQ."), *DAEFR_PRIOR_NAMES),
        read_options=daefr_prior_options,
        required=(
            "vqvae.quantize.embedding.weight",
            "vqvae.encoder.conv_in.weight",
            "vqvae.encoder.down.0.block.0.conv1.weight",
            "vqvae.post_quant_conv.weight",
            "vqvae_LQ.encoder.conv_in.weight",
        ),
        foreign=("position_emb*",),
        dead=("loss.", "loss_LQ."),
    )
)
register_layout(
    Layout(
        network="CodeFormer",
        names=codeformer_names,
        read_options=codeformer_options,
        required=(
            "position_emb",
            "feat_emb.weight",
            "ft_layers.0.norm1.weight",
            "idx_pred_layer.1.weight",
            "quantize.embedding.weight",
            "encoder.blocks.0.weight",
            "generator.blocks.0.weight",
        ),
    )
)
register_layout(
    Layout(
        network="DAEFR",
        names=DAEFR_NAMES,
        read_options=daefr_options,
        required=(
            "position_emb",
            "feat_emb.weight",
            "idx_pred_layer.1.weight",
            "cross_attention.q.weight",
            "vqvae.Fixed_quantize.embedding.weight",
            "vqvae.encoder.conv_in.weight",
            "vqvae.encoder.down.0.block.0.conv1.weight",
            "vqvae.post_quant_conv.weight",
        ),
    )
)
