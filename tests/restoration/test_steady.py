"""`vqcnir restore --steady`: what flickers as a whole becomes steady, and nothing else changes."""

from itertools import count

import numpy as np
import pytest

from vqcnir_arch.cli import dispatch
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.steady import REACH, steadied, steady
from vqcnir_arch.restoration.video import Frame, restore_video

HEIGHT, WIDTH = 48, 64
PICTURE = np.random.default_rng(3).random((6, 9, 3)).repeat(8, 0).repeat(8, 1).astype(np.float32) * 0.3


def film(sources, gains=None):
    """Return frames whose restoration is a tone curve, times a gain for each frame and channel, with noise."""
    rng = np.random.default_rng(0)
    frames = []
    for number, source in enumerate(sources):
        noisy = (source + rng.normal(0, 0.005, source.shape)).clip(0, 1).astype(np.float32)
        restored = np.sqrt(noisy) * (1 if gains is None else gains[number])
        frames.append(Frame(number, 1, number / 25, noisy, restored.clip(0, 1).astype(np.float32)))
    return frames


def flickering(number):
    return np.random.default_rng(1).normal(1, 0.03, (number, 1, 1, 3))


def still(number):
    return [PICTURE[:HEIGHT, :WIDTH]] * number


def restored(frames):
    return np.stack([frame.restored for frame in frames])


def jumps(images):
    """Return by how much the means of images differ from one to the next, in levels of 255."""
    return np.sqrt(np.mean(np.diff(255 * images.mean((1, 2)), axis=0) ** 2))


def farthest(frames):
    """Return the smallest PSNR of a steadied frame against itself before, in dB."""
    errors = (restored(steadied(iter(frames))) - restored(frames)).reshape(len(frames), -1)
    return -10 * np.log10(np.mean(errors**2, axis=1).max())


def test_a_static_scene_that_flickers():
    frames = film(still(16), flickering(16))
    before = restored(frames)
    after = restored(steadied(iter(frames)))
    assert jumps(before) > 3 and jumps(after) < jumps(before) / 4
    assert abs(after.mean((0, 1, 2)) - before.mean((0, 1, 2))).max() < 1 / 255
    assert [frame.pts for frame in steadied(iter(frames))] == list(range(16))


@pytest.mark.parametrize("other", ["mirrored", "another"])
def test_nothing_is_carried_across_a_cut(other):
    """The mirrored picture has the same colours as a whole: what tells it apart is where they are."""
    picture = PICTURE[:HEIGHT, :WIDTH]
    second = picture[:, ::-1] if other == "mirrored" else PICTURE[:HEIGHT, -WIDTH:] * 0.5
    gains = flickering(12)
    gains[6:] *= 0.8
    frames = film([picture] * 6 + [second] * 6, gains)
    after = restored(steadied(iter(frames)))
    assert np.array_equal(after[:6], restored(steadied(iter(frames[:6]))))
    assert np.array_equal(after[6:], restored(steadied(iter(frames[6:]))))


def lamp(number):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.exp(-((x - 8 * number + 24) ** 2 + (y - 24) ** 2) / 128)[..., None] * 0.8


@pytest.mark.parametrize(
    "change",
    [
        lambda picture, n: picture * max(0, 1 - n / 12),
        lambda picture, n: picture * (1 - n / 40),
        lambda picture, n: picture * (0.6 if n >= 8 else 1),
        lambda picture, n: picture + lamp(n),
        lambda picture, n: PICTURE[:HEIGHT, n // 2 : n // 2 + WIDTH],
    ],
    ids=["fade", "slow fade", "light switched off", "lamp that passes", "pan"],
)
def test_what_does_not_flicker_stays(change):
    frames = film([change(picture, n) for n, picture in enumerate(still(16))])
    assert farthest(frames) > 48  # a level of 255, root mean square


def test_one_frame():
    frames = film(still(1))
    assert np.array_equal(restored(steadied(iter(frames))), restored(frames))
    assert list(steadied(iter(()))) == []


@pytest.mark.parametrize("level", [0, 0.4, 1])
def test_frames_of_one_colour(level):
    source = np.full((HEIGHT, WIDTH, 3), level, np.float32)
    shown = [source * (0.9 if n % 2 else 1) for n in range(12)]
    after = restored(steadied(Frame(n, 1, n / 25, source, image) for n, image in enumerate(shown)))
    assert np.isfinite(after).all() and np.ptp(after, axis=(1, 2)).max() == 0
    assert jumps(after) <= jumps(np.stack(shown)) / 4


def test_results_of_another_size():
    frames = [frame._replace(restored=frame.restored.repeat(2, 0).repeat(2, 1)) for frame in film(still(6))]
    assert restored(steadied(iter(frames))).shape == (6, 2 * HEIGHT, 2 * WIDTH, 3)


def test_begun_anywhere_and_few_frames_are_held():
    frames = film(still(14), flickering(14))
    whole = restored(steadied(iter(frames)))
    later = restored(steadied(iter(frames[7 - REACH :])))
    assert np.array_equal(whole[7:], later[REACH:])
    taken = count()
    results = steadied(frame for frame in frames if next(taken) >= 0)
    next(results)
    assert next(taken) == REACH + 1


# --- as users run it -------------------------------------------------------------------------------------------------


@pytest.fixture
def av():
    return pytest.importorskip("av", reason="the extra [video] is not installed")


def write(av, path, number):
    with av.open(str(path), "w") as writer:
        stream = writer.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in still(number):
            image = np.uint8(picture * 255)
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        writer.mux(stream.encode())


def shown(av, path):
    with av.open(str(path)) as reader:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in reader.decode(video=0)]) / 255


def test_a_video_stopped_in_between_is_steady_at_the_seam(av, tmp_path):
    write(av, tmp_path / "film.mp4", 32)
    gains = flickering(32)

    def network(stop=None):
        """Return what flickers; a frame has the same gain in each call, and `stop` is not reached."""
        numbers = count()

        def restore(image):
            number = next(numbers)
            if number == stop:
                raise KeyboardInterrupt
            return (np.sqrt(image) * gains[number]).clip(0, 1).astype(np.float32)

        return restore

    restore_video(tmp_path / "film.mp4", tmp_path / "plain.mp4", network())
    restore_video(tmp_path / "film.mp4", tmp_path / "whole.mp4", network(), stage=steady())
    assert jumps(shown(av, tmp_path / "whole.mp4")) < jumps(shown(av, tmp_path / "plain.mp4")) / 4
    with pytest.raises(KeyboardInterrupt):
        restore_video(tmp_path / "film.mp4", tmp_path / "again.mp4", network(stop=30), stage=steady())
    gains = gains[24 - REACH :]  # the first piece has 24 frames
    assert restore_video(tmp_path / "film.mp4", tmp_path / "again.mp4", network(), stage=steady()) == 32
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_command(av, make_tiny, tmp_path, monkeypatch):
    import torch

    from vqcnir_arch.restoration import run
    from vqcnir_arch.restoration.video import video_comment

    stages = []
    monkeypatch.setattr(
        run, "restore_video", lambda *a, **given: stages.append(given["stage"]) or restore_video(*a, **given)
    )
    torch.save({"params": make_tiny("VQCNIR").eval().state_dict()}, tmp_path / "net.pth")
    write(av, tmp_path / "film.mp4", 3)
    for extra in ([], ["--steady"]):
        arguments = [str(tmp_path / "film.mp4"), "-w", str(tmp_path / "net.pth"), "-o", str(tmp_path / f"out{extra}")]
        dispatch(["restore", *arguments, "--quiet", "--device", "cpu", *extra])
    assert stages == [None, steady()]
    assert not video_comment(tmp_path / "out[]/film.mp4").endswith("steady")
    assert video_comment(tmp_path / "out['--steady']/film.mp4").endswith("strength 1, steady")


def test_photographs_alone_are_refused(tmp_path):
    from PIL import Image

    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"^--steady is for videos, and no input is one$"):
        dispatch(["restore", str(tmp_path), "--steady"])
