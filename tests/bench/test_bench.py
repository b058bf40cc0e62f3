"""`vqcnir bench` as a user runs it, on tiny networks."""

from __future__ import annotations

import json
import sys
import warnings

import pytest
import torch
from conftest import TINY_OPTIONS
from model_experiments import moved, snapshot

from vqcnir_arch import UserError
from vqcnir_arch.bench import measure
from vqcnir_arch.bench.rows import run, table
from vqcnir_arch.bench.subjects import PEERS, Case, Unavailable, build_network, training_loss, work_of
from vqcnir_arch.cli import dispatch
from vqcnir_arch.devices import PRECISIONS

CPU = torch.device("cpu")


@pytest.fixture
def weights(make_tiny, tmp_path):
    path = tmp_path / "tiny.pth"
    torch.save({"params": make_tiny("VQCNIR").state_dict()}, path)
    return str(path)


def test_bench(weights, tmp_path, capsys):
    record = tmp_path / "bench.json"
    size = ["--size", "24x40", "--repeats", "3", "--precision", "bf16", "--device", "cpu", "--quiet"]
    dispatch(["bench", "-w", weights, *size, "--json", str(record)])
    printed = capsys.readouterr().out
    rows = json.loads(record.read_text())["rows"]
    assert table(rows) in printed
    reference, ours = rows
    assert "torchvision's operator, published padding" in reference["network"]
    assert (ours["height"], ours["width"], ours["precision"]) == (24, 40, "bf16")
    for row in rows:
        assert len(row["seconds"]) == 3
        assert row["peak_bytes"] > row["bytes_before"] > 1e7  # torch alone takes more
        assert row["gmac_per_second"] > 0
    ratios = [a / b for a, b in zip(reference["seconds"], ours["seconds"], strict=True)]
    assert ours["times_as_fast"] == pytest.approx(ratios)
    assert ours["codes_that_differ"] == 0  # what decides them is in float32
    assert ours["psnr_db"] > 20


def test_training_step_trains(weights):
    net = build_network(weights, CPU)
    case = Case(weights, (16, 16), train=True)
    before = snapshot(net)
    work_of(case, net, measure.night_image(case))()
    changed = moved(net, before)
    assert "encoder.in_conv.weight" in changed
    assert "decoder.blocks.f1.conv1.weight" in changed
    assert "generator.0.0.1.weight" not in changed  # frozen in stage II
    assert not net.training


def test_multiply_adds_of_one_size(weights):
    """Counted at the size that is padded to: 24×40 fits, the published rule goes on to 64×64."""
    net = build_network(weights, CPU)
    ours, reference = (measure.work_size(Case(weights, (24, 40), is_reference=r), net) for r in (False, True))
    assert reference / ours == pytest.approx(64 * 64 / (24 * 40), rel=0.05)
    # G's last convolution alone: 3 output channels, 16 input channels, 9 taps
    assert ours > 24 * 40 * 3 * 16 * 9


def test_every_precision_runs(weights):
    net = build_network(weights, CPU)
    for precision in PRECISIONS:
        case = Case(weights, (16, 16), precision=precision)
        assert torch.isfinite(work_of(case, net, measure.night_image(case))()).all()


@pytest.mark.parametrize("name", TINY_OPTIONS)
def test_every_network_is_measured(name, make_tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "peak_memory", lambda case, device: (2, 1))
    monkeypatch.setitem(measure.MATMUL_SIZE, "cpu", 64)
    path = str(tmp_path / "tiny.pth")
    torch.save({"params": make_tiny(name).state_dict()}, path)
    cases = [Case(path, (16, 16), 2, precision, train) for precision in ("fp32", "bf16") for train in (False, True)]
    rows, skipped = run(cases, CPU, 1, quiet=True)
    assert (len(rows), skipped) == (4, [])
    assert all(row["gmac_per_second"] > 0 for row in rows)


@pytest.mark.parametrize("name", TINY_OPTIONS)
def test_every_network_has_its_prior_frozen(name):
    meta = torch.device("meta")  # at full size, without memory
    with meta:
        net = build_network(name, meta)
    trains = {key: parameter.requires_grad for key, parameter in net.named_parameters() if "query_norm" not in key}
    assert {value for key, value in trains.items() if "generator." in key} == {net.is_prior}
    assert {value for key, value in trains.items() if "quantizer.codebook" in key} == {net.is_prior}
    assert all(value for key, value in trains.items() if key.startswith(("encoder.", "hq.encoder.", "lq.encoder.")))


def test_training_step_of_a_face_network_teaches_its_classifier(make_tiny, tmp_path):
    path = str(tmp_path / "tiny.pth")
    torch.save({"params": make_tiny("CodeFormer").state_dict()}, path)
    net = build_network(path, CPU)
    case, before = Case(path, (16, 16), train=True), snapshot(net)
    work_of(case, net, measure.night_image(case))()
    changed = moved(net, before)
    assert {"encoder.conv_in.weight", "quantizer.classify.weight", "fusions.1.shift.2.weight"} <= set(changed)
    assert not any(name.startswith("generator.") for name in changed)


@pytest.mark.parametrize("name", PEERS)
def test_peers_are_other_peoples(name):
    package = PEERS[name][0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        pytest.importorskip(package, reason=f"{package} is not installed (extra [peers])")
        net = build_network(name, CPU)
    assert type(net).__module__.startswith(f"{package}.")


def test_loss_of_a_peer_that_enlarges_and_gives_more():
    class Peer(torch.nn.Module):
        def forward(self, x):
            return x.repeat_interleave(2, 2).repeat_interleave(2, 3) + 0.25, None

    assert training_loss(Peer(), torch.rand(2, 3, 4, 4)).item() == pytest.approx(0.25)


def test_nafnet_is_a_peer():
    net = build_network("NAFNet", CPU)
    assert sum(p.numel() for p in net.parameters()) > 1e7


def test_peer_that_is_not_installed(monkeypatch, capsys, weights):
    monkeypatch.setitem(sys.modules, "spandrel_extra_arches", None)
    with pytest.raises(Unavailable, match="spandrel_extra_arches is not installed"):
        build_network("Restormer", CPU)
    with pytest.raises(UserError, match="nothing could be measured"):
        dispatch(["bench", "--arch", "Restormer", "--size", "16x16", "--quiet", "--no-reference"])
    assert "skipped: Restormer, 16x16, fp32: spandrel_extra_arches is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "x512"], "--size: expected two sides such as 1120x640, or one for a square, got 'x512'"),
        (["--size", "0x64"], "--size: expected two sides"),
        (["--repeats", "0"], "--repeats: expected a whole number from 1 on, got '0'"),
        (["--precision", "int8"], "invalid choice: 'int8'"),
    ],
    ids=str,
)
def test_bad_flags(arguments, words, capsys):
    with pytest.raises(SystemExit) as error:
        dispatch(["bench", *arguments])
    assert error.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arch", "VQCNIT"], r"there is no network 'VQCNIT' \(did you mean 'VQCNIR'"),
        (["-w", "nowhere.pth"], "nowhere.pth"),
        (["--device", "cuda:77"], "cuda:77"),
    ],
    ids=str,
)
def test_bad_names(arguments, words):
    with pytest.raises(UserError, match=words):
        dispatch(["bench", "--quiet", *arguments])


def test_restoring_on_a_gpu_script(weights, capsys, load_script):
    """The script as on a GPU, but small and on the CPU, where the compiler's first part is enough."""
    script = load_script("gpu_speed")
    small = ["--forward", "16", "24", "--forward-batch", "1", "2", "--steps", "2", "--compile-backend", "aot_eager"]
    try:
        assert script.main(["--device", "cpu", "--weights", weights, *small]) == 0
    finally:
        torch._dynamo.reset()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "channels_last+compile" in line]
    assert [row[1] for row in rows] == ["1", "2"]
    assert all(float(row[5]) > 20 for row in rows)
