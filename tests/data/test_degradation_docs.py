"""The option blocks that docs/degradations.md shows, checked and built."""

import re
from pathlib import Path

import cv2
import pytest
import skimage.data
import yaml
from basicsr.data import build_dataset

from vqcnir_arch.data import face_degradation_dataset as faces
from vqcnir_arch.options.blocks import check_dataset

DOCS = (Path(__file__).parents[2] / "docs/degradations.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: next(iter(block.values()))["name"])
def test_option_block(block, tmp_path):
    ((phase, options),) = block.items()
    options["dataroot"] = str(tmp_path)
    cv2.imwrite(str(tmp_path / "astronaut.png"), skimage.data.astronaut()[..., ::-1])
    findings = []
    check_dataset(findings, options, phase)
    assert not findings
    # what BasicSR adds
    scale = 4 if options["type"] == "BSRGANDataset" else 1
    sample = build_dataset({**options, "phase": phase, "scale": scale})[0]
    side = 256 if (phase, scale) == ("train", 4) else 512
    assert sample["gt"].shape == (3, side, side)
    assert sample["lq"].shape == (3, side // scale, side // scale)


def test_every_setting_is_described():
    assert len(BLOCKS) == 3
    for setting in faces.SETTINGS:
        assert f"`{setting}`" in DOCS
