"""The JSON schema of the option files: as generated, true of every option file, and not of broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vqcnir_arch.options import read_options
from vqcnir_arch.options.json_schema import json_schema

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "options/schema.json"
TRAIN = ROOT / "options/vqcnir/train_vqcnir_lolblur.yml"
ADACODE = ROOT / "options/adacode/train_adacode_x2.yml"


def test_the_file_is_the_generated_one():
    assert FILE.read_text(encoding="utf-8") == json_schema(), (
        "python -m vqcnir_arch.options.json_schema > options/schema.json"
    )


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def findings(validator, content):
    return ["/".join(map(str, error.absolute_path)) for error in validator.iter_errors(content)]


def test_every_option_file_fits(validator):
    files = sorted((ROOT / "options").rglob("*.yml"))
    assert len(files) > 90
    found = {path.relative_to(ROOT).as_posix(): findings(validator, read_options(path)) for path in files}
    assert {path: places for path, places in found.items() if places} == {}


@pytest.mark.parametrize(
    ("keys", "value", "place"),
    [
        ("trian", {}, ""),
        ("train: total_itr", 3, "train"),
        ("train: total_iter", "many", "train/total_iter"),
        ("train: amp", "fp8", "train/amp"),
        ("train: pixel_opt: loss_wieght", 1.0, "train/pixel_opt"),
        ("train: pixel_opt: loss_weight", "heavy", "train/pixel_opt/loss_weight"),
        ("train: alignment_opt: type", None, "train/alignment_opt/type"),
        ("train: scheduler: gama", 0.5, "train/scheduler"),
        ("train: optim_g: lr", "fast", "train/optim_g/lr"),
        ("network_g: codebok_size", 1024, "network_g"),
        ("network_g: codebook_size", "big", "network_g/codebook_size"),
        ("network_g: quantizer", {"type": "SinCA", "num_haeds": 8}, "network_g/quantizer"),
        ("network_g: quantizer", {"type": "SinCA", "num_heads": "all"}, "network_g/quantizer/num_heads"),
        ("network_g: enhancer", {"type": "AIEM", "dpeth": 12}, "network_g/enhancer"),
        ("network_d", {"type": "UNetDiscriminatorSN", "num_feats": 3}, "network_d"),
        ("datasets: tset", {"type": "LOLBlurDataset"}, "datasets"),
        ("datasets: train: gt_sise", 256, "datasets/train"),
        ("datasets: train: gt_size", 0, "datasets/train/gt_size"),
        ("val: svae_img", True, "val"),
        ("val: metrics: psnr", {"crop_border": 0}, "val/metrics/psnr"),
        ("path: pretrain_netwok_g", None, "path"),
        ("logger: print_freq", 0, "logger/print_freq"),
    ],
)
def test_a_mistake_is_found_where_it_is(validator, keys, value, place):
    content = read_options(TRAIN)
    *sections, last = keys.split(": ")
    block = content
    for key in sections:
        block = block[key]
    block[last] = value
    nested = [error for each in validator.iter_errors(content) for error in (each, *innermost(each))]
    assert place in ["/".join(map(str, error.absolute_path)) for error in nested]


def innermost(error):
    """The findings inside one on a block that may be null or of several types."""
    for inner in error.context:
        yield inner
        yield from innermost(inner)


def test_what_is_not_wrong(validator):
    content = read_options(TRAIN)
    content["network_identity"] = {"type": "SomebodysNetwork", "width": 7}
    content["train"]["identity_opt"] = {"type": "SomebodysLoss", "loss_weight": "strong"}
    content["datasets"]["val_more"] = {"type": "PairedImageDataset", "whatever": 1}
    content["network_g"]["fusion"] = {"type": ["DBCA", "none"]}
    content["network_g"]["quantizer"] = {"type": "SinCA", "num_heads": 8}
    content["train"]["gan_opt"] = None
    assert findings(validator, content) == []
    content = read_options(ADACODE)
    content["network_g"]["quantizer"] = {"type": "SinCA", "num_layers": [5, 4, 3, 4, 4]}
    assert findings(validator, content) == []


def test_an_editor_shows_what_an_option_is(validator):
    schema = validator.schema
    assert schema["$defs"]["TrainSection"]["properties"]["total_iter"]["description"] == "iterations to train"
    offered = schema["$defs"]["network"]["properties"]["type"]["anyOf"][0]["enum"]
    assert {"VQCNIR", "FeMaSR", "AdaCode", "UNetDiscriminatorSN"} <= set(offered)
