"""The file formats: how a program is written into each, and how such a file is run."""

# onnxscript would read annotations of a translation as ONNX types
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.export.program import export_program, first_line, input_names, metadata, output_names

ONNX_OPSET = 22
"""The newest version of DeformConv; it exists since 19."""
METADATA_FILE = "vqcnir.json"
Runner = Callable[..., tuple[Tensor, ...]]


class Written(NamedTuple):
    """A file's content, what runs it on the inputs, and whether that runner is slow."""

    content: bytes
    run: Runner
    runner: str
    is_slow: bool = False


@contextlib.contextmanager
def quiet(what: str) -> Iterator[None]:
    """Keep the warnings of an exporter to itself, and turn its errors into `UserError`."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except Exception as error:  # each exporter has its own classes, all of them "this cannot be written"
        raise UserError(f"{what} failed: {first_line(error)}") from error


def write_pt2(net: VQNetwork, size: int | None) -> Written:
    """Write what `torch.export.load` reads: `torch.export.load(FILE).module()(image)`."""
    program = export_program(net, size=size)
    buffer = io.BytesIO()
    with quiet("torch.export.save"):
        torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(metadata(net, "pt2"))})
        loaded = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    return Written(buffer.getvalue(), loaded, f"torch {torch.__version__}")


def write_aoti(net: VQNetwork, size: int | None) -> Written:
    """Write what AOTInductor's C++ runtime and `torch._inductor.aoti_load_package` run, compiled for this CPU."""
    compiler = find_compiler()
    program = export_program(net, size=size)
    with tempfile.TemporaryDirectory() as folder, quiet(f"AOTInductor (C++ compiler {compiler})"):
        path = str(Path(folder) / "network.pt2")
        settings = {"aot_inductor.metadata": metadata(net, "aoti")}
        torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs=settings)
        loaded = torch._inductor.aoti_load_package(path)
        return Written(Path(path).read_bytes(), lambda *inputs: tuple(loaded(*inputs)), "AOTInductor's runtime")


def find_compiler() -> str:
    """Return the C++ compiler that AOTInductor takes.

    Raises:
        UserError: there is none.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return get_cpp_compiler()
    except Exception as error:
        raise UserError(
            "AOTInductor needs a C++ compiler, and none is found: install g++ or clang++, or name one in CXX "
            "(--format pt2 and onnx need none)"
        ) from error


def write_onnx(net: VQNetwork, size: int | None, precision: str = "fp32") -> Written:
    """Write an ONNX model; deformable convolutions are ONNX's own operator `DeformConv`."""
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"ONNX files need {package}: pip install 'vqcnir[export]'")
    program = export_program(net, operator=True, size=size, precision=precision)
    with quiet("the ONNX exporter"):
        model = to_onnx(program, input_names(net), output_names(net))
        for key, value in metadata(net, "onnx").items():
            model.metadata_props.add(key=key, value=value)
        content = model.SerializeToString()
    run, runner, is_slow = onnx_runner(content)
    return Written(content, run, runner, is_slow)


def to_onnx(program: ExportedProgram, inputs: list[str], outputs: list[str]) -> "onnx.ModelProto":  # noqa: F821, UP037
    """Translate a program; inputs and outputs get these names. Onnx, which the result is of, is optional."""
    import torchvision  # noqa: F401  (it registers the operator)

    translations = {torch.ops.torchvision.deform_conv2d.default: deform_conv_translation()}
    return torch.onnx.export(
        program,
        dynamo=True,
        opset_version=ONNX_OPSET,
        custom_translation_table=translations,
        input_names=inputs,
        output_names=outputs,
        verbose=False,
    ).model_proto


def deform_conv_translation() -> Callable:
    """Return how torchvision's `deform_conv2d` reads in ONNX; both order offsets as group, tap, then dy before dx."""
    from onnxscript import opset22 as op

    def deform_conv2d(
        x, weight, offset, mask, bias, stride_h, stride_w, pad_h, pad_w,
        dilation_h, dilation_w, groups, offset_groups, use_mask,
    ):  # fmt: skip
        return op.DeformConv(
            x, weight, offset, bias, mask if use_mask else None,
            strides=[stride_h, stride_w], pads=[pad_h, pad_w, pad_h, pad_w], dilations=[dilation_h, dilation_w],
            group=groups, offset_group=offset_groups,
        )  # fmt: skip

    return deform_conv2d


def onnx_runner(content: bytes) -> tuple[Runner, str, bool]:
    """Return what runs an ONNX model here, its name, and whether it is slow.

    ONNX Runtime where it is installed and has every operator, else ONNX's reference evaluator.
    """
    try:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        name = f"ONNX Runtime {onnxruntime.__version__}"
        return lambda *inputs: tensors(session.run(None, by_name(names, inputs))), name, False
    except ImportError:
        why = "ONNX Runtime is not installed"
    except Exception as error:  # onnxruntime's own classes; NotImplemented where it lacks an operator
        why = f"ONNX Runtime cannot run it: {first_line(error)}"
    return reference_runner(content), f"ONNX's reference evaluator ({why})", True


def reference_runner(content: bytes) -> Runner:
    """Return ONNX's reference evaluator for a model; it is Python, and takes minutes where others take seconds."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load_from_string(content))
    return lambda *inputs: tensors(evaluator.run(None, by_name(evaluator.input_names, inputs)))


def by_name(names: list[str], inputs: tuple[Tensor, ...]) -> dict[str, Any]:
    """Return inputs as arrays by their names."""
    return {name: x.numpy() for name, x in zip(names, inputs, strict=True)}


def tensors(arrays: list) -> tuple[Tensor, ...]:
    """Return arrays as tensors."""
    return tuple(torch.from_numpy(array) for array in arrays)


FORMATS: dict[str, Callable[..., Written]] = {"pt2": write_pt2, "aoti": write_aoti, "onnx": write_onnx}
"""What writes files of each of `EXPORT_FORMATS`."""
