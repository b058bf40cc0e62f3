"""Names that commands offer for their flags; this module imports nothing, so that `--help` needs no torch."""

PRECISIONS = ("fp32", "bf16", "bf16-all", "fp16", "fp16-all")
"""Without `-all`, what decides the codes stays in float32: another code changes more than rounding does."""
PADDING_RULES = ("exact", "published")
PHOTO_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Endings of photographs, and what Pillow calls their format."""
SAFETENSORS = ".safetensors"
CHECKPOINT_ENDINGS = (SAFETENSORS, ".pth", ".pt", ".ckpt")
OPTION_ENDINGS = (".yml", ".yaml")
PUBLISHED_WEIGHTS = (
    "the authors' VQCNIR is behind the links (Google Drive, BaiduYun) in the README of "
    "https://github.com/AlexZou14/VQCNIR, which states no licence; its prior, FeMaSR_HRP_model_g.pth, is in the "
    "releases of https://github.com/chaofengc/FeMaSR, whose licence is CC BY-NC-SA 4.0 (non-commercial)"
)
"""Where the weights are that users have read of and look for."""
