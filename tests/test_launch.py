"""Whole runs on a CPU through the launchers, BasicSR's own SRModel, and everything that must end in one line."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import cv2
import pytest
import torch
import yaml
from conftest import SMALL_PUBLISHED_OPTIONS, TINY_OPTIONS, write_night_pairs

import vqcnir_arch
from vqcnir_arch import UserError, load_network
from vqcnir_arch.archs import VQCNIR, VQGANPrior
from vqcnir_arch.cli import dispatch
from vqcnir_arch.launch import exit_with_one_line, run

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")

FRAMES = [(video, frame) for video in ("0000", "0001") for frame in ("0030", "0031")]
PSNR = {"type": "calculate_psnr", "crop_border": 0, "better": "higher"}


@pytest.fixture(scope="session")
def night_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("night")
    write_night_pairs(root, "train")
    write_night_pairs(root, "test")
    return root


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory, small_published_state):
    """Files of a prior and of restoration networks, sound and broken."""
    root = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(3)
    prior = VQGANPrior(**copy.deepcopy(TINY_OPTIONS["VQGANPrior"]))
    torch.save({"params": prior.state_dict()}, root / "prior.pth")
    other = VQGANPrior(**{**copy.deepcopy(TINY_OPTIONS["VQGANPrior"]), "codebook_size": 16})
    torch.save({"params": other.state_dict()}, root / "small_prior.pth")
    torch.save({"params": VQCNIR(**copy.deepcopy(TINY_OPTIONS["VQCNIR"])).state_dict()}, root / "vqcnir.pth")
    torch.save({"params": small_published_state}, root / "published.pth")
    torch.save({"params": torch.nn.Linear(2, 2).state_dict()}, root / "linear.pth")
    (root / "truncated.pth").write_bytes((root / "prior.pth").read_bytes()[:-500])
    (root / "text.pth").write_text("not a checkpoint")
    return root


@pytest.fixture
def place(tmp_path, monkeypatch, night_folder, checkpoints):
    """The current folder, with data and checkpoints in it."""
    shutil.copytree(night_folder, tmp_path / "night")
    (tmp_path / "weights").symlink_to(checkpoints)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def training_set(**more):
    return {
        "name": "pairs", "type": "LOLBlurDataset", "dataroot": "night", "split": "train", "gt_size": 32,
        "num_worker_per_gpu": 0, "batch_size_per_gpu": 2, **more,
    }  # fmt: skip


def validation_set(**more):
    return {"name": "held_out", "type": "LOLBlurDataset", "dataroot": "night", "split": "test", **more}


def options(model, network, datasets, **sections):
    return {
        "name": "tiny", "model_type": model, "scale": 1, "num_gpu": 0, "manual_seed": 0,
        "datasets": datasets, "network_g": network, "path": {"pretrain_network_g": None}, **sections,
    }  # fmt: skip


def training(**losses):
    return {
        "train": {
            "total_iter": 2,
            "optim_g": {"type": "Adam", "lr": 1.0e-3, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [2], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            **losses,
        },
        "val": {"val_freq": 2, "save_img": True, "metrics": {"psnr": dict(PSNR)}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2, "use_tb_logger": True},
    }


def prior_options():
    network = {"type": "VQGANPrior", **copy.deepcopy(TINY_OPTIONS["VQGANPrior"])}
    train = {
        "name": "sharp", "type": "SharpImageDataset", "dataroot": "night/train/high_sharp_scaled", "gt_size": 32,
        "num_worker_per_gpu": 0, "batch_size_per_gpu": 2,
    }  # fmt: skip
    val = {"name": "held_out", "type": "SharpImageDataset", "dataroot": "night/test/high_sharp_scaled"}
    sections = training(codebook_opt={"type": "CodebookLoss"})
    return {**options("VQPriorModel", network, {"train": train, "val": val}, **sections), "name": "prior"}


def restoration_options(prior="weights/prior.pth"):
    network = {"type": "VQCNIR", **copy.deepcopy(TINY_OPTIONS["VQCNIR"]), "prior": prior, "freeze_prior": True}
    datasets = {"train": training_set(), "val": validation_set()}
    return options("VQRestorationModel", network, datasets, **training(alignment_opt={"type": "CodeAlignmentLoss"}))


def test_options(checkpoint="weights/vqcnir.pth"):
    network = {"type": "VQCNIR", **copy.deepcopy(TINY_OPTIONS["VQCNIR"])}
    content = options("VQRestorationModel", network, {"test": validation_set()})
    content["path"]["pretrain_network_g"] = checkpoint
    content["val"] = {"save_img": True, "suffix": None, "metrics": {"psnr": dict(PSNR)}}
    return content


test_options.__test__ = False


def written(content, path="options.yml"):
    with open(path, "w") as file:
        yaml.safe_dump(content, file, sort_keys=False)
    return ["-opt", path]


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# whole runs


def test_both_stages_and_a_test(place, capsys):
    run("train", written(prior_options()))
    run("train", written(restoration_options("experiments/prior/models/net_g_latest.pth")))
    run("test", written(test_options("experiments/tiny/models/net_g_latest.pth")))
    log = capsys.readouterr().err
    assert "codebook_usage" in log and "perplexity" in log and "VQCNIR: what trains" in log

    prior = load_network("experiments/prior/models/net_g_2.pth")
    restored = load_network("experiments/tiny/models/net_g_latest.pth")
    assert type(prior).__name__ == "VQGANPrior" and type(restored).__name__ == "VQCNIR"
    assert torch.equal(prior.quantizer.codebook, restored.quantizer.codebook)
    assert not torch.equal(prior.encoder.in_conv.weight, restored.encoder.in_conv.weight)

    found = files_below(place / "experiments/tiny")
    for name in ("models/net_g_2.pth", "models/net_g_latest.pth", "training_states/2.state", "options.yml"):
        assert name in found
    for video, frame in FRAMES:
        assert f"visualization/held_out/{video}/{frame}/{frame}_2.png" in found
    for name in ("prior", "tiny"):
        assert list((place / "tb_logger" / name).glob("events.out.tfevents.*"))
    assert [path.name for path in (place / "experiments/tiny").glob("train_tiny_*.log")]

    for video, frame in FRAMES:
        lq = cv2.imread(f"night/test/low_blur_noise/{video}/{frame}.png")
        with torch.no_grad():
            output = restored(torch.from_numpy(lq[..., ::-1].copy()).permute(2, 0, 1).float().div(255)[None])[0]
        expected = output.clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()[..., ::-1]
        assert abs(cv2.imread(f"results/tiny/visualization/held_out/{video}/{frame}.png") - expected).max() <= 1


def test_root(place):
    content = restoration_options()
    content["logger"]["use_tb_logger"] = False
    del content["val"]
    (place / "elsewhere").mkdir()
    run("train", [*written(content), "--root", "elsewhere"])
    assert (place / "elsewhere/experiments/tiny/models/net_g_latest.pth").is_file()
    run("test", ["--root", str(place / "elsewhere"), *written(test_options())])
    assert (place / "elsewhere/results/tiny/visualization/held_out/0001/0030.png").is_file()
    assert not (place / "experiments").exists() and not (place / "results").exists()


def launch(module, *arguments, cwd):
    """A true process, with this checkout's package."""
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(vqcnir_arch.__file__))}
    command = [sys.executable, *module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)


def test_real_process(place):
    """Two loader processes: one run that works, and one that meets an image that cannot be read."""
    content = restoration_options()
    content["train"]["total_iter"] = 1
    content["datasets"]["train"]["num_worker_per_gpu"] = 2
    del content["val"]
    arguments = written(content)
    done = launch(["-m", "vqcnir_arch.train"], *arguments, cwd=place)
    assert done.returncode == 0, done.stderr
    assert type(load_network("experiments/tiny/models/net_g_latest.pth")).__name__ == "VQCNIR"

    content["train"]["total_iter"] = 8
    content["datasets"]["train"]["dataset_enlarge_ratio"] = 4
    broken = place / "night/train/low_blur_noise/0001/0030.png"
    broken.write_bytes(broken.read_bytes()[:60])
    done = launch(["-m", "vqcnir_arch.train"], *written(content), cwd=place)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("vqcnir: error: ")] == [
        "vqcnir: error: image 'night/train/low_blur_noise/0001/0030.png' cannot be read: "
        "truncated or not an image (60 bytes)"
    ]
    # the earlier run was put aside, not overwritten
    assert len(list((place / "experiments").glob("tiny_archived_*/models/net_g_latest.pth"))) == 1


def test_three_lines_train_a_network_of_ours_with_basicsrs_model(place):
    """BasicSR's SRModel and data set, from a published file, strictly."""
    train = {
        "name": "pairs", "type": "PairedImageDataset", "dataroot_lq": "night/train/low_blur_noise/0000",
        "dataroot_gt": "night/train/high_sharp_scaled/0000", "io_backend": {"type": "disk"}, "gt_size": 32,
        "use_hflip": True, "use_rot": True, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2, "use_shuffle": True,
        "dataset_enlarge_ratio": 4,
    }  # fmt: skip
    val = {**train, "name": "held_out", "dataroot_lq": "night/test/low_blur_noise/0001",
           "dataroot_gt": "night/test/high_sharp_scaled/0001"}  # fmt: skip
    network = {"type": "VQCNIR", **copy.deepcopy(SMALL_PUBLISHED_OPTIONS)}
    content = options("SRModel", network, {"train": train, "val": val}, **training())
    content["path"] = {"pretrain_network_g": "weights/published.pth", "strict_load_g": True}
    content["train"]["ema_decay"] = 0.5
    script = "import vqcnir_arch\nfrom basicsr.train import train_pipeline\ntrain_pipeline('.')"  # what a user writes
    done = launch(["-c", script], *written(content), cwd=place)
    assert done.returncode == 0, done.stderr
    assert "# psnr:" in done.stderr
    assert (place / "experiments/tiny/visualization/0030/0030_2.png").is_file()

    published = load_network("weights/published.pth")
    trained = load_network("experiments/tiny/models/net_g_latest.pth")
    assert trained.options == {**published.options, "padding": "exact"}
    assert torch.equal(trained.quantizer.codebook, published.quantizer.codebook)
    difference = (trained.encoder.in_conv.weight - published.encoder.in_conv.weight).abs().max()
    assert 0 < difference < 0.01  # two steps away, and so really started from it


def test_basicsrs_model_through_our_launcher(place):
    network = {"type": "VQCNIR", **copy.deepcopy(TINY_OPTIONS["VQCNIR"])}
    content = options("SRModel", network, {"train": training_set(), "val": validation_set(every_nth=3)}, **training())
    content["logger"]["use_tb_logger"] = False
    run("train", written(content))
    assert load_network("experiments/tiny/models/net_g_latest.pth").options["codebook_size"] == 32


def test_numbers_that_yaml_leaves_as_strings(place):
    content = restoration_options()
    content["logger"]["use_tb_logger"] = False
    del content["val"]
    arguments = written(content)
    text = (place / "options.yml").read_text()
    assert "lr: 0.001" in text
    (place / "options.yml").write_text(text.replace("lr: 0.001", "lr: 1e-4"))
    run("train", arguments)
    state = torch.load("experiments/tiny/training_states/2.state", weights_only=True)
    assert state["optimizers"][0]["param_groups"][0]["initial_lr"] == 1e-4


def test_force_yml(place):
    content = restoration_options()
    content["logger"]["use_tb_logger"] = False
    content["network_g"]["prior"] = None
    del content["val"], content["network_g"]["freeze_prior"], content["train"]["alignment_opt"]
    forced = ["train:total_iter=1", "train:optim_g:lr=1e-5", "name=forced", "manual_seed=0"]
    for name, seed in (("a", 0), ("b", 1), ("c", 1)):
        run("train", [*written(content), "--force_yml", *forced[:2], f"name={name}", f"manual_seed={seed}"])
    a, b, c = (load_network(f"experiments/{name}/models/net_g_latest.pth") for name in "abc")
    # BasicSR seeds before it reads --force_yml: the launcher must not
    assert torch.equal(b.encoder.in_conv.weight, c.encoder.in_conv.weight)
    assert not torch.equal(a.encoder.in_conv.weight, b.encoder.in_conv.weight)
    content.update(name="d", manual_seed=1)
    content["train"].update(total_iter=1)
    content["train"]["optim_g"]["lr"] = 1e-5
    run("train", written(content))
    d = load_network("experiments/d/models/net_g_latest.pth")
    assert torch.equal(b.encoder.in_conv.weight, d.encoder.in_conv.weight)


def test_auto_resume(place, capsys):
    content = restoration_options()
    content["logger"].update(use_tb_logger=False, save_checkpoint_freq=1)
    del content["val"]
    run("train", [*written(content), "--root", "runs"])
    content["train"]["total_iter"] = 3
    capsys.readouterr()
    run("train", [*written(content), "--root", "runs", "--auto_resume"])
    assert "Resuming training from epoch: 0, iter: 2" in capsys.readouterr().err.replace("epoch: 1", "epoch: 0")
    assert [path.name for path in (place / "runs/experiments").iterdir()] == ["tiny"]
    names = files_below(place / "runs/experiments/tiny/training_states")
    assert names == ["1.state", "2.state", "3.state"]
    state = torch.load(place / "runs/experiments/tiny/training_states/3.state", weights_only=True)
    assert state["optimizers"][0]["state"][0]["step"].item() == 3

    run("train", [*written({**content, "name": "new"}), "--root", "runs", "--auto_resume"])  # nothing to resume: start
    assert (place / "runs/experiments/new/models/net_g_latest.pth").is_file()


# bad input


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
        "is not a checkpoint of VQCNIR, VQGANPrior",
    ),
    "truncated prior": (set_to("weights/truncated.pth", "network_g", "prior"), "it is truncated or not a checkpoint"),
    "prior is text": (set_to("weights/text.pth", "network_g", "prior"), "'weights/text.pth' is not a file of tensors"),
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
        set_to("weights/truncated.pth", "path", "pretrain_network_g"), "it is truncated or not a checkpoint"
    ),
    "checkpoint is text": (
        set_to("weights/text.pth", "path", "pretrain_network_g"), "'weights/text.pth' is not a file of tensors"
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
        set_to("weights/text.pth", "path", "resume_state"), "weights/text.pth' is not a file of tensors"
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
        content = test_options()
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
    dispatch(["test", *written(test_options())])
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


def test_several_findings_are_several_lines(capsys):
    def bad():
        raise UserError("first\nsecond")

    assert refused(bad, capsys).lines == ["vqcnir: error: first", "vqcnir: error: second"]
