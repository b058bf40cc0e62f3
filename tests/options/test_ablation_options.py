"""The option files of every ablation: as the base says, accepted by the check, of the sizes that the docs name."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from network_facts import count

from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.options.check import check_options
from vqcnir_arch.options.read import read_options

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "options" / "vqcnir" / "ablations"
FILES = sorted(FOLDER.glob("*.yml"))
BILINEAR_PRIOR = read_options(ROOT / "options/prior/train_prior_bilinear.yml")

PARAMETERS = {
    "enhancer_nafblock": 26_721_790,
    "enhancer_resblock": 35_277_310,
    "enhancer_swinblock": 30_614_110,
    "fusion_add": 42_372_947,
    "fusion_concat": 42_676_755,
    "fusion_cross_attention": 42_833_246,
    "fusion_none": 41_425_427,
    "fusion_skff": 42_429_783,
    "printed_attention": 47_854_211,
    "printed_offset": 51_802_446,
    "printed_upsample": 47_854_222,
    "printed_upsample_d_and_g": 47_854_222,
    "quantizer_code_prediction": 77_393_360,
    "quantizer_code_prediction_self_attention": 77_393_360,
    "quantizer_cross_attention": 76_869_072,
    "quantizer_self_attention": 76_869_072,
    "quantizer_sinca": 76_869_072,
    "quantizer_vr": 48_643_214,
    "quantizer_vr_feature_alone": 48_643_214,
    "quantizer_vr_softmax": 48_643_214,
    "setting1_d": 15_690_951,
    "setting2_d_dbca": 21_115_390,
}


def read(path: Path) -> dict:
    return check_options(read_options(path), is_train=True)


def network_options(options: dict) -> dict:
    ignored = ("type", "prior", "freeze_prior")
    return {key: copy.deepcopy(value) for key, value in options["network_g"].items() if key not in ignored}


def test_vqgan_is_tested_as_vqcnir():
    """Row "VQGAN" of VQCNIR's table 3: the same images and metrics, the network of stage I."""
    vqgan, vqcnir = (
        check_options(read_options(ROOT / f"options/vqcnir/test_{name}_lolblur.yml"), is_train=False)
        for name in ("vqgan", "vqcnir")
    )
    prior = read_options(ROOT / "options/prior/train_prior.yml")
    assert vqgan["datasets"] == vqcnir["datasets"] and vqgan["val"] == vqcnir["val"]
    network = vqgan["network_g"]
    assert network["type"] == prior["network_g"]["type"] == "VQGANPrior"
    assert all(
        prior["network_g"][key] == network[key] for key in ("channels", "codebook_size", "code_dim", "semantic_dim")
    )
    assert vqgan["path"]["pretrain_network_g"] == f"experiments/{prior['name']}/models/net_g_latest.pth"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_differs_from_the_base_in_its_row_alone(path):
    base, options = read(ROOT / "options/vqcnir/train_vqcnir_lolblur.yml"), read(path)
    if path.stem == "printed_upsample_d_and_g":  # starts from a prior of its own
        assert options["network_g"]["prior"] == f"experiments/{BILINEAR_PRIOR['name']}/models/net_g_latest.pth"
        for block, key in (("network_g", "prior"), ("path", "pretrain_network_d")):
            options[block][key] = options[block][key].replace("_bilinear", "")
    if path.stem == "quantizer_vr_feature_alone":
        assert "alignment_opt" not in options["train"]
        base["train"].pop("alignment_opt")
    for row in (base, options):
        for block in ("quantizer", "enhancer", "fusion", "upsample", "generator_upsample"):
            row["network_g"].pop(block, None)
        for loss in ("matching_opt", "token_opt"):
            row["train"].pop(loss, None)
        row.pop("name")
    assert options == base


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_parameters(path):
    with torch.device("meta"):
        assert count(VQCNIR(**network_options(read(path))).parameters()) == PARAMETERS[path.stem]


def test_documented_sizes_are_those_of_the_networks(load_script):
    """The supplement compares the enhancers in one table; at equal depth they are not of equal size."""
    page = (ROOT / "docs/ablations.md").read_text(encoding="utf-8")
    script = load_script("ablation_sizes")
    enhancers, networks = script.enhancers(), script.networks()
    assert enhancers in page and networks in page, "python scripts/ablation_sizes.py prints the tables"
    sizes = dict(re.findall(r"^\| (\w+) \| ([\d,]+) \|", enhancers, re.MULTILINE))
    assert sizes == {
        "AIEM": "26,738,832",
        "ResBlock": "14,161,920",
        "NAFBlock": "5,606,400",
        "SwinBlock": "9,498,720",
    }
    with torch.device("meta"):  # at the depths that the table names they are as large as AIEM within 5 %
        for kind, depth in re.findall(r"^\| (\w+) \|.*\| (\d+) \| [-+\d.]+ % \|$", enhancers, re.MULTILINE):
            net = VQCNIR(enhancer={"type": kind, "depth": int(depth)})
            assert count(net.enhancer.parameters()) == pytest.approx(26_738_832, rel=0.05)
