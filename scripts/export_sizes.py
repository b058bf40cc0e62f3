"""Compare exported files with PyTorch: every host and quantizer, small and with random weights, at three odd sizes.

    python scripts/export_sizes.py                                     # all networks as ONNX, in float32 and float16
    python scripts/export_sizes.py --networks VQCNIR DAEFR --formats pt2 aoti onnx

Prints a Markdown table, and what could not be written. Ends with status 1 if something could not.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import torch

from vqcnir_arch.archs import DeformConv2d, find_quantizers
from vqcnir_arch.archs.loading import own_networks
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.export.comparison import compare, compared_inputs
from vqcnir_arch.export.formats import FORMATS

CODES = {"norm_groups": 8, "codebook_size": 32, "code_dim": 16}
VQ = {
    **CODES, "channels": [16, 32], "res_blocks": 1, "enhancer": {"type": "AIEM", "depth": 1},
    "fusion": {"type": "DBCA", "heads": [2, 1], "offset_groups": 2},
}  # fmt: skip
SWIN = {
    **CODES, "channels": [16, 16, 32], "res_blocks": 1, "swin_groups": 1, "swin_depth": 2, "swin_heads": 2,
    "window": 4,
}  # fmt: skip
FACE = {**CODES, "channels": [16, 16, 32, 32], "image_size": 32}
ATTENTION = {"depth": 2, "num_heads": 2}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "VQCNIR": ("VQCNIR", VQ),
    "VQCNIR, published padding": ("VQCNIR", {**VQ, "padding": "published"}),
    "VQCNIR, SwinBlock": ("VQCNIR", {**VQ, "enhancer": {"type": "SwinBlock", "depth": 2, "num_heads": 2, "window": 4}}),
    "VQCNIR, SinCA": ("VQCNIR", {**VQ, "quantizer": {"type": "SinCA", **ATTENTION}}),
    "VQCNIR, VR": ("VQCNIR", {**VQ, "quantizer": {"type": "VectorRegression"}}),
    "VQCNIR, CodePrediction": ("VQCNIR", {**VQ, "quantizer": {"type": "CodePrediction", **ATTENTION}}),
    "FeMaSR x2": ("FeMaSR", {**SWIN, "scale": 2}),
    "FeMaSR x4, SinCA": ("FeMaSR", {**SWIN, "scale": 4, "quantizer": {"type": "SinCA", **ATTENTION}}),
    "AdaCode x2": ("AdaCode", {**SWIN, "scale": 2, "codebook_size": [32, 24]}),
    "CodeFormer": ("CodeFormer", {**FACE, "quantizer": {"type": "CodePrediction", **ATTENTION}}),
    "DAEFR": ("DAEFR", {**FACE, "quantizer": {"type": "CodePrediction", **ATTENTION}}),
}


def build(name: str) -> VQNetwork:
    """Build one of `NETWORKS`, none of whose parts does nothing."""
    torch.manual_seed(0)
    architecture, options = NETWORKS[name]
    net = {cls.__name__: cls for cls in own_networks()}[architecture](**options).eval().requires_grad_(False)
    for quantizer in find_quantizers(net).values():
        quantizer.codebook.normal_()
    for module in net.modules():
        if isinstance(module, DeformConv2d):
            module.conv_offset.weight.normal_(std=0.1)
    for parameter_name, parameter in net.named_parameters():
        if parameter_name.endswith((".beta", ".gamma")):
            parameter.uniform_(0.5, 1)
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    kinds = [*FORMATS, "onnx-fp16"]
    parser.add_argument("--formats", nargs="+", choices=kinds, default=["onnx", "onnx-fp16"])
    known = parser.parse_args()
    failed = False
    print("| network | file | run by | width x height: largest difference, codes | CPU time |\n|---|---|---|---|---|")
    for name in known.networks:
        for kind in known.formats:
            net, began = build(name), time.process_time()
            form, _, precision = kind.partition("-")
            keywords = {"precision": precision} if precision else {}
            try:
                written = FORMATS[form](net, None, **keywords)
                lines = [compare(net, written, inputs, precision or "fp32") for inputs in compared_inputs(net, written)]
            except UserError as error:
                failed, runner, lines = True, "", [f"FAILED: {error}"]
            else:
                runner = written.runner
            taken = time.process_time() - began
            print(f"| {name} | {kind} | {runner} | {'<br>'.join(lines)} | {taken:.0f} s |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
