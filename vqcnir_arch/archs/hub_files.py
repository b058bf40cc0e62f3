"""How a network lies in a repository of the Hugging Face Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, PyTorchModelHubMixin, hf_hub_download
from safetensors.torch import save

from vqcnir_arch.archs.loading import load_network
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.errors import UserError

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class HubFiles(PyTorchModelHubMixin):
    """A network and its files.

    It has the network instead of being one, so that networks need no `huggingface_hub` and keep their own constructors.
    """

    def __init__(self, net: VQNetwork) -> None:
        self.net = net

    def _save_pretrained(self, save_directory: Path) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in self.net.state_dict().items()}
        write_file(save_directory / WEIGHTS, save(tensors, self.net.metadata()))
        config = {"type": type(self.net).__name__, **self.net.options}
        write_file(save_directory / CONFIG, json.dumps(config, indent=2, sort_keys=True).encode() + b"\n")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, device: str = "cpu", **download: Any) -> HubFiles:
        folder = Path(model_id)
        if folder.is_dir() and not (folder / WEIGHTS).is_file():
            raise UserError(f"folder '{folder}' has no {WEIGHTS}")
        file = folder / WEIGHTS if folder.is_dir() else hf_hub_download(model_id, WEIGHTS, **download)
        return cls(load_network(file, device))

    def generate_model_card(self, **header: Any) -> ModelCard:
        """Write the card that a repository without one gets: what the checkpoint itself says.

        Args:
            **header: entries of the card's header, such as `license="cc0-1.0"`.
        """
        net, name = self.net, type(self.net).__name__
        tags = ["image-restoration", "model_hub_mixin", "pytorch_model_hub_mixin", name.lower()]
        data = {"library_name": "vqcnir", "pipeline_tag": "image-to-image", "tags": tags, **header}
        options = "\n".join(f"| `{key}` | `{json.dumps(value)}` |" for key, value in sorted(net.options.items()))
        kind = "A prior (stage I), from which a restoration network starts" if net.is_prior else "A restoration network"
        use = (
            f"```yaml\nnetwork_g: {{type: VQCNIR, prior: {WEIGHTS}}}\n```"
            if net.is_prior
            else "```bash\nvqcnir restore photo.jpg -w hf:USER/REPO\n```"
        )
        text = f"""# {name}

{kind} of `vqcnir`: {sum(p.numel() for p in net.parameters()):,} parameters, scale {net.scale}.
What it was trained on and how good it is, whoever trained it has to say here.

{use}

```python
from vqcnir_arch.archs import {name}
net = {name}.from_pretrained("USER/REPO")  # RGB images [B, 3, H, W] in [0, 1]
```

| option | value |
|---|---|
{options}
"""
        return ModelCard(f"---\n{ModelCardData(**data).to_yaml()}\n---\n\n{text}")
