"""A process as ComfyUI 0.38.1 makes one for a node: its modules by their contract, and no library that it lacks.

`python comfyui_process.py NODE_FOLDER MODELS_FOLDER BLOCKED`, BLOCKED a JSON list of top-level names. It prints as JSON
what the node did. Nothing of ComfyUI is copied: stand-ins have the names, arguments and results that nodes rely on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types
from pathlib import Path

NODE, MODELS, BLOCKED = Path(sys.argv[1]), Path(sys.argv[2]), frozenset(json.loads(sys.argv[3]))


class Without:
    """A finder that does not find what is blocked."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in BLOCKED else self.finder.find_spec(name, path, target)


class InterruptProcessingException(Exception):
    pass


class ProgressBar:
    made: list[ProgressBar] = []  # noqa: RUF012

    def __init__(self, total, node_id=None):
        self.total, self.current = total, 0
        self.made.append(self)

    def update(self, value):
        self.current += value


class State:
    """What the user and the machine do."""

    checks = 0
    cancel_at = None
    free_bytes = 8 * 10**9  # of the processor's memory
    asked: list = []  # noqa: RUF012


def throw_exception_if_processing_interrupted():
    State.checks += 1
    if State.checks == State.cancel_at:
        raise InterruptProcessingException()


def module(name, **content):
    made = sys.modules[name] = types.ModuleType(name)
    vars(made).update(content)
    return made


sys.meta_path[:] = map(Without, sys.meta_path)
sys.path[:] = [place for place in sys.path if place != str(Path(__file__).parent)]
import torch  # noqa: E402

torch.set_num_threads(1)
comfy = module("comfy")
comfy.model_management = module(
    "comfy.model_management",
    InterruptProcessingException=InterruptProcessingException,
    throw_exception_if_processing_interrupted=throw_exception_if_processing_interrupted,
    get_torch_device=lambda: torch.device("cpu"),
    intermediate_device=lambda: torch.device("cpu"),
    get_free_memory=lambda device=None: State.free_bytes,
    free_memory=lambda memory_required, device: State.asked.append((memory_required, str(device))),
    soft_empty_cache=lambda force=False: None,
)
comfy.utils = module("comfy.utils", ProgressBar=ProgressBar)
module(
    "folder_paths",
    get_filename_list=lambda folder: sorted(os.listdir(MODELS)) if folder == "upscale_models" else [],
    get_full_path=lambda folder, name: str(MODELS / name) if (MODELS / name).is_file() else None,
)

name = str(NODE).replace(".", "_x_")  # as ComfyUI names the modules of nodes
spec = importlib.util.spec_from_file_location(name, NODE / "__init__.py")
package = sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
[(node_id, Node)] = package.NODE_CLASS_MAPPINGS.items()

import vqcnir_arch  # noqa: E402
from vqcnir_arch.restoration import restore_tensor, tiling  # noqa: E402

inputs = Node.INPUT_TYPES()["required"]
call = getattr(Node(), Node.FUNCTION)
known = {"model": "vqcnir-s", "strength": 1.0, "precision": "fp32", "device": "auto"}
torch.manual_seed(0)
night = 0.2 * torch.rand(2, 40, 600, 3)  # wider than a tile of ComfyUI's


def run(image=night[:1, :, :64], **changed):
    with torch.inference_mode():
        [result] = call(image=image, **{**known, **changed})
    return result


def refusal(**arguments):
    try:
        run(**arguments)
    except Exception as error:
        return [type(error).__name__, str(error)]


def difference(a, b):
    return (a - b).abs().max().item()


found = {
    "package": vqcnir_arch.__file__,
    "node": [node_id, package.NODE_DISPLAY_NAME_MAPPINGS[node_id], Node.CATEGORY, list(Node.RETURN_TYPES)],
    "inputs": {key: [kind if isinstance(kind, str) else list(kind), *more] for key, (kind, *more) in inputs.items()},
}
net = vqcnir_arch.load_network()
expected = torch.stack([restore_tensor(net, image) for image in night.movedim(-1, 1)]).movedim(1, -1)
restored = run(night)
bar = ProgressBar.made[-1]
found["batch"] = [list(restored.shape), str(restored.dtype), difference(restored, expected), bar.current, bar.total]
found["asked"] = State.asked[-1]
found["strength 0"] = difference(run(strength=0.0), night[:1, :, :64])
found["half"] = difference(run(precision="bf16"), run())
rgba = torch.rand(1, 40, 64, 4)
found["alpha"] = difference(run(rgba)[..., 3], rgba[..., 3])
found["fp16 image"] = str(run(night[:1, :, :64].half()).dtype)

State.checks, State.cancel_at = 0, 5
found["cancelled"] = [refusal()[0], State.checks]
State.cancel_at = None
found["after"] = difference(run(), expected[:1, :, :64]) >= 0 and run().shape[1:3] == (40, 64)

maps, tiling.WITHOUT_FINEST_FUSION = tiling.WITHOUT_FINEST_FUSION, 10**6  # nothing fits whole
found["strips"] = [difference(run(night[:1]), expected[:1]), ProgressBar.made[-1].current, ProgressBar.made[-1].total]
State.free_bytes = 10**6
found["no memory in strips"] = refusal(image=night[:1])
State.checks, State.cancel_at, State.free_bytes = 0, 3, 8 * 10**9
found["strips cancelled"] = refusal(image=night[:1])[0]
State.cancel_at, tiling.WITHOUT_FINEST_FUSION = None, maps

loaded = sys.modules[Node.__module__].loaded("vqcnir-s", 0)


def no_memory(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


loaded.compute = no_memory
found["no memory"] = refusal()
del loaded.compute
found["own file"] = list(run(model="tiny.pth").shape)
found["other file"] = refusal(model="other.pth")
found["prior"] = refusal(model="prior.pth")
found["broken"] = refusal(model="broken.safetensors")
found["no file"] = refusal(model="none.pth")
found["grey"] = refusal(image=torch.rand(1, 16, 16, 1))
found["nan"] = refusal(image=torch.full((1, 16, 16, 3), float("nan")))

from spandrel import ModelLoader  # noqa: E402

state = torch.load(MODELS / "tiny.pth", weights_only=True)
found["stock loader"] = ModelLoader().load_from_state_dict(state).architecture.id
found["imported"] = sorted(BLOCKED & {key.partition(".")[0] for key in sys.modules})
print(json.dumps(found))
