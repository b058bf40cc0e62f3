"""`vqcnir inspect`, what cannot be checked, and the generated option reference."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch
from vqcnir_arch.inspection.cost import fakes, multiply_adds, saved_for_backward, state_share, step_memory
from vqcnir_arch.inspection.experiments import inspect_options
from vqcnir_arch.options.reference import reference

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"channels": [16, 16, 32, 32], "norm_groups": 8, "codebook_size": 32, "code_dim": 16}
STAGE_2 = ROOT / "options/vqcnir/train_vqcnir_lolblur.yml"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing of what the option files name is here
    return tmp_path


def test_paper_scale_option_file(elsewhere):
    report = inspect_options(str(STAGE_2))
    assert report.parameters == 47_854_222 and report.trainable == 42_087_435
    assert report.parts["generator"] == (0, 4_060_864) and report.parts["quantizer"] == (0, 524_288)
    assert report.discriminator == ("UNetDiscriminatorSN", 4_376_897)
    assert report.gmacs == {256: pytest.approx(689.1 / 4, abs=0.1), 512: pytest.approx(689.1, abs=0.1)}
    memory, trains = report.memory, 4 * (42_087_435 + 4_376_897)
    assert memory.gradients == trains and memory.optimiser == 2 * trains
    prior = 12_176_707  # the teacher; the discriminator's buffers are small
    assert memory.weights == pytest.approx(4 * (47_854_222 + prior + 4_376_897), rel=1e-3)
    assert memory.total == memory.weights + 3 * trains + memory.activations
    assert len(report.findings) == 5  # both data sets, prior, discriminator and VGG19: all in one report
    for place in ("datasets: train: ", "datasets: val: ", "network_g: checkpoint 'experiments/", "path: pretrain_netw"):
        assert any(finding.startswith(place) and "does not exist" in finding for finding in report.findings)
    assert "memory without train: perceptual_opt, which cannot be built" in report.notes


def test_findings_come_last_and_end_the_command(elsewhere, capsys):
    for name, file in (("two", STAGE_2), ("one", ROOT / "options/prior/train_prior.yml")):
        content = yaml.safe_load(file.read_text())
        content["name"] = name
        content["network_g"].update(SMALL)
        content["network_g"].pop("prior", None)
        Path(f"{name}.yml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="does not exist") as caught:
        dispatch(["inspect", "two.yml", "one.yml", "missing.pth"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("| experiment | network | parameters |")
    assert [line.split(" | ")[:2] for line in printed[2:]] == [["| two", "-"], ["| one", "VQGANPrior"]]
    assert len({line.count("|") for line in printed}) == 1
    found = str(caught.value).splitlines()
    assert any(line.startswith("two.yml: train: alignment_opt needs the ground truth's codes") for line in found)
    assert any(line.startswith("one.yml: datasets: train: ") for line in found)
    assert any(line.startswith("checkpoint 'missing.pth' does not exist") for line in found)


def test_findings_of_check_and_preflight_together(elsewhere):
    """A misspelt option does not hide a missing folder; what it belongs to is neither built nor counted."""
    content = yaml.safe_load(STAGE_2.read_text())
    content["network_g"]["codebok_size"] = 3
    content["train"]["optim_g"]["lr"] = -1.0
    Path("broken.yml").write_text(yaml.safe_dump(content))
    report = inspect_options("broken.yml")
    assert report.parts == {} and report.memory is None
    assert report.findings[0] == "network_g (VQCNIR): unknown option 'codebok_size' (did you mean 'codebook_size'?)"
    assert any(finding.startswith("datasets: train: ") for finding in report.findings)
    assert "train: optim_g: ValueError: Invalid learning rate: -1.0" in report.findings
    assert sum(finding.startswith("network_g") for finding in report.findings) == 1


@pytest.mark.parametrize(("kind", "share"), [("Adam", 2), ("SGD", 0), ("AdamW", 2), ("Adagrad", 1)])
def test_numbers_that_an_optimiser_keeps(kind, share):
    assert state_share("optim_g", {"type": kind, "lr": 0.1}) == share


def test_checkpoints(elsewhere, make_tiny, small_published, capsys, monkeypatch):
    prior = make_tiny("VQGANPrior").state_dict()
    torch.save({"params": prior, "params_ema": prior}, "prior.pth")
    torch.save(prior, "bare.pth")
    dead = {"vgg_feat_extractor.y.weight": torch.zeros(2, 2)}
    torch.save({"params": {**small_published.state, **dead}}, "published.pth")
    read = []
    monkeypatch.setattr(
        torch, "load", lambda path, *a, load=torch.load, **k: (read.append(str(path.name)), load(path, **k))[1]
    )
    dispatch(["inspect", "prior.pth", "bare.pth", "published.pth"])
    assert read == ["prior.pth", "bare.pth", "published.pth"]  # each once
    printed = capsys.readouterr().out
    assert "prior.pth: VQGANPrior (prior, stage I)" in printed and "ours, with its options" in printed
    assert "in params and params_ema (params_ema is read)" in printed and "bare, without a wrapper" in printed
    assert "published.pth: VQCNIR (restoration network, stage II)" in printed and "published layout" in printed
    assert "dropped 1 dead tensors vgg_feat_extractor.* (4 numbers)" in printed and printed.count("dropped") == 1


def test_training_state(elsewhere, capsys):
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    state = {"epoch": 3, "iter": 5000, "optimizers": [optimizer.state_dict()], "schedulers": []}
    torch.save(state, "5000.state")
    torch.save({**state, "vqcnir": {"networks": ["net_g", "net_d"]}}, "ours.state")
    dispatch(["inspect", "5000.state", "ours.state"])
    printed = capsys.readouterr().out
    assert "5000.state: training state, iteration 5,000, epoch 3\n  BasicSR's" in printed
    assert "ours, for an exact resume; of net_g, net_d" in printed and "learning rate 0.0001" in printed


def test_saved_bytes_of_a_known_network():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 2, 1))
    images = torch.rand(2, 3, 8, 8)
    # a convolution keeps its input: the images, and the first one's output
    assert saved_for_backward(lambda: net(images)) == 4 * (2 * 3 * 8 * 8 + 2 * 4 * 8 * 8)


@pytest.mark.parametrize("num_gpu", [0, 1])
def test_memory_grows_with_the_pixels(num_gpu):
    """Attention is fused, on a GPU too: its matrix would hold the square of the positions."""
    network = {"type": "VQCNIR", **SMALL, "quantizer": {"type": "SinCA", "depth": 1}, "enhancer": {"type": "none"}}
    train = {"optim_g": {"type": "Adam", "lr": 1e-4}, "pixel_opt": {"type": "L1Loss"}}
    options = {"num_gpu": num_gpu, "model_type": "VQRestorationModel", "network_g": network, "train": train}
    small, large = (step_memory(options, crop, 1)[0].activations for crop in (256, 512))
    assert large / small == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("tensors", [fakes, nullcontext])
def test_products_of_attention_are_counted(tensors):
    """Whatever kernel torch would choose: queries with keys, and the weights with values."""
    with tensors():
        query, key, value = torch.rand(1, 2, 5, 16), torch.rand(1, 2, 7, 16), torch.rand(1, 2, 7, 16)
        macs = multiply_adds(lambda: F.scaled_dot_product_attention(query, key, value))
    assert macs == 2 * (5 * 7 * 16) * 2


def test_committed_reference_is_the_generated_one():
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == reference()
