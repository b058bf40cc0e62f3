"""How CodeFormer's and DAEFR's published files name their tensors."""

from __future__ import annotations

import torch

CODEFORMER_STACKS = {"encoder": "encoder", "generator": "generator"}
DAEFR_STACKS = {"encoder": "vqvae.encoder", "generator": "vqvae.decoder"}
DAEFR_NAMES = ((r"^before_quant\.", "vqvae.quant_conv."), (r"^after_quant\.", "vqvae.post_quant_conv."))
LEAVES = (("^query\\.", "q."), ("^key\\.", "k."), ("^value\\.", "v."), ("^project\\.", "proj_out."))
CODEFORMER_LEAVES = (*LEAVES, ("^skip\\.", "conv_out."))
DAEFR_LEAVES = (*LEAVES, ("^skip\\.", "nin_shortcut."), ("^norm\\.", "norm1."), ("^query_norm\\.", "norm2."))
DAEFR_PARTS = (
    (r"middle_block0", "mid.block_1"),
    (r"middle_attention", "mid.attn_1"),
    (r"middle_block1", "mid.block_2"),
    (r"_block(\d+)", r".block.\1"),
    (r"_attention(\d+)", r".attn.\1"),
    (r"_down", ".downsample"),
    (r"_up", ".upsample"),
)

CODE_PREDICTION_NAMES = (
    (r"^quantizer\.transformer\.position$", "position_emb"),
    (r"^quantizer\.transformer\.embed\.", "feat_emb."),
    (r"^quantizer\.transformer\.layers\.(\d+)\.attention\.", r"ft_layers.\1.self_attn."),
    (r"^quantizer\.transformer\.layers\.", "ft_layers."),
    (r"^quantizer\.transformer\.norm\.", "idx_pred_layer.0."),
    (r"^quantizer\.classify\.", "idx_pred_layer.1."),
)


def codeformer_channels(shapes: dict[str, torch.Size]) -> list[int] | None:
    """Read the encoder's channels off CodeFormer's names and shapes; None where they are not CodeFormer's."""
    downs = [n for n in range(len(shapes)) if f"encoder.blocks.{n}.conv.weight" in shapes]
    last = f"encoder.blocks.{downs[-1] + 1}.conv1.weight" if downs else ""
    if last not in shapes or "quantize.embedding.weight" not in shapes or "generator.blocks.0.weight" not in shapes:
        return None
    return [*(shapes[f"encoder.blocks.{n}.conv.weight"][0] for n in downs), shapes[last][0]]


def daefr_channels(shapes: dict[str, torch.Size]) -> list[int] | None:
    """Read the encoder's channels off DAEFR's names and shapes; None where they are not DAEFR's."""
    names = [f"vqvae.encoder.down.{level}.block.0.conv1.weight" for level in range(len(shapes))]
    channels = [shapes[name][0] for name in names if name in shapes]
    return channels if channels and "vqvae.post_quant_conv.weight" in shapes else None
