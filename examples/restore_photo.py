"""Restore a photograph with the network that ships: `python examples/restore_photo.py [night.jpg restored.png]`.

Without arguments it darkens one of scikit-image's photographs and restores that. On the command line the same is
`vqcnir restore night.jpg`, which also keeps EXIF and colour profile and takes photographs of any size.
"""

import sys

import numpy as np
import skimage.data
from PIL import Image, ImageOps

import vqcnir_arch


def dark_coffee() -> np.ndarray:
    """Return a photograph with a fifth of its light, [200, 300, 3] RGB uint8."""
    photo = skimage.data.coffee()[::2, ::2].astype(np.float32) / 255
    return np.round(255 * (0.2 * photo**2.2) ** (1 / 2.2)).astype(np.uint8)


def upright(source: str) -> np.ndarray:
    """Read a photograph as its EXIF entry turns it, [H, W, 3] RGB uint8."""
    return np.asarray(ImageOps.exif_transpose(Image.open(source)).convert("RGB"))


def main(source: str | None = None, target: str = "restored.png") -> None:
    """Restore the photograph `source` and write the result to `target`."""
    night = dark_coffee() if source is None else upright(source)
    net = vqcnir_arch.load_network()  # vqcnir-s; or a file, published or ours: load_network("net_g_latest.pth")
    restored = vqcnir_arch.restore(net, night)  # the same shape and dtype; strength=0.6 takes less of it
    Image.fromarray(restored).save(target)
    print(f"mean brightness {night.mean():.1f}, restored {restored.mean():.1f}; written to {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
