"""`network_g: {from: CHECKPOINT}`: every network is tested and fine-tuned by one file, as its checkpoint has it."""

from __future__ import annotations

import re

import pytest
import torch
import yaml
from launch_place import files_below, options_of_test, restoration_options, written

from vqcnir_arch import UserError, load_network
from vqcnir_arch.archs import VQCNIR
from vqcnir_arch.cli import dispatch
from vqcnir_arch.options import check_options, read_options

pytestmark = pytest.mark.usefixtures("fresh_basicsr_log")

SINCA = {"type": "SinCA", "depth": 1, "num_heads": 2}


def save(net, path):
    torch.save({"params": net.state_dict()}, path)


def test_file(network, **path):
    """A test of these pairs, of whatever network."""
    content = options_of_test(None)
    content["network_g"], content["path"] = network, path
    return content


test_file.__test__ = False


@pytest.fixture
def sinca(place, make_tiny):
    """A checkpoint of a network that no option file here has."""
    net = make_tiny("VQCNIR", quantizer=dict(SINCA), enhancer={"type": "none"}, fusion={"type": "SKFF"})
    save(net, place / "sinca.pth")
    return net


def test_every_network_reads_back(make_tiny, tmp_path):
    """Of each family one, with other parts than usual: the options are what the checkpoint was made with."""
    variants = {
        "VQGANPrior": {"semantic_dim": 8},
        "VQCNIR": {"quantizer": dict(SINCA), "fusion": {"type": "SKFF"}, "enhancer": {"type": "ResBlock", "depth": 1}},
        "AdaCode": {"quantizer": {**SINCA, "depth": [1, 2]}},
        "CodeFormer": {"quantizer": {"type": "CrossAttention", "depth": 1, "num_heads": 2}, "w": 0.25},
    }
    for name, options in variants.items():
        net = make_tiny(name, **options)
        save(net, tmp_path / f"{name}.pth")
        (tmp_path / "x.yml").write_text(yaml.safe_dump({"network_g": {"from": str(tmp_path / f"{name}.pth")}}))
        block = read_options(tmp_path / "x.yml")["network_g"]
        assert block.pop("type") == name
        rebuilt = type(net)(**block)
        assert rebuilt.options == net.options
        rebuilt.load_state_dict(net.state_dict())


@pytest.mark.parametrize("model", ["VQRestorationModel", "SRModel"])
def test_test_run(sinca, place, model):
    """The images are those of the network itself; BasicSR's own model takes it, too."""
    content = test_file({"from": "sinca.pth", "padding": "published"})
    content["model_type"] = model
    del content["val"]["suffix"]  # SRModel reads it without a default
    dispatch(["test", *written(content)])
    images = [name for name in files_below(place / "results/tiny/visualization") if name.endswith(".png")]
    assert len(images) == (2 if model == "SRModel" else 4)  # BasicSR's leaves the videos' names out
    (log,) = (place / "results/tiny").glob("test_*.log")
    text = log.read_text()
    assert "network_g is the VQCNIR of 'sinca.pth'" in text
    assert "type: SKFF" in text and "padding: published" in text and "type: SinCA" in text
    assert re.search(r"pretrain_network_g: \S*sinca.pth", text) and "param_key_g: params" in text


def test_packaged_network(place):
    """A safetensors file, which BasicSR's own model takes in our runs, too."""
    content = test_file({"from": "vqcnir-s"})
    written(content)
    assert read_options("options.yml")["path"]["pretrain_network_g"].endswith("vqcnir-s.safetensors")
    dispatch(["test", *written({**content, "model_type": "SRModel"})])
    assert [name for name in files_below(place / "results/tiny/visualization") if name.endswith(".png")]


def test_on_the_command_line(sinca, place):
    """The file's network and checkpoint give way, `padding`, which says nothing of the tensors, stays."""
    content = options_of_test("weights/vqcnir.pth")
    content["network_g"]["padding"] = "published"
    content["path"]["param_key_g"] = "params_ema"
    written(content)
    notes = []
    options = read_options("options.yml", ["network_g:from=sinca.pth"], notes)
    assert notes == ["network_g is the VQCNIR of 'sinca.pth'"]
    assert options["network_g"]["fusion"]["type"] == "SKFF" and options["network_g"]["padding"] == "published"
    assert options["path"] == {"pretrain_network_g": "sinca.pth", "param_key_g": "params"}
    assert check_options(options, is_train=False)["network_g"] == options["network_g"]

    more = ["network_g:from=sinca.pth", "path:pretrain_network_g=other.pth", "network_g:padding=exact"]
    options = read_options("options.yml", more)
    assert options["network_g"]["padding"] == "exact"
    assert options["path"] == {"pretrain_network_g": "other.pth"}
    with pytest.raises(UserError, match="holds a VQCNIR, not a FeMaSR: leave type out"):
        read_options("options.yml", ["network_g:from=sinca.pth", "network_g:type=FeMaSR"])


def test_averaged_weights_first(place, make_tiny):
    """As `load_network` takes them, unless `param_key_g` says otherwise."""
    state = make_tiny("VQGANPrior").state_dict()
    torch.save({"params": state, "params_ema": state}, place / "both.pth")
    torch.save(state, place / "bare.pth")
    for path, expected in (({}, "params_ema"), ({"param_key_g": "params"}, "params")):
        written(test_file({"from": "both.pth"}, **path))
        assert read_options("options.yml")["path"]["param_key_g"] == expected
    written(test_file({"from": "bare.pth"}))
    assert read_options("options.yml")["path"]["param_key_g"] is None


def test_published_file(place):
    """It carries no options: they are recognised from its tensors."""
    written(test_file({"from": "weights/published.pth"}))
    options = read_options("options.yml")
    assert options["network_g"]["type"] == "VQCNIR"
    assert options["network_g"]["enhancer"] == {"type": "AIEM", "depth": 2, "splits": 2, "curve_order": 2}


def test_finetuning(sinca, place):
    """A training goes on from a checkpoint's network; the copy that it keeps has the network in full."""
    content = restoration_options()
    del content["val"], content["train"]["alignment_opt"]
    content["network_g"] = {"from": "sinca.pth"}
    content["train"]["total_iter"] = 1
    content["logger"]["use_tb_logger"] = False
    dispatch(["train", *written(content)])
    trained = load_network("experiments/tiny/models/net_g_latest.pth")
    assert trained.options == sinca.options
    before, after = sinca.state_dict(), trained.state_dict()
    assert max((before[n] - after[n]).abs().max() for n, p in sinca.named_parameters()) < 2e-3  # a step from there
    kept = (place / "experiments/tiny/options.yml").read_text()
    as_run = yaml.safe_load("".join(
        line.removeprefix("# ") for line in kept.partition("# As it was run:\n")[2].splitlines(keepends=True)
    ))  # fmt: skip
    assert as_run["network_g"]["quantizer"]["type"] == "SinCA" and set(as_run) == {"network_g", "path"}
    assert yaml.safe_load(kept)["network_g"] == {"from": "sinca.pth"}


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"from": "snca.pth"}, r"network_g: from: checkpoint 'snca.pth' does not exist \(did you mean 'sinca.pth'"),
        ({"from": 3}, "network_g: from: expected the path of a checkpoint, got 3"),
        ({"from": "weights"}, "network_g: from: checkpoint 'weights' is a folder"),
        ({"from": "weights/linear.pth"}, "network_g: from: checkpoint 'weights/linear.pth' is not a checkpoint of"),
        ({"from": "weights/text.pth"}, "network_g: from: checkpoint 'weights/text.pth'"),
        ({"from": "sinca.pth", "type": "FeMaSR"}, "holds a VQCNIR, not a FeMaSR: leave type out"),
        ({"from": "sinca.pth", "type": "VQCNR"}, "did you mean 'VQCNIR'"),
        ({"from": "sinca.pth", "codebook_size": 64}, "made with codebook_size: 32, not 64: leave codebook_size out"),
        (
            {"from": "sinca.pth", "fusion": {"type": "DBCA"}},
            "made with fusion: .*'SKFF'.*, not .*'DBCA'.*: leave fusion out",
        ),
        ({"from": "sinca.pth", "paddin": "exact"}, "unknown option 'paddin'.*did you mean 'padding'"),
    ],
)
def test_bad_input(sinca, place, network, message):
    written(test_file(network))
    with pytest.raises(UserError, match=message) as caught:
        check_options(read_options("options.yml"), is_train=False)
    assert len(str(caught.value).splitlines()) == 1
    assert not (place / "results").exists()


def test_what_is_the_checkpoint_s_may_stand_beside_it(sinca, place):
    beside = {"type": "VQCNIR", "codebook_size": 32, "fusion": {"type": "SKFF"}, "enhancer": {"type": "none"}}
    written(test_file({"from": "sinca.pth", **beside}))
    options = read_options("options.yml")
    assert VQCNIR(**{k: v for k, v in options["network_g"].items() if k != "type"}).options == sinca.options


def test_network_of_another_scale_is_refused(place, make_tiny):
    save(make_tiny("FeMaSR"), place / "x2.pth")
    written(test_file({"from": "x2.pth"}))
    with pytest.raises(UserError, match="scale: 1, but network_g enlarges by 2"):
        check_options(read_options("options.yml"), is_train=False)
