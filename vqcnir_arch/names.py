"""Names that commands offer for their flags; this module imports nothing, so that `--help` needs no torch."""

PRECISIONS = ("fp32", "bf16", "bf16-all", "fp16", "fp16-all")
"""Without `-all`, what decides the codes stays in float32: another code changes more than rounding does."""
EXPORT_FORMATS = {"pt2": ".pt2", "aoti": ".pt2", "onnx": ".onnx"}
"""Forms of exported networks, and the ending of their files."""
PADDING_RULES = ("exact", "published")
PEERS = ("NAFNet", "Restormer", "spandrel-FeMaSR", "spandrel-CodeFormer")
"""Other people's networks that `vqcnir bench` measures."""
PHOTO_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".jif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".bmp": "BMP",
}
"""Endings of photographs that are read and written, and what Pillow calls their format."""
RAW_ENDINGS = (
    ".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".sr2", ".raf", ".orf", ".rw2", ".pef", ".srw", ".3fr",
    ".fff", ".iiq", ".rwl", ".dcr", ".kdc", ".mrw", ".erf", ".mef", ".mos", ".gpr",
)  # fmt: skip
OTHER_PHOTOS = {
    **dict.fromkeys((".heic", ".heif", ".hif"), ".jpg"),
    ".mpo": ".jpg",
    ".gif": ".png",
    **dict.fromkeys(RAW_ENDINGS, ".png"),  # 16 bit stay
}
"""Endings of photographs that are read but not written, and what their results are unless `--format` names another."""
PHOTO_ENDINGS = (*PHOTO_FORMATS, *OTHER_PHOTOS)
"""Endings of photographs that are looked for in folders."""
SAFETENSORS = ".safetensors"
CHECKPOINT_ENDINGS = (SAFETENSORS, ".pth", ".pt", ".ckpt")
OPTION_ENDINGS = (".yml", ".yaml")
PUBLISHED_WEIGHTS = (
    "the authors' VQCNIR is behind the links (Google Drive, BaiduYun) in the README of "
    "https://github.com/AlexZou14/VQCNIR, which states no licence; its prior, FeMaSR_HRP_model_g.pth, is in the "
    "releases of https://github.com/chaofengc/FeMaSR, whose licence is CC BY-NC-SA 4.0 (non-commercial)"
)
"""Where the weights are that users have read of and look for."""
