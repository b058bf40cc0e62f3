"""`vqcnir export`: files for torch.export, AOTInductor and ONNX compute what the network computes, at any size."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys

import pytest
import torch

from vqcnir_arch.archs import VQCNIR, VQGANPrior, cpu
from vqcnir_arch.archs.deform_conv import DeformConv2d
from vqcnir_arch.archs.illumination import covering
from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.export.comparison import compare, compared_inputs
from vqcnir_arch.export.formats import METADATA_FILE, Written, reference_runner, write_onnx
from vqcnir_arch.export.program import NEEDED_TORCH, Exported, export_program, output_names, smallest_side

PLAIN = {
    "channels": [8, 8], "norm_groups": 4, "codebook_size": 16, "code_dim": 8, "res_blocks": 1,
    "enhancer": {"type": "none"}, "fusion": {"type": "none"},
}  # fmt: skip
WHOLE = {
    "enhancer": {"type": "AIEM", "depth": 1, "splits": 2},
    "fusion": {"type": "DBCA", "heads": [2, 1], "offset_groups": 2},
}
WITH_ATTENTION = {"depth": 1, "num_heads": 2}
QUANTIZERS = {
    "NearestCode": {}, "VectorRegression": {}, "SinCA": WITH_ATTENTION, "CrossAttention": WITH_ATTENTION,
    "SelfAttention": WITH_ATTENTION, "CodePrediction": WITH_ATTENTION,
}  # fmt: skip
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript"))
IS_OLD = torch.__version__ < NEEDED_TORCH
needs_torch = pytest.mark.skipif(IS_OLD, reason=f"torch is older than {NEEDED_TORCH}")
needs_onnx = pytest.mark.skipif(
    IS_OLD or not HAS_ONNX,
    reason=f"onnx and onnxscript are not installed (extra [export]), or torch is older than {NEEDED_TORCH}",
)


def make_net(**options):
    torch.manual_seed(0)
    net = VQCNIR(**{**PLAIN, **options}).eval().requires_grad_(False)
    net.quantizer.codebook.normal_()
    for module in net.modules():
        if isinstance(module, DeformConv2d):  # a fresh one deforms nothing
            module.conv_offset.weight.normal_(std=0.1)
    return net


def save(net, path):
    torch.save({"params": net.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def net():
    return make_net(**WHOLE)


@pytest.fixture(scope="module")
def checkpoint(net, tmp_path_factory):
    return save(net, tmp_path_factory.mktemp("export") / "tiny.pth")


@torch.inference_mode()
def assert_equal(run, net, height, width):
    image = torch.rand(1, 3, height, width)
    expected, *codes = Exported(net)(image)
    restored, *indices = run(image)
    torch.testing.assert_close(restored, expected, rtol=1e-4, atol=1e-5)
    assert restored.shape[-2:] == (height * net.scale, width * net.scale)
    assert len(indices) == len(codes) and all(map(torch.equal, indices, codes))


@needs_torch
def test_pt2_file_is_read_by_torch_alone_at_any_size(net, checkpoint, tmp_path, capsys):
    dispatch(["export", str(checkpoint), str(tmp_path / "net.pt2")])
    said = capsys.readouterr().out
    assert "NearestCode" in said and "0 differing" in said and "any height and width from 3 on" in said
    extra = {METADATA_FILE: ""}
    program = torch.export.load(tmp_path / "net.pt2", extra_files=extra)
    assert json.loads(extra[METADATA_FILE])["outputs"] == "restored, codes"
    for height, width in ((4, 3), (11, 36), (35, 7)):
        assert_equal(program.module(), net, height, width)


@needs_torch
def test_aoti_file_runs_in_its_runtime(tmp_path):
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler is installed")
    net = make_net()  # compiling takes long enough without enhancer and fusion
    checkpoint = save(net, tmp_path / "plain.pth")
    dispatch(["export", str(checkpoint), str(tmp_path / "net.pt2"), "--format", "aoti"])
    package = torch._inductor.aoti_load_package(str(tmp_path / "net.pt2"))
    assert package.get_metadata()["format"] == "aoti"
    for height, width in ((3, 6), (31, 13)):
        assert_equal(package, net, height, width)


@needs_onnx
def test_onnx_file_has_the_operator_and_runs(net, checkpoint, tmp_path):
    import onnx

    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra [export])")
    dispatch(["export", str(checkpoint), str(tmp_path / "net.onnx")])
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {(i.domain, i.version) for i in model.opset_import} == {("", 22)}
    nodes = [node for node in model.graph.node if node.op_type == "DeformConv"]
    assert len(nodes) == sum(isinstance(module, DeformConv2d) for module in net.modules())
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    for height, width in ((4, 3), (11, 36), (35, 7)):
        assert_equal(
            lambda x: [torch.from_numpy(y) for y in session.run(None, {"image": x.numpy()})], net, height, width
        )


@needs_onnx
def test_reference_evaluator_agrees_and_is_taken_where_there_is_no_runtime(net, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    written = write_onnx(net, None)
    assert written.runner == "ONNX's reference evaluator (ONNX Runtime is not installed)"
    (inputs,) = compared_inputs(net, written)
    assert "5 x 3" in (line := compare(net, written, inputs)) and "codes 6 equal, 0 differing" in line
    assert_equal(reference_runner(written.content), net, 6, 5)


@needs_torch
@pytest.mark.parametrize("name", QUANTIZERS)
def test_every_quantizer_is_traced_at_dynamic_sizes(name):
    net = make_net(quantizer={"type": name, **QUANTIZERS[name]})
    program = export_program(net)
    assert_equal(program.module(), net, 5, 14)


@needs_torch
@pytest.mark.parametrize("options", [
    {"enhancer": {"type": "ResBlock", "depth": 1}}, {"enhancer": {"type": "NAFBlock", "depth": 1}},
    {"fusion": {"type": "SKFF"}}, {"fusion": {"type": "CrossAttention"}}, {"upsample": "bilinear"},
    {"padding": "published"},
], ids=str)  # fmt: skip
def test_other_parts_are_traced_too(options):
    net = make_net(**options)
    assert_equal(export_program(net).module(), net, 13, 6)


@needs_torch
def test_windows_are_padded_inside():
    net = make_net(enhancer={"type": "SwinBlock", "depth": 2, "num_heads": 2, "window": 2})
    assert smallest_side(net) == 5
    assert_equal(export_program(net).module(), net, 7, 10)


@needs_onnx
def test_host_enlarges_odd_sizes_and_gives_the_codes_of_each_codebook(make_tiny):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra [export])")
    net = make_tiny("AdaCode", channels=[8, 8, 8], norm_groups=4, code_dim=8, res_blocks=1).eval()
    assert output_names(net) == ["restored", "codes_0", "codes_1"]
    written = write_onnx(net, None)
    for inputs in compared_inputs(net, written):
        assert "0 differing" in compare(net, written, inputs)
    assert_equal(written.run, net, 5, 7)


@needs_onnx
def test_face_network_has_its_weight_as_an_input(make_tiny):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra [export])")
    net = make_tiny("CodeFormer").eval()
    written = write_onnx(net, None)
    lines = [compare(net, written, inputs) for inputs in compared_inputs(net, written)]
    assert [line.split(":")[0] for line in lines] == ["16 x 16, w 0.5", "16 x 16, w 0", "16 x 16, w 1"]
    image = torch.rand(1, 3, 16, 16)
    assert not torch.allclose(written.run(image, torch.zeros(1))[0], written.run(image, torch.ones(1))[0])


@needs_onnx
def test_half_of_a_network_chooses_the_same_codes(tmp_path, capsys):
    import onnx

    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra [export])")
    checkpoint = save(make_net(enhancer=WHOLE["enhancer"]), tmp_path / "plain.pth")
    dispatch(["export", str(checkpoint), str(tmp_path / "net.onnx"), "--precision", "fp16"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "largest difference" in line]
    assert len(lines) == 3 and all("0 differing" in line for line in lines)
    types = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "net.onnx").graph.initializer}
    halved = {name.removeprefix("net.").split(".")[0] for name, t in types.items() if t == onnx.TensorProto.FLOAT16}
    exact = {name.removeprefix("net.").split(".")[0] for name, t in types.items() if t == onnx.TensorProto.FLOAT}
    assert {"generator", "decoder", "after_quant", "out_conv"} <= halved - exact
    assert {"encoder", "enhancer", "before_quant"} <= exact - halved


def test_thumbnail_of_any_size_is_the_pooled_image():
    x = torch.rand(1, 3, 41, 23)
    for size in (16, 32):
        rows, columns = covering(41, size, x), covering(23, size, x)
        torch.testing.assert_close(rows @ x @ columns.t(), torch.nn.functional.adaptive_avg_pool2d(x, size))


@needs_onnx
def test_illumination_curve_sees_images_larger_than_the_traced_one():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra [export])")
    net = make_net(illumination={"iterations": 2, "size": 16, "width": 4}, residual=True)
    net.illumination.head[2].weight.normal_()
    net.residual_conv.weight.normal_(std=0.1)
    written = write_onnx(net, None)
    assert_equal(written.run, net, 61, 45)


def test_export_leaves_the_network_as_it_is(net):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    export_program(net, operator=True)
    assert cpu.is_enabled()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_what_cannot_be_traced_is_one_line(net):
    broken = make_net()
    broken.out_conv = torch.nn.Conv2d(5, 3, 1)
    with pytest.raises(UserError, match=r"VQCNIR with quantizer NearestCode.* cannot be exported: ") as caught:
        export_program(broken)
    assert "\n" not in str(caught.value)


def test_another_result_is_refused(net):
    image, right = torch.rand(1, 3, 5, 7), Exported(net)
    for message, change in (
        ("gives another result", lambda restored, codes: (restored + 0.01, codes)),
        ("chooses other codes", lambda restored, codes: (restored, codes + 1)),
        ("gives another size", lambda restored, codes: (restored[..., 1:], codes)),
    ):
        written = Written(b"", lambda x, change=change: change(*right(x)), "")
        with pytest.raises(UserError, match=message):
            compare(net, written, (image,))


def refused(*arguments):
    with pytest.raises(UserError) as caught:
        dispatch(["export", *map(str, arguments)])
    return str(caught.value)


def test_bad_input_is_refused_before_anything_is_traced(checkpoint, tmp_path, monkeypatch):
    there = tmp_path / "there.pt2"
    there.write_bytes(b"old")
    assert "exists already" in refused(checkpoint, there)
    assert there.read_bytes() == b"old"
    assert "did you mean '.onnx'" in refused(checkpoint, tmp_path / "net.onx")
    assert "files of --format onnx have '.onnx'" in refused(checkpoint, tmp_path / "n.pt2", "--format", "onnx")
    assert "for ONNX files alone" in refused(checkpoint, tmp_path / "n.pt2", "--precision", "fp16")
    assert "there is no folder" in refused(checkpoint, tmp_path / "none/net.pt2")
    assert "does not exist" in refused(tmp_path / "none.pth", tmp_path / "net.pt2")
    prior = save(VQGANPrior(**{k: v for k, v in PLAIN.items() if k not in ("enhancer", "fusion")}), tmp_path / "p.pth")
    assert "is a prior (stage I)" in refused(prior, tmp_path / "net.pt2")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'vqcnir[export]'" in refused(checkpoint, tmp_path / "net.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"there.pt2", "p.pth"}


def test_older_torch_is_one_line(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.export.export", lambda mod, args, dynamic_shapes=None, strict=True: None)
    assert f"needs torch {NEEDED_TORCH} or newer" in refused(checkpoint, tmp_path / "net.pt2")


@needs_torch
def test_aoti_without_a_compiler_is_one_line(checkpoint, tmp_path, monkeypatch):
    def none():
        raise RuntimeError("none")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none)
    assert "needs a C++ compiler" in refused(checkpoint, tmp_path / "net.pt2", "--format", "aoti")
