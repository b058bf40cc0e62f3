"""`vqcnir inspect`, what cannot be checked, and the generated option reference."""

from pathlib import Path

import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY

from vqcnir_arch import UserError
from vqcnir_arch.cli import dispatch
from vqcnir_arch.inspection import inspect_options, saved_for_backward
from vqcnir_arch.options import check_options
from vqcnir_arch.options.reference import reference
from vqcnir_arch.options.unchecked import unchecked_blocks

ROOT = Path(__file__).resolve().parents[1]
STAGE_2 = ROOT / "options/vqcnir/train_vqcnir_lolblur.yml"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing of what the option files name is here
    return tmp_path


def test_paper_scale_option_file(elsewhere):
    report = inspect_options(str(STAGE_2))
    assert report.parameters == 47_854_222 and report.trainable == 42_087_435
    assert report.parts["generator"] == (0, 4_060_864) and report.parts["quantizer"] == (0, 524_288)
    assert report.gmacs == pytest.approx(689.1, abs=0.1)
    assert report.memory_gb > 8 * 42_087_435 * 4 / 1e9
    assert any("dataroot 'datasets/LOLBlur' does not exist" in finding for finding in report.findings)
    assert any("prior 'experiments/" in finding for finding in report.findings)


def test_findings_come_last_and_end_the_command(elsewhere, capsys):
    with pytest.raises(UserError, match="does not exist") as caught:
        dispatch(["inspect", str(STAGE_2), str(ROOT / "options/prior/train_prior.yml")])
    printed = capsys.readouterr().out
    assert "| VQCNIR_LOLBlur | VQCNIR | 47,854,222 | 42,087,435 | 689.1 |" in printed
    assert "| VQGANPrior_DIV2K_Flickr2K | VQGANPrior | 12,439,363 |" in printed
    assert all(line.startswith(str(ROOT / "options")) for line in str(caught.value).splitlines())


def test_broken_option_file_has_no_numbers(elsewhere):
    content = yaml.safe_load(STAGE_2.read_text())
    content["network_g"]["codebok_size"] = 3
    Path("broken.yml").write_text(yaml.safe_dump(content))
    report = inspect_options("broken.yml")
    assert report.parts == {} and report.findings == [
        "network_g (VQCNIR): unknown option 'codebok_size' (did you mean 'codebook_size'?)"
    ]


def test_checkpoints(elsewhere, make_tiny, small_published, capsys):
    torch.save({"params": make_tiny("VQGANPrior").state_dict()}, "prior.pth")
    torch.save({"params": small_published.state}, "published.pth")
    dispatch(["inspect", "prior.pth", "published.pth"])
    printed = capsys.readouterr().out
    assert "prior.pth: VQGANPrior (prior, stage I)" in printed and "ours, with its options" in printed
    assert "published.pth: VQCNIR (restoration network, stage II)" in printed and "published layout" in printed
    with pytest.raises(UserError, match="does not exist"):
        dispatch(["inspect", "missing.pth"])


def test_saved_bytes_of_a_known_network():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 2, 1))
    images = torch.rand(2, 3, 8, 8)
    # a convolution keeps its input: the images, and the first one's output
    assert saved_for_backward(net, images) == 4 * (2 * 3 * 8 * 8 + 2 * 4 * 8 * 8)


def test_what_takes_anything_is_said(monkeypatch):
    class Anything(torch.nn.Module):
        def __init__(self, width=8, **others):
            super().__init__()

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, "Anything", Anything)
    content = yaml.safe_load(STAGE_2.read_text())
    content["network_d"] = {"type": "Anything", "widht": 8}
    content["datasets"]["val"] = {"name": "v", "type": "PairedImageDataset", "whatever": 1}
    notes = unchecked_blocks(check_options(content, is_train=True))
    assert "network_d: Anything takes any option: misspelt ones are not found" in notes
    assert "datasets: val: PairedImageDataset takes any dictionary: its options are not checked" in notes
    assert not any(note.startswith(("network_g", "datasets: train", "train: ")) for note in notes)


def test_committed_reference_is_the_generated_one():
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == reference()
