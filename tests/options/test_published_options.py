"""Published option files: known as theirs, translated into ours, and what is wrong with them in a line each."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml
from basicsr.models.base_model import BaseModel
from basicsr.utils.registry import MODEL_REGISTRY
from published_files import LIGHTNING, TRAINING, published

from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.options import check_options, read_options
from vqcnir_arch.options.published.engine import HEADINGS, translate
from vqcnir_arch.options.published.projects import PROJECTS
from vqcnir_arch.options.published.reference import reference
from vqcnir_arch.options.published.rules import Gone, Means, Same, Source, Stage, To
from vqcnir_arch.options.read import load_file
from vqcnir_arch.shipped import shipped

OURS = {
    # what the published files become: model, network, data set
    "femasr/train_FeMaSR_HQ_pretrain_stage.yml": ("VQPriorModel", "VQGANPrior", "SharpImageDataset"),
    "femasr/train_FeMaSR_LQ_stage.yml": ("VQRestorationModel", "FeMaSR", "StoredPairsDataset"),
    "adacode/train_AdaCode_HQ_stage1_category.yml": ("VQPriorModel", "VQGANPrior", "SharpImageDataset"),
    "adacode/train_AdaCode_HQ_stage2.yaml": ("VQPriorModel", "AdaCode", "SharpImageDataset"),
    "adacode/train_AdaCode_stage3.yaml": ("VQRestorationModel", "AdaCode", "StoredPairsDataset"),
    "codeformer/VQGAN_512_ds32_nearest_stage1.yml": ("VQPriorModel", "FaceVQGANPrior", "FaceDegradationDataset"),
    "codeformer/CodeFormer_stage2.yml": ("VQRestorationModel", "CodeFormer", "FaceDegradationDataset"),
    "codeformer/CodeFormer_stage3.yml": ("VQRestorationModel", "CodeFormer", "FaceDegradationDataset"),
    "codeformer/CodeFormer_colorization.yml": ("VQRestorationModel", "CodeFormer", "FaceDegradationDataset"),
    "codeformer/CodeFormer_inpainting.yml": ("VQRestorationModel", "CodeFormer", "FaceDegradationDataset"),
    "lednet/train_LEDNet.yml": ("VQRestorationModel", "VQCNIR", "StoredPairsDataset"),
    "lednet/train_LEDNetGAN.yml": ("VQRestorationModel", "VQCNIR", "StoredPairsDataset"),
}
COMPARED = {
    # our own option file of the same stage, which has to say the same of these sections
    "femasr/train_FeMaSR_HQ_pretrain_stage.yml": "femasr/train_femasr_hq.yml",
    "femasr/train_FeMaSR_LQ_stage.yml": "femasr/train_femasr_x4.yml",
    "adacode/train_AdaCode_HQ_stage1_category.yml": "adacode/train_adacode_stage1_portraits.yml",
    "adacode/train_AdaCode_HQ_stage2.yaml": "adacode/train_adacode_stage2.yml",
    "adacode/train_AdaCode_stage3.yaml": "adacode/train_adacode_x2.yml",
    "codeformer/VQGAN_512_ds32_nearest_stage1.yml": "codeformer/train_codeformer_stage1.yml",
    "codeformer/CodeFormer_stage2.yml": "codeformer/train_codeformer_stage2.yml",
    "codeformer/CodeFormer_stage3.yml": "codeformer/train_codeformer_stage3.yml",
}


def convert(source, target="ours.yml"):
    dispatch(["convert", str(source), str(target)])


def refused(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value).splitlines()


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def leaves(block, place=()):
    for key, value in block.items():
        yield from leaves(value, (*place, key)) if isinstance(value, dict) and value else [((*place, key), value)]


# the published files


@pytest.mark.parametrize("name", TRAINING)
def test_translation_passes_the_check(name, tmp_path):
    convert(published(name))
    options = read_options(tmp_path / "ours.yml")
    check_options(options, is_train=True)
    kinds = (options["model_type"], options["network_g"]["type"], options["datasets"]["train"]["type"])
    assert kinds == OURS[name]


@pytest.mark.parametrize("name", TRAINING)
def test_every_key_has_its_line(name, capsys):
    path = published(name)
    convert(path)
    lines = capsys.readouterr().out.splitlines()
    assert {line.removesuffix(":") for line in lines if line.removesuffix(":") in HEADINGS} >= set(HEADINGS[:3])
    for place, _ in leaves(load_file(path)[0]):
        ways = (": ".join(map(str, place[:depth])) for depth in range(1, len(place) + 1))
        assert any(line.startswith(f"  {way}: ") for way in ways for line in lines), place


def comparable(block):
    """A loss, optimiser or schedule without what is a default or has no effect."""
    if not isinstance(block, dict):
        return block
    defaults = {"net": "vgg", "weights": None, "real_label_val": 1.0, "fake_label_val": 0.0, "beta": 0.25}
    defaults |= {"temperature": 0.5, "alignment": "l2"}
    if block.get("gamma") == 1:
        return "constant"
    return {key: value for key, value in block.items() if defaults.get(key, block) != value}


@pytest.mark.parametrize("name", COMPARED)
def test_our_own_file_of_the_stage_says_the_same(name, tmp_path):
    """Written by hand from the papers, translated from the published file: the same training."""
    convert(published(name))
    theirs, ours = read_options(tmp_path / "ours.yml"), read_options(shipped(f"options/{COMPARED[name]}"))
    for key in {*theirs["train"], *ours["train"]} - {"net_d_iters", "net_d_init_iters", "warmup_iter"}:
        assert comparable(theirs["train"].get(key)) == comparable(ours["train"].get(key)), key
    built = {"scale", "channels", "codebook_size", "code_dim", "semantic_dim", "prior_encoder", "freeze_prior", "stage"}
    for key in built & set(theirs["network_g"]):
        assert theirs["network_g"][key] == ours["network_g"][key], key
    for key in ("gt_size", "random_resize", "use_hflip", "use_rot", "setting", "batch_size_per_gpu"):
        of_theirs = theirs["datasets"]["train"].get(key)
        assert of_theirs is None or of_theirs == ours["datasets"]["train"][key], key


@pytest.mark.parametrize("name", TRAINING)
def test_inspect_and_train_name_the_command(name):
    path = published(name)
    for verb in (["inspect"], ["train", "-opt"]):
        (line,) = refused(dispatch, [*verb, str(path)])
        assert f"translate it with vqcnir convert {path} ours.yml" in line


@pytest.mark.parametrize("name", LIGHTNING)
def test_lightning_files_are_refused_with_what_to_do(name, tmp_path):
    path = published(name)
    for verb in (["convert", str(path), "ours.yml"], ["inspect", str(path)], ["train", "-opt", str(path)]):
        (line,) = refused(dispatch, verb)
        assert f"take options/daefr/{LIGHTNING[name]} and" in line
    assert shipped(f"options/daefr/{LIGHTNING[name]}") is not None
    assert not (tmp_path / "ours.yml").exists()


def test_inpainting_and_colourisation_have_their_settings(tmp_path):
    convert(published("codeformer/CodeFormer_inpainting.yml"))
    options = read_options(tmp_path / "ours.yml")
    assert options["datasets"]["train"]["setting"] == "codeformer_inpainting"
    assert options["network_g"]["fusion_sizes"] == [128, 64, 32]
    assert options["network_g"]["w"] == 1.0 and options["train"]["gan_start_iter"] == 296001
    convert(published("codeformer/CodeFormer_colorization.yml"), "colors.yml")
    data = read_options(tmp_path / "colors.yml")["datasets"]["train"]
    assert data["setting"] == "codeformer_colorization" and data["gray_prob"] == 0.01


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"style_weight": 1}, "style_weight: 1 has no counterpart, only 0"),
        ({"layer_weights": {"conv1_2": 1, "conv2_2": 2}}, "layers that weigh differently have no counterpart"),
        ({"criterium": "l1"}, "unknown option 'criterium' (did you mean 'criterion'?)"),
    ],
)
def test_perceptual_losses_that_are_not_ours(change, line):
    content, _ = load_file(published("lednet/train_LEDNet.yml"))
    content["train"]["perceptual_opt"].update(change)
    Path("theirs.yml").write_text(yaml.safe_dump(content))
    (found,) = refused(convert, "theirs.yml")
    assert found.startswith("train: perceptual_opt: ") and found.endswith(line)


def test_keys_that_stand_twice_are_said(capsys):
    convert(published("lednet/train_LEDNet.yml"))
    assert "'prefetch_mode' stands there twice: the last counts" in capsys.readouterr().out


def test_the_page_is_of_the_tables():
    """After a change: python -m vqcnir_arch.options.published.reference > docs/published-options.md"""
    page = Path(__file__).parents[2] / "docs/published-options.md"
    assert page.read_text(encoding="utf-8") == reference()


def test_our_files_of_the_tables_are_there():
    for stage in (stage for project in PROJECTS for stage in project.stages):
        assert shipped(stage.ours) is not None, stage.ours


# bad input, on a file in FeMaSR's form that is written here

LOSS = {"loss_weight": 1.0}
FEMASR = {
    "name": "mine",
    "model_type": "FeMaSRModel",
    "scale": 4,
    "num_gpu": 2,
    "datasets": {
        "train": {
            "name": "pairs", "type": "PairedImageDataset", "dataroot_gt": "hq", "dataroot_lq": "lq", "gt_size": 256,
            "use_resize_crop": True, "use_flip": True, "batch_size_per_gpu": 8, "num_worker_per_gpu": 8,
        }
    },
    "network_g": {
        "type": "FeMaSRNet", "gt_resolution": 256, "norm_type": "gn", "act_type": "silu", "scale_factor": 4,
        "codebook_params": [[32, 1024, 512]], "LQ_stage": True,
        "frozen_module_keywords": ["quantize", "decoder", "after_quant_group", "out_conv"],
    },
    "path": {"pretrain_network_hq": "https://example.org/a/hq.pth", "strict_load": False},
    "train": {
        "optim_g": {"type": "Adam", "lr": 1e-4},
        "scheduler": {"type": "MultiStepLR", "milestones": [5], "gamma": 1},
        "total_iter": 100,
        "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0},
        "codebook_opt": dict(LOSS),
    },
    "val": {"val_freq": 5e3, "save_img": False, "metrics": {"lpips": {"type": "lpips", "better": "lower"}}},
    "logger": {"print_freq": 100, "save_checkpoint_freq": 1e9, "save_latest_freq": 50.0, "use_tb_logger": True},
}  # fmt: skip


def written(changes, path="theirs.yml"):
    """Write the file with changes by place; a value `...` takes the key out."""
    content = copy.deepcopy(FEMASR)
    for place, value in changes.items():
        *sections, last = place.split(": ")
        block = content
        for key in sections:
            block = block[key]
        block[last] = value
        if value is ...:
            del block[last]
    with open(path, "w") as file:
        yaml.safe_dump(content, file)
    return path


def test_what_the_published_code_downloads_is_to_be_put_there(tmp_path, capsys):
    convert(written({}))
    options = read_options(tmp_path / "ours.yml")
    assert options["network_g"]["prior"] == "experiments/pretrained_models/hq.pth"
    assert options["logger"]["save_checkpoint_freq"] == 50 and options["logger"]["keep_last"] == 1
    out = capsys.readouterr().out
    assert re.search(r"pretrain_network_hq: https://\S+ -> network_g: prior: \S+hq\.pth \(nothing is downloaded", out)


STAGE = "FeMaSR's LQ stage that is known here"
HERE = "option file 'theirs.yml'"


@pytest.mark.parametrize(
    ("changes", "starts", "ends"),
    [
        ({"train: pixel_op": LOSS}, f"train: pixel_op: no option of {STAGE}", "(did you mean 'pixel_opt'?)"),
        ({"datasets: train: use_rott": 1}, f"datasets: train: use_rott: no option of {STAGE}", "'use_rot'?)"),
        ({"network_g: norm_type": "bn"}, "network_g: norm_type: bn is not known here: ", "gn"),
        ({"network_g: codebook_params": [1]}, "network_g: codebook_params: [1]: expected one codebook", ""),
        ({"train: codebook_opt": 3}, "train: codebook_opt: 3 is not of the kind that the published files have", ""),
        ({"network_g: gt_resolution": 512}, "network_g: codebook_params: ", "gt_resolution 512 has 32"),
        (
            {"network_g: frozen_module_keywords": ["quantize"]},
            "network_g: frozen_module_keywords: [quantize] is not known here",
            "(frozen as one)",
        ),
        (
            {"val: metrics": {"psnr": {"type": "psnr", "crop_boarder": 4}}},
            "val: metrics: psnr: unknown option 'crop_boarder'",
            "'crop_border'?)",
        ),
        (
            {"model_type": "FeMaSRModle"},
            f"{HERE}: model_type 'FeMaSRModle' is of no project that is known",
            "(did you mean 'FeMaSRModel'?)",
        ),
        ({"network_g: type": "FeMaSRNett"}, f"{HERE}: network_g: type: FeMaSRNett tells no stage", "'FeMaSRNet'?)"),
        ({"network_g: LQ_stage": ...}, f"{HERE}: network_g: LQ_stage: null tells no stage", "(known: false, true)"),
        (
            {"train: optim_g": {"type": "Adamm"}},
            "after the translation: train: optim_g: unknown type 'Adamm'",
            "'Adam'?)",
        ),
        (
            {"datasets: train: datafile_gt": "a.txt"},
            "datasets: train: dataroot_gt: gives datasets: train: dataroot_gt: hq, but ",
            "datafile_gt gave a.txt",
        ),
        (
            {"model_type": "VQRestorationModel"},
            f"{HERE} is not a published one: model_type VQRestorationModel is of this library, but of a published one "
            "stands there still: network_g: type: FeMaSRNet is FeMaSR's",
            "",
        ),
    ],
)
def test_what_has_no_translation(changes, starts, ends, tmp_path):
    (found,) = refused(convert, written(changes))
    assert found.startswith(starts) and found.endswith(ends), found
    assert not (tmp_path / "ours.yml").exists()


def test_pairs_that_are_degraded_in_training(tmp_path):
    changes = {"type": "BSRGANTrainDataset", "dataroot_lq": ..., "io_backend": {"type": "disk"}}
    convert(written({f"datasets: train: {key}": value for key, value in changes.items()}))
    data = read_options(tmp_path / "ours.yml")["datasets"]["train"]
    assert (data["type"], data["pairs"], data["dataroot"]) == ("BSRGANDataset", "online", "hq")


def test_blocks_that_are_off(tmp_path):
    convert(written({"train: gan_opt": None, "path: pretrain_network_g": None, "val: metrics": None}))
    assert read_options(tmp_path / "ours.yml")["train"]["gan_opt"] is None


def test_target_and_ending(tmp_path):
    written({})
    (tmp_path / "there.yml").write_text("")
    assert "exists already" in refused(convert, "theirs.yml", "there.yml")[0]
    assert "did you mean '.yml'" in refused(convert, "theirs.yml", "ours.yl")[0]
    assert "is for checkpoints" in refused(dispatch, ["convert", "theirs.yml", "ours.yml", "--layout", "published"])[0]
    assert (tmp_path / "there.yml").read_text() == ""
    assert not (tmp_path / "ours.yml").exists()


def test_half_translated_file_names_each_thing_that_is_left():
    path = written({"model_type": "VQRestorationModel", "datasets: train: datafile_gt": "a.txt", "num_gpu": 0})
    lines = refused(read_options, path)
    assert lines == [
        "network_g: type: FeMaSRNet is FeMaSR's; here: VQGANPrior for its HQ stage, FeMaSR for LQ "
        "(`vqcnir convert` translates whole files)",
        "path: pretrain_network_hq is a published project's; here: network_g: prior",
        "datasets: train: datafile_gt is a published project's; here: dataroot_gt and dataroot_lq of "
        "StoredPairsDataset, which take lists, too",
        "datasets: train: use_flip is a published project's; here: use_hflip",
        "datasets: train: use_resize_crop is a published project's; here: random_resize of StoredPairsDataset, "
        "SharpImageDataset and BSRGANDataset",
    ]


def test_checkpoint_for_no_network_is_not_swallowed():
    options = read_options(shipped("options/femasr/train_femasr_x4.yml"))
    options["path"]["pretrain_network_hd"] = "x.pth"
    (line,) = refused(check_options, options, True)
    assert line == "path: pretrain_network_hd: there is no network_hd (did you mean 'd'?)"


def test_a_project_that_brings_its_own_model_reads_its_own_file(monkeypatch):
    class FeMaSRModel(BaseModel):
        pass

    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "FeMaSRModel", FeMaSRModel)
    assert read_options(written({}))["network_g"]["type"] == "FeMaSRNet"


def test_precomputed_codes_are_refused_by_name():
    path = published("codeformer/CodeFormer_stage2.yml")
    content, _ = load_file(path)
    content["datasets"]["train"]["latent_gt_path"] = "latent_gt_code1024.pth"
    content["datasets"]["train"]["blur_sigma"] = [1, 12]
    with open("theirs.yml", "w") as file:
        yaml.safe_dump(content, file)
    codes, drawn = sorted(refused(convert, "theirs.yml"), key=lambda line: "use_corrupt" in line)
    assert "'latent_gt_code1024.pth' is laid out otherwise" in codes and "vqcnir data codes" in codes
    assert drawn.endswith("codeformer_stage2 has {blur_sigma: [1, 15]}")


def test_rules_on_a_made_up_table():
    stage = Stage(
        title="Toy",
        ours="",
        when={"kind": ("toy",)},
        rules={
            "name": Same(),
            "datasets: val*: root": To("datasets: val*: dataroot", str.upper),
            "model_type": Means((("A", {"model_type": "B", "scale": 2}),)),
            "logger: *": Gone("no logger"),
        },
        added={"scale": (1, "never, it is set"), "num_gpu": (0, "CPU")},
    )
    source = Source({"name": "n", "model_type": "A", "datasets": {"val_1": {"root": "a"}}, "logger": {"x": 1}})
    found = translate(source, stage)
    assert found.options == {
        "name": "n", "model_type": "B", "scale": 2, "num_gpu": 0, "datasets": {"val_1": {"dataroot": "A"}},
    }  # fmt: skip
    assert found.lines["no counterpart"] == ["logger: x: 1: no logger"]
    assert found.lines["ours to choose"] == ["num_gpu: 0: CPU"]
    assert refused(translate, Source({"naem": "n"}), stage) == [
        "naem: no option of Toy that is known here (did you mean 'name'?)"
    ]
