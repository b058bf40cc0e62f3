"""Without BasicSR, which newer Pythons lack: all but training and testing works, and those say what they need."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from basicsr.data.degradations import bivariate_generalized_Gaussian
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils import img2tensor, tensor2img
from conftest import TINY_OPTIONS
from test_import import python

from vqcnir_arch.data.files import to_image, to_tensor
from vqcnir_arch.data.night_blur.recipe import DefocusDraws, defocus_kernel
from vqcnir_arch.metrics.quality import psnr, ssim

WITHOUT = """
import contextlib, io, json, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "basicsr":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
def call(*arguments):
    sys.argv = ["vqcnir", *map(str, arguments)]
    status = 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()
"""


def test_what_needs_none_works_and_the_rest_says_so(make_tiny, tmp_path, seeded):
    checkpoint, folder = tmp_path / "net.pth", tmp_path / "night"
    torch.save({"params": make_tiny("VQCNIR").state_dict()}, checkpoint)
    folder.mkdir()
    cv2.imwrite(f"{folder}/a.png", np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8))
    (tmp_path / "options.yml").write_text("name: any\n")
    code = f"""{WITHOUT}
from pathlib import Path
from vqcnir_arch.cli import main
from vqcnir_arch.archs.loading import own_networks
from vqcnir_arch.registry import ARCH_REGISTRY, LOSS_REGISTRY, build
options = {TINY_OPTIONS!r}
assert {{cls.__name__ for cls in own_networks()}} >= options.keys()
for name, network in options.items():
    build(ARCH_REGISTRY, {{"type": name, **network}})
assert "SSIMLoss" in LOSS_REGISTRY and "RRDBNet" not in ARCH_REGISTRY
place = {str(tmp_path)!r}
def measured():
    from vqcnir_arch.data.files import read_image
    from vqcnir_arch.errors import UserError
    from vqcnir_arch.evaluation.columns import host_function, versions
    from vqcnir_arch.evaluation.protocols import NIQE, PROTOCOLS, PSNR
    images = [read_image(Path(place, folder, "a.png")) for folder in ("out", "night")]
    value = host_function(PSNR, PROTOCOLS["lolblur"])(*images)
    try:
        host_function(NIQE, PROTOCOLS["lolblur"])
    except UserError as error:
        return value, str(error), versions()
print(json.dumps([
    call("restore", f"{{place}}/night", "-w", f"{{place}}/net.pth", "-o", f"{{place}}/out", "--quiet"),
    call("convert", f"{{place}}/net.pth", f"{{place}}/net.safetensors"),
    call("inspect", f"{{place}}/net.safetensors"),
    call("train", "-opt", f"{{place}}/options.yml"),
    call("inspect", f"{{place}}/options.yml"),
    measured(),
]))
"""
    restored, converted, inspected, trained, read, measured = json.loads(python(code).stdout.splitlines()[-1])
    assert restored[0] == converted[0] == inspected[0] == 0
    result, truth = cv2.imread(f"{tmp_path}/out/a.png"), cv2.imread(f"{folder}/a.png")
    assert measured[0] == pytest.approx(calculate_psnr(result, truth, crop_border=0), abs=1e-9)
    assert measured[1].startswith("calculate_niqe is BasicSR's: this needs BasicSR 1.4.2, which ")
    assert measured[2]["basicsr"]
    for status, _, errors in (trained, read):
        assert status == 2
        assert errors.startswith("vqcnir: error: this needs BasicSR 1.4.2, which ")
        assert errors.count("\n") == 1


def test_quality_is_basicsrs():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (40, 37, 3), np.uint8)
    result = np.clip(truth + rng.normal(0, 20, truth.shape), 0, 255).astype(np.uint8)
    for options in ({"crop_border": 0}, {"crop_border": 4}, {"crop_border": 0, "test_y_channel": True}):
        assert abs(psnr(result, truth, **options) - calculate_psnr(result, truth, **options)) < 1e-9
        assert abs(ssim(result, truth, **options) - calculate_ssim(result, truth, **options)) < 1e-9
    assert psnr(truth, truth) == np.inf


def test_images_and_tensors_are_basicsrs():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert torch.equal(to_tensor(image), img2tensor(image.astype(np.float32) / 255))
    tensor = 1.4 * torch.rand(3, 5, 7) - 0.2
    np.testing.assert_array_equal(to_image(tensor), tensor2img([tensor[None]]))


def test_defocus_is_basicsrs_kernel():
    draws = DefocusDraws(size=9, sigma=(2.3, 0.7), angle=0.9, beta=1.7)
    expected = bivariate_generalized_Gaussian(9, 2.3, 0.7, 0.9, 1.7, isotropic=False)
    np.testing.assert_array_equal(defocus_kernel(draws), expected)
