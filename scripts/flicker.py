"""Measure the flicker of a restored video as a whole, without and with `vqcnir restore --steady`.

python scripts/flicker.py PHOTOGRAPHS [-w NETWORK] [--frames 24] [--only static ...] [--shot 1e-4]

Sharp photographs are made into small videos by night, each frame with noise of its own; `compressed` goes through
H.264, as a camera's film does. Printed are, over all photographs:

* flicker: by how much a frame's mean red, green and blue differ from the mean of the frames before and after it, root
  mean square in levels of 255. Frames beside a cut are left out. A fade and a passing lamp have some of their own.
* most changed: the largest change of a frame's mean by `--steady`, in levels.
* worst frame: the largest fall of a frame's PSNR by `--steady` in dB, against the photograph by day with the same fade.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vqcnir_arch import load_network, restore
from vqcnir_arch.data.files import find_images, read_image
from vqcnir_arch.data.night_blur.darkening import darken
from vqcnir_arch.data.night_blur.lights import GAMMA, encode
from vqcnir_arch.data.night_blur.sensor import sensor_noise
from vqcnir_arch.restoration.steady import steadied
from vqcnir_arch.restoration.video import Frame

WIDTH, HEIGHT = 192, 128
SPEED = 2  # pixels a frame, of the pan
EXPOSURE = 0.06  # mean lightness L / 100 of the night frames
READ = 1e-7  # variance of the noise in the dark


class Scene(NamedTuple):
    """A photograph by day and by night: sRGB and linear light, each [H, W, 3] and larger than a frame."""

    day: np.ndarray
    night: np.ndarray

    def at(self, x: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return a frame's piece of both, `x` pixels to the right."""
        rows, columns = slice(0, HEIGHT), slice(x, x + WIDTH)
        return self.day[rows, columns], self.night[rows, columns]


Kind = Callable[[int, int, Scene, Scene], tuple[np.ndarray, np.ndarray]]
"""Number of a frame, of all frames, a scene and another one; to the frame by day and its linear light by night."""


def fading(number: int, count: int, scene: Scene, other: Scene) -> tuple[np.ndarray, np.ndarray]:
    """A fade to black from the fourth frame on."""
    day, night = scene.at()
    share = float(np.clip(1 - (number - 4) / (count - 8), 0, 1))
    return day * share, night * share**GAMMA


def passing_lamp(number: int, count: int, scene: Scene, other: Scene) -> tuple[np.ndarray, np.ndarray]:
    """A head lamp that crosses the frame and lights what is around it."""
    day, night = scene.at()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    away = (x - WIDTH * (1.4 * number / count - 0.2)) ** 2 + (y - HEIGHT / 2) ** 2
    light = 1.2 * np.exp(-away / (2 * 6**2)) + 0.1 * np.exp(-away / (2 * 40**2))
    return day, night + light[..., None] * np.array([1, 0.85, 0.6])


KINDS: dict[str, Kind] = {
    "static": lambda number, count, scene, other: scene.at(),
    "compressed": lambda number, count, scene, other: scene.at(),
    "pan": lambda number, count, scene, other: scene.at(SPEED * number),
    "cut": lambda number, count, scene, other: (scene if number < count // 2 else other).at(),
    "fade": fading,
    "lamp": passing_lamp,
}


def scene_of(path: Path, frames: int) -> Scene:
    """Return a photograph by day and by night, just large enough for a pan."""
    photo = cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB) / 255
    height, width = photo.shape[:2]
    factor = max(HEIGHT / height, (WIDTH + SPEED * frames) / width)
    day = cv2.resize(photo, (int(np.ceil(width * factor)), int(np.ceil(height * factor))), interpolation=cv2.INTER_AREA)
    return Scene(day, darken(day, EXPOSURE)[0] ** GAMMA)


def through_h264(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Return frames as a film of modest quality holds them."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as writer:
        stream = writer.add_stream("libx264", rate=24, options={"crf": "28", "g": "8"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in frames:
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(np.uint8(frame * 255 + 0.5), format="rgb24")))
        writer.mux(stream.encode())
    file.seek(0)
    with av.open(file) as reader:
        return [np.float32(frame.to_ndarray(format="rgb24")) / 255 for frame in reader.decode(video=0)]


def flicker(frames: list[np.ndarray], cut: int | None) -> float:
    """Return the flicker of frames in [0, 1], in levels of 255; `cut`: the first frame of another shot."""
    means = 255 * np.array([frame.mean((0, 1)) for frame in frames])
    beside = np.array([number for number in range(1, len(means) - 1) if cut is None or number not in (cut - 1, cut)])
    return float(np.sqrt(np.mean((means[beside] - (means[beside - 1] + means[beside + 1]) / 2) ** 2)))


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR of an image in [0, 1]; at most 60 dB."""
    return -10 * float(np.log10(max(np.mean((image - truth) ** 2), 1e-6)))


def measure(kind: str, scene: Scene, other: Scene, settings: argparse.Namespace) -> tuple[float, float, float, float]:
    """Return flicker without and with `--steady`, the most changed mean, and the largest fall of PSNR."""
    rng, count = np.random.default_rng(0), settings.frames
    pairs = [KINDS[kind](number, count, scene, other) for number in range(count)]
    sources = [np.float32(encode(light + sensor_noise(rng, light, settings.shot, READ, 0.5))) for _, light in pairs]
    sources = through_h264(sources) if kind == "compressed" else [np.round(source * 255) / 255 for source in sources]
    plain = restore(settings.net, sources)
    frames = (Frame(n, 1, n / 24, *images) for n, images in enumerate(zip(sources, plain, strict=True)))
    steady = [frame.restored for frame in steadied(frames)]
    cut = count // 2 if kind == "cut" else None
    changed = max(float(abs(a.mean((0, 1)) - b.mean((0, 1))).max()) for a, b in zip(steady, plain, strict=True))
    lost = max(psnr(a, day) - psnr(b, day) for (day, _), a, b in zip(pairs, plain, steady, strict=True))
    return flicker(plain, cut), flicker(steady, cut), 255 * changed, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of sharp photographs, two at least")
    parser.add_argument("-w", "--weights", default="vqcnir-s")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--shot", type=float, default=1e-4, help="variance of the noise per unit of linear light")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    settings = parser.parse_args()
    settings.net = load_network(settings.weights)
    scenes = [scene_of(path, settings.frames) for path in find_images(settings.photographs).values()]
    print("| scene | flicker | with `--steady` | in the worst video | most changed | worst frame |")
    print("|---|---|---|---|---|---|")
    for kind in settings.only:
        others = scenes[1:] + scenes[:1]
        found = np.array([measure(kind, *both, settings) for both in zip(scenes, others, strict=True)])
        before, after, changed, lost = found.mean(0)[0], found.mean(0)[1], found[:, 2].max(), found[:, 3].max()
        worst = found[:, 1].max()
        print(f"| {kind} | {before:.2f} | {after:.2f} | {worst:.2f} | {changed:.1f} | {-lost:.2f} dB |", flush=True)


if __name__ == "__main__":
    main()
