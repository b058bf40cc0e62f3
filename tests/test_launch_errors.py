"""What a run cannot start or continue with ends in one line for each finding."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from launch_place import (
    files_below,
    options_of_test,
    restoration_options,
    written,
)

import vqcnir_arch
from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch, exit_with_one_line
from vqcnir_arch.launch import run

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")


def refused(function, capsys):
    """The lines with which a command is refused; the exit status is 2 and there is no traceback."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        exit_with_one_line(function)
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert "Traceback" not in out + err
    lines = [line for line in err.splitlines() if line.startswith("vqcnir: error: ")]
    assert lines
    return SimpleNamespace(
        lines=lines, other=[line for line in err.splitlines() if line not in lines] + out.splitlines()
    )


def set_to(value, *keys):
    def change(content, place):
        block = content
        for key in keys[:-1]:
            block = block[key]
        block[keys[-1]] = value

    return change


def move(source, target):
    def change(content, place):
        (place / source).rename(place / target)

    return change


def empty_root(content, place):
    shutil.rmtree(place / "night/train/low_blur_noise")
    (place / "night/train/low_blur_noise/0000").mkdir(parents=True)


def unpaired(content, place):
    for number, frame in enumerate(sorted((place / "night/train/high_sharp_scaled").rglob("*.png"))):
        frame.rename(frame.with_name(f"other{number}.png"))


def needs_vgg(content, place):
    content["train"]["perceptual_opt"] = {"type": "VGG19PerceptualLoss"}


def unknown_gan(content, place):
    content["network_d"] = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
    content["train"].update(gan_opt={"type": "GANLoss", "gan_type": "hing"}, optim_d={"type": "Adam", "lr": 1e-4})


def no_gpu(content, place):
    content["num_gpu"] = torch.cuda.device_count() + 1


BAD_TRAINING = {
    "missing root": (
        set_to("nihgt", "datasets", "train", "dataroot"),
        "dataroot 'nihgt' does not exist (did you mean 'night'?)",
    ),
    "missing split": (move("night/train", "night/tarin"), "split 'night/train' does not exist (did you mean 'tarin'?)"),
    "empty root": (empty_root, "datasets: train: folder 'night/train/low_blur_noise' has no images"),
    "unpaired": (unpaired, "4 without ground truth (0000/0030, 0000/0031, 0001/0030, ...); 4 without input"),
    "missing validation root": (set_to("away", "datasets", "val", "dataroot"), "datasets: val: "),
    "crop larger than image": (set_to(49, "datasets", "train", "gt_size"), "is 64 x 48, smaller than gt_size 49"),
    "batch larger than data": (
        set_to(5, "datasets", "train", "batch_size_per_gpu"),
        "a batch of 5 is larger than the data set (4 samples): no iteration would run",
    ),
    "no batch size": (
        lambda content, place: content["datasets"]["train"].pop("batch_size_per_gpu"), "batch_size_per_gpu is missing"
    ),
    "no worker count": (
        lambda content, place: content["datasets"]["train"].pop("num_worker_per_gpu"), "num_worker_per_gpu is missing"
    ),
    "unknown model": (set_to("VQRestoratonModel", "model_type"), "did you mean 'VQRestorationModel'?"),
    "unknown network": (
        set_to("VQCNRI", "network_g", "type"),
        "network_g: unknown arch type 'VQCNRI' (did you mean 'VQCNIR'?)",
    ),
    "unknown key of the network": (set_to(3, "network_g", "codebok_size"), "(did you mean 'codebook_size'?)"),
    "unknown padding": (
        set_to("mirror", "network_g", "padding"), "network_g: padding 'mirror' is unknown (known: exact, published)"
    ),
    "unknown section": (set_to({}, "datsets"), "unknown option 'datsets' (did you mean 'datasets'?)"),
    "unknown data set": (set_to("LOLBlurDatset", "datasets", "train", "type"), "did you mean 'LOLBlurDataset'?"),
    "unknown loss": (set_to("CodeAlignmentLos", "train", "alignment_opt", "type"), "did you mean 'CodeAlignmentLoss'?"),
    "unknown GAN": (unknown_gan, "train: gan_opt: NotImplementedError: GAN type hing is not implemented"),
    "unknown metric": (set_to("calculate_psrn", "val", "metrics", "psnr", "type"), "did you mean 'calculate_psnr'?"),
    "unknown metric of pyiqa": (
        set_to({"type": "calculate_pyiqa", "metric": "pieq"}, "val", "metrics", "piqe"), "(did you mean 'piqe'?)"
    ),
    "missing prior": (set_to("weights/piror.pth", "network_g", "prior"), "does not exist (did you mean 'prior.pth'?)"),
    "prior of another size": (
        set_to("weights/small_prior.pth", "network_g", "prior"),
        "has other sizes than this network",
    ),
    "prior is a restoration network": (
        set_to("weights/vqcnir.pth", "network_g", "prior"),
        "prior 'weights/vqcnir.pth' is a VQCNIR, expected a VQGANPrior",
    ),
    "prior of something else": (
        set_to("weights/linear.pth", "network_g", "prior"),
        "is not a checkpoint of",
    ),
    "truncated prior": (set_to("weights/truncated.pth", "network_g", "prior"), "is truncated (a zip archive"),
    "prior is text": (set_to("weights/text.pth", "network_g", "prior"), "'weights/text.pth' is a text file"),
    "missing checkpoint": (
        set_to("weights/vqcnri.pth", "path", "pretrain_network_g"),
        "path: pretrain_network_g: checkpoint 'weights/vqcnri.pth' does not exist (did you mean 'vqcnir.pth'?)",
    ),
    "checkpoint of a prior": (
        set_to("weights/prior.pth", "path", "pretrain_network_g"), "does not fit VQCNIR: the file holds a VQGANPrior"
    ),
    "checkpoint of another size": (
        set_to("weights/published.pth", "path", "pretrain_network_g"), "'weights/published.pth' does not fit VQCNIR: "
    ),
    "checkpoint of something else": (
        set_to("weights/linear.pth", "path", "pretrain_network_g"),
        "'weights/linear.pth' does not fit VQCNIR: Missing key",
    ),
    "truncated checkpoint": (
        set_to("weights/truncated.pth", "path", "pretrain_network_g"), "is truncated (a zip archive"
    ),
    "checkpoint is text": (
        set_to("weights/text.pth", "path", "pretrain_network_g"), "'weights/text.pth' is a text file, which begins"
    ),
    "checkpoint is a folder": (
        set_to("weights", "path", "pretrain_network_g"),
        "'weights' is a folder, expected a file",
    ),
    "missing training state": (
        set_to("weights/7.state", "path", "resume_state"),
        "training state 'weights/7.state' does not",
    ),
    "training state is text": (
        set_to("weights/text.pth", "path", "resume_state"), "weights/text.pth' is a text file, which begins"
    ),
    "no such GPU": (no_gpu, "GPUs: use 0 or auto"),
    "no VGG weights": (
        needs_vgg,
        "train: perceptual_opt: VGG19 weights are missing: put torchvision's 'vgg19-dcbb9e9d.pth'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TRAINING)
def test_bad_training(place, capsys, use_hub, case):
    change, expected = BAD_TRAINING[case]
    use_hub(place / "hub")
    content = restoration_options()
    change(content, place)
    arguments = written(content)
    for folder in ("experiments", "tb_logger"):
        (place / folder / "tiny").mkdir(parents=True)
        (place / folder / "tiny/old.txt").write_text("an earlier run")
    before = files_below(place)
    refusal = refused(lambda: run("train", arguments), capsys)
    assert len(refusal.lines) == 1
    assert expected in refusal.lines[0]
    assert refusal.other == []
    assert files_below(place) == before


def test_all_findings_at_once(place, capsys):
    content = restoration_options()
    content["network_g"]["codebok_size"] = 3
    content["train"]["optim_g"]["lr"] = "fast"
    content["val"]["svae_img"] = content["val"].pop("save_img")
    refusal = refused(lambda: run("train", written(content)), capsys)
    text = "\n".join(refusal.lines)
    assert len(refusal.lines) == 4
    for expected in ("codebok_size", "lr", "(did you mean 'save_img'?)", "val: save_img is missing"):
        assert expected in text


def test_unreadable_option_files(place, capsys):
    (place / "broken.yml").write_text("name: [tiny\nscale: 1\n")
    (place / "twice.yml").write_text("name: tiny\nscale: 1\nname: other\n")
    (place / "list.yml").write_text("- name\n")
    (place / "binary.yml").write_bytes(b"\xff\xfe\x00name")
    (place / "empty.yml").write_text("")
    for name, expected in {
        "broken.yml": "option file 'broken.yml', line 2 is not YAML",
        "twice.yml": "option file 'twice.yml', line 3: 'name' stands there twice",
        "list.yml": "option file 'list.yml' holds a list, expected a mapping of options",
        "binary.yml": "option file 'binary.yml'",
        "empty.yml": "option file 'empty.yml' holds a NoneType",
        "brken.yml": "option file 'brken.yml' does not exist (did you mean 'broken.yml'?)",
        "no/where.yml": "there is no folder 'no'",
        "options/demo/train_prior.yml": f"vqcnir brings '{ROOT / 'options/demo/train_prior.yml'}'",
    }.items():
        refusal = refused(lambda name=name: run("train", ["-opt", name]), capsys)
        assert len(refusal.lines) == 1
        assert expected in refusal.lines[0]
        assert refusal.other == []


@pytest.mark.parametrize(
    ("forced", "expected"),
    [
        ("train:total_itr=3", "there is no option 'total_itr' in the file (did you mean 'total_iter'?)"),
        ("trian:total_iter=3", "there is no section 'trian' (did you mean 'train'?)"),
        ("train:total_iter", "expected section:key=value"),
        ("train:total_iter=many", "train: total_iter: "),
        ("network_g:codebook_size=[1", "--force_yml 'network_g:codebook_size=[1'"),
        ("train:total_iter=!!float many", "'!!float many' is not YAML"),
        ("datasets:train:dataroot=[night, nihgt]", "'nihgt' does not exist (did you mean 'night'?)"),
    ],
)
def test_bad_force_yml(place, capsys, forced, expected):
    arguments = [*written(restoration_options()), "--force_yml", forced]
    refusal = refused(lambda: run("train", arguments), capsys)
    assert len(refusal.lines) == 1
    assert expected in refusal.lines[0]


@pytest.mark.parametrize("prefetch", [None, "cpu"])
def test_unreadable_image_found_in_training(place, capsys, prefetch):
    content = restoration_options()
    content["datasets"]["train"].update(prefetch_mode=prefetch, dataset_enlarge_ratio=4)
    content["logger"]["use_tb_logger"] = False
    del content["val"]
    broken = place / "night/train/low_blur_noise/0001/0030.png"
    broken.write_bytes(broken.read_bytes()[:60])
    content["train"]["total_iter"] = 8
    arguments = written(content)
    refusal = refused(lambda: run("train", arguments), capsys)
    assert refusal.lines == [
        "vqcnir: error: image 'night/train/low_blur_noise/0001/0030.png' cannot be read: "
        "truncated or not an image (60 bytes)"
    ]


def test_bad_test(place, capsys):
    (place / "results/tiny").mkdir(parents=True)
    (place / "results/tiny/old.txt").write_text("an earlier run")
    changes = {
        "pretrain_network_g: checkpoint 'weights/vqcnr.pth' does not exist (did you mean 'vqcnir.pth'?)": set_to(
            "weights/vqcnr.pth", "path", "pretrain_network_g"
        ),
        "(did you mean 'high_sharp_scaled'?)": set_to("high_sharp_scald", "datasets", "test", "gt_folder"),
        "val is missing: a test needs at least save_img": lambda content, place: content.pop("val"),
        "datasets: phase 'tset' is unknown": lambda content, place: content["datasets"].update(
            tset=content["datasets"].pop("test")
        ),
        "calculate_psnr needs a ground truth, but data set 'held_out' has none": set_to(
            None, "datasets", "test", "gt_folder"
        ),
    }
    for expected, change in changes.items():
        content = options_of_test()
        change(content, place)
        arguments = written(content)
        before = files_below(place)
        refusal = refused(lambda arguments=arguments: run("test", arguments), capsys)
        assert any(expected in line for line in refusal.lines), refusal.lines
        assert files_below(place) == before


def test_verbs(place, capsys):
    refusal = refused(lambda: dispatch(["trian", "-opt", "x.yml"]), capsys)
    assert refusal.lines == ["vqcnir: error: there is no verb 'trian' (did you mean 'train'?)"]
    refusal = refused(lambda: dispatch(["train", "-opt", "x.yml"]), capsys)
    assert "option file 'x.yml' does not exist" in refusal.lines[0]
    dispatch([])
    dispatch(["--version"])
    out = capsys.readouterr().out
    assert "vqcnir VERB" in out and vqcnir_arch.__version__ in out
    dispatch(["test", *written(options_of_test())])
    assert (place / "results/tiny/visualization/held_out/0000/0031.png").is_file()


def test_our_own_bugs_keep_their_traceback():
    def broken():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        exit_with_one_line(broken)


def test_interrupt(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        exit_with_one_line(interrupted)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "vqcnir: interrupted\n"


def test_a_reader_that_has_read_enough():
    """`vqcnir --help | head -1` ends as other commands do: without a word, with the status of the signal."""
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([sys.executable, "-m", "vqcnir_arch.cli", "--help"], stdout=writes, stderr=subprocess.PIPE)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")


def test_several_findings_are_several_lines(capsys):
    def bad():
        raise UserError("first\nsecond")

    assert refused(bad, capsys).lines == ["vqcnir: error: first", "vqcnir: error: second"]
