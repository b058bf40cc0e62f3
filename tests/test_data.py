"""LOLBlurDataset and the making of LOL-Blur-like pairs, on scikit-image's photos."""

import logging
import random
import time

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler
from skimage import data as photos
from torch.utils.data import DataLoader

from vqcnir_arch import UserError
from vqcnir_arch.data import LOLBlurDataset, NightBlurSettings, night_blur_pair, write_lolblur
from vqcnir_arch.data import night_blur as nb
from vqcnir_arch.registry import DATASET_REGISTRY, lookup

WIDTH, HEIGHT = 96, 64
FRAMES = ("0000/0030", "0000/0031", "0001/0030", "0001/0031")


def photo(name, width=320, height=208):
    return cv2.resize(getattr(photos, name)(), (width, height), interpolation=cv2.INTER_AREA)


def make(root, split="test"):
    for seed, (frame, name) in enumerate(zip(FRAMES, ("chelsea", "coffee", "rocket", "astronaut"), strict=True)):
        pair = night_blur_pair(photo(name, WIDTH, HEIGHT), np.random.default_rng(seed))
        write_lolblur(root, split, *frame.split("/"), pair)
    return root


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory):
    """One data set for the tests that only read."""
    root = tmp_path_factory.mktemp("lolblur")
    make(root, "train")
    return make(root, "test")


@pytest.fixture
def root(tmp_path):
    """A data set that the test may break."""
    return make(tmp_path)


def options(root, phase="test", **more):
    return {"name": "Night", "type": "LOLBlurDataset", "dataroot": str(root), "phase": phase, **more}


def refusal(root, phase="test", **more):
    """The one line with which the data set is refused."""
    with pytest.raises(UserError) as caught:
        LOLBlurDataset(options(root, phase, **more))
    message = str(caught.value)
    assert "\n" not in message
    return message


def read_rgb(path):
    return cv2.imread(str(path))[..., ::-1] / np.float32(255)


# LOLBlurDataset: what it gives


def test_registered():
    assert lookup(DATASET_REGISTRY, "LOLBlurDataset") is LOLBlurDataset


def test_sample(shared_root):
    dataset = LOLBlurDataset(options(shared_root))
    assert [dataset[i]["name"] for i in range(len(dataset))] == list(FRAMES)
    sample = dataset[2]
    assert sample["lq_path"] == str(shared_root / "test/low_blur_noise/0001/0030.png")
    assert sample["gt_path"] == str(shared_root / "test/high_sharp_scaled/0001/0030.png")
    for key in ("lq", "gt"):
        assert sample[key].shape == (3, HEIGHT, WIDTH)
        assert sample[key].dtype == torch.float32
        np.testing.assert_array_equal(sample[key].permute(1, 2, 0), read_rgb(sample[f"{key}_path"]))


def test_folders_by_option(shared_root):
    dataset = LOLBlurDataset(options(shared_root, lq_folder="low_blur", gt_folder="high_sharp_original"))
    assert dataset[0]["lq_path"] == str(shared_root / "test/low_blur/0000/0030.png")
    expected = photo("chelsea", WIDTH, HEIGHT) / np.float32(255)
    np.testing.assert_array_equal(dataset[0]["gt"].permute(1, 2, 0), expected)


@pytest.mark.parametrize(("phase", "split"), [("train", "train"), ("val", "test"), ("test", "test")])
def test_split_follows_phase(shared_root, phase, split):
    dataset = LOLBlurDataset(options(shared_root, phase, gt_size=32))
    assert dataset[0]["lq_path"].startswith(str(shared_root / split))


@pytest.mark.parametrize("split", ["", "."])
def test_no_split_level(shared_root, split):
    assert len(LOLBlurDataset(options(shared_root / "test", split=split))) == 4


def test_no_ground_truth(shared_root):
    dataset = LOLBlurDataset(options(shared_root, gt_folder=None))
    assert set(dataset[0]) == {"lq", "lq_path", "name"}


def test_home_folder(shared_root, monkeypatch):
    monkeypatch.setenv("HOME", str(shared_root.parent))
    assert len(LOLBlurDataset(options(f"~/{shared_root.name}"))) == 4


def test_some_frames(shared_root):
    dataset = LOLBlurDataset(options(shared_root, every_nth=2, max_frames=1))
    assert dataset.names == ["0000/0030"]
    assert LOLBlurDataset(options(shared_root, every_nth=2)).names == ["0000/0030", "0001/0030"]


def test_training_crop(shared_root):
    """Crop, flips and turns are the same in input and ground truth, random, and repeatable."""
    opt = options(shared_root, "train", gt_size=48, lq_folder="high_sharp_original", gt_folder="high_sharp_original")
    dataset = LOLBlurDataset(opt)
    random.seed(0)
    crops = [dataset[0] for _ in range(8)]
    for sample in crops:
        assert sample["gt"].shape == (3, 48, 48)
        assert torch.equal(sample["lq"], sample["gt"])
    assert not torch.equal(crops[0]["lq"], crops[1]["lq"])
    random.seed(0)
    assert torch.equal(dataset[0]["lq"], crops[0]["lq"])


def test_training_without_augmentation(shared_root):
    opt = options(shared_root, "train", gt_size=HEIGHT, use_hflip=False, use_rot=False)
    sample = LOLBlurDataset(opt)[0]
    full = torch.from_numpy(read_rgb(sample["gt_path"]).transpose(2, 0, 1).copy())
    assert any(torch.equal(sample["gt"], full[..., x : x + HEIGHT]) for x in range(WIDTH - HEIGHT + 1))


def test_any_ending_and_depth(tmp_path):
    image = photo("coffee", WIDTH, HEIGHT)
    for folder, ending in (("low_blur_noise", ".PNG"), ("high_sharp_scaled", ".jpg")):
        path = tmp_path / "test" / folder / "a.b/c" / f"0.5{ending}"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), image)
        (path.parent / "._0.5.png").write_text("another system's leftover")
        (path.parent / "notes.txt").write_text("no image")
    assert LOLBlurDataset(options(tmp_path)).names == ["a.b/c/0.5"]


@pytest.mark.parametrize("kind", ["grey", "alpha", "16 bit", "16 bit grey"])
def test_unusual_images(root, kind):
    path = root / "test/low_blur_noise/0000/0030.png"
    image = cv2.imread(str(path))
    grey = image[..., 1]
    alpha = np.dstack([image, np.zeros_like(grey)])
    wide = image.astype(np.uint16) * 257
    cv2.imwrite(str(path), {"grey": grey, "alpha": alpha, "16 bit": wide, "16 bit grey": wide[..., 1]}[kind])
    expected = np.dstack([grey] * 3) if "grey" in kind else image[..., ::-1]
    lq = LOLBlurDataset(options(root))[0]["lq"]
    np.testing.assert_array_equal(lq.permute(1, 2, 0), expected / np.float32(255))


def test_log_line(shared_root, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("basicsr"), "propagate", True)
    with caplog.at_level(logging.INFO, "basicsr"):
        LOLBlurDataset(options(shared_root, max_frames=3))
    assert "3 of 4 frames" in caplog.text
    assert "low_blur_noise -> high_sharp_scaled" in caplog.text


# LOLBlurDataset: what it refuses


def test_unknown_option(shared_root):
    assert "no option 'gt_foldr' (did you mean 'gt_folder'?)" in refusal(shared_root, gt_foldr="x")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"io_backend": {"type": "hdf5"}}, "io_backend: type: input should be 'disk' or 'lmdb', got 'hdf5'"),
        ({"scale": 2}, "scale: input should be 1, got 2"),
        ({"every_nth": 0}, "every_nth: input should be greater than 0, got 0"),
        ({"gt_size": "large"}, "gt_size: "),
        ({"phase": "training"}, "phase: input should be 'train', 'val' or 'test', got 'training'"),
    ],
)
def test_wrong_value(shared_root, more, expected):
    assert expected in refusal(shared_root, **more)


def test_missing_dataroot():
    with pytest.raises(UserError, match="dataroot is missing"):
        LOLBlurDataset({"name": "Night"})


def test_training_needs_crop_and_ground_truth(shared_root):
    assert "gt_size is missing" in refusal(shared_root, "train")
    assert "gt_folder is ~" in refusal(shared_root, "train", gt_size=32, gt_folder=None)


def test_missing_folders(shared_root):
    wrong = shared_root.with_name(shared_root.name[:-1])
    assert f"dataroot '{wrong}' does not exist (did you mean '{shared_root.name}'?)" in refusal(wrong)
    assert "split '" in refusal(shared_root, split="tset")
    assert "(did you mean 'test'?)" in refusal(shared_root, split="tset")
    assert "(did you mean 'low_blur_noise'?)" in refusal(shared_root, lq_folder="low_blur_nois")
    assert "gt_folder '" in refusal(shared_root, gt_folder="high_sharp")
    assert "dataroot '/nowhere/at/all' does not exist" in refusal("/nowhere/at/all")


def test_file_in_place_of_folder(root):
    (root / "test/low").write_text("")
    assert "is a file, expected a folder" in refusal(root, lq_folder="low")


def test_empty_folder(root):
    (root / "test/empty/0000").mkdir(parents=True)
    assert "has no images (looked for .png, " in refusal(root, lq_folder="empty")


def test_pairs_that_lack_a_partner(root):
    scaled = root / "test/high_sharp_scaled"
    for frame in ("0030", "0031"):
        (scaled / f"0000/{frame}.png").rename(scaled / f"0000/1{frame}.png")
    (scaled / "0001/0030.png").unlink()
    (scaled / "0001/0031.png").unlink()
    message = refusal(root)
    assert "4 inputs and 2 ground truths do not pair" in message
    assert "4 without ground truth (0000/0030, 0000/0031, 0001/0030, ...)" in message
    assert "2 without input (0000/10030, 0000/10031)" in message


def test_same_frame_in_other_video_is_no_pair(root):
    (root / "test/high_sharp_scaled/0001").rename(root / "test/high_sharp_scaled/0002")
    assert "2 without ground truth (0001/0030, 0001/0031); 2 without input (0002/0030, 0002/0031)" in refusal(root)


def test_two_endings_of_one_name(root):
    folder = root / "test/low_blur_noise/0000"
    (folder / "0030.jpg").write_bytes((folder / "0030.png").read_bytes())
    assert "differ only in their ending" in refusal(root)


@pytest.mark.parametrize("content", ["empty", "truncated", "text", "gone"])
def test_unreadable_image(root, content):
    dataset = LOLBlurDataset(options(root))
    path = root / "test/high_sharp_scaled/0000/0030.png"
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"no image", "gone": b""}[content])
    if content == "gone":
        path.unlink()
    with pytest.raises(UserError, match=f"image '{path}' cannot be read"):
        dataset[0]


def test_sizes_of_a_pair_differ(root):
    path = root / "test/high_sharp_scaled/0000/0030.png"
    cv2.imwrite(str(path), cv2.imread(str(path))[:-1])
    with pytest.raises(
        UserError, match=r"low_blur_noise/0000/0030.png' is 96 x 64, '.*scaled/0000/0030.png' is 96 x 63"
    ):
        LOLBlurDataset(options(root))[0]


def test_crop_larger_than_image(shared_root):
    dataset = LOLBlurDataset(options(shared_root, "train", gt_size=65))
    with pytest.raises(UserError, match=r"image '.*0030.png' is 96 x 64, smaller than gt_size 65"):
        dataset[0]


# LOLBlurDataset inside BasicSR and PyTorch


def test_basicsr_builds_it(shared_root):
    opt = options(
        shared_root, "train", gt_size=32, use_hflip=True, use_rot=True, scale=1, io_backend={"type": "disk"},
        use_shuffle=True, num_worker_per_gpu=0, batch_size_per_gpu=2, dataset_enlarge_ratio=3, prefetch_mode=None,
        pin_memory=False, persistent_workers=False, num_prefetch_queue=2,
    )  # fmt: skip
    dataset = build_dataset(opt)
    loader = build_dataloader(dataset, opt, num_gpu=0, sampler=EnlargedSampler(dataset, 1, 0, 3), seed=0)
    batches = list(loader)
    assert len(batches) == 6
    assert batches[0]["lq"].shape == batches[0]["gt"].shape == (2, 3, 32, 32)
    assert loader.dataset.opt["name"] == "Night"

    validation = build_dataloader(build_dataset(options(shared_root, "val")), options(shared_root, "val"))
    assert [sample["name"] for sample in validation] == [[name] for name in FRAMES]


def test_spawned_workers(root):
    dataset = LOLBlurDataset(options(root))
    path = root / "test/low_blur_noise/0001/0031.png"
    path.write_bytes(b"")
    loader = iter(DataLoader(dataset, num_workers=2, multiprocessing_context="spawn"))
    for _ in range(3):
        sample = next(loader)
        assert torch.equal(sample["lq"][0], dataset[FRAMES.index(sample["name"][0])]["lq"])
    with pytest.raises(UserError, match=f"UserError: image '{path}' cannot be read"):
        next(loader)


# night_blur


def test_same_seed_same_bytes():
    image = photo("chelsea")
    first, second, third = (night_blur_pair(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for version in nb.LAYOUT:
        a, b = getattr(first, version), getattr(second, version)
        assert a.dtype == np.uint8
        assert a.shape == image.shape
        assert a.tobytes() == b.tobytes()
    assert first.low_blur_noise.tobytes() != third.low_blur_noise.tobytes()
    np.testing.assert_array_equal(first.high_sharp_original, image)
    scaled = image * first.draws["brightness"]
    assert abs(first.high_sharp_scaled - scaled).max() <= 0.5 + 1e-9


def test_identity():
    """At its own exposure and with the camera at rest, the photo stays as it is."""
    image = photo("coffee")
    level = nb.lightness(image / 255)
    own = float(level[level <= nb.SATURATED].mean())
    settings = NightBlurSettings(exposure=(own, own), max_length=(0, 0), unclip=(0, 0))
    pair = night_blur_pair(image, np.random.default_rng(0), settings)
    assert abs(pair.low_blur.astype(int) - image).max() <= 1
    assert pair.draws["kernel"].tolist() == [[1]]


@pytest.mark.parametrize("exposure", [0.02, 0.05, 0.16])
def test_darken(exposure):
    image = photo("astronaut") / 255
    level = nb.lightness(image)
    saturated = level > nb.SATURATED
    dark, amount = nb.darken(image, exposure)
    assert nb.darkening_curve(level[~saturated], amount).mean() == pytest.approx(exposure, rel=1e-3)
    # the ratio of L is applied to sRGB values, whose L it meets only roughly
    assert nb.lightness(dark)[~saturated].mean() == pytest.approx(exposure, rel=0.35)
    np.testing.assert_allclose(dark[saturated], image[saturated], rtol=1e-6)
    assert (dark <= image + 1e-6).all()


def test_darken_leaves_darker_and_flat_images():
    image = photo("rocket") / 255
    np.testing.assert_allclose(nb.darken(image, 0.9)[0], image, atol=1e-6)
    for value in (0.0, 1.0):
        flat = np.full((8, 8, 3), value)
        np.testing.assert_allclose(nb.darken(flat, 0.1)[0], flat, atol=1e-6)


@pytest.mark.parametrize("max_length", [0, 0.3, 5, 60, 300])
def test_motion_kernel(max_length):
    for seed in range(5):
        kernel = nb.motion_kernel(np.random.default_rng(seed), max_length)
        assert kernel.sum() == pytest.approx(1)
        assert kernel.min() >= 0
        size = len(kernel)
        assert kernel.shape == (size, size)
        assert size % 2 == 1
        assert kernel[size // 2, size // 2] > 0
        assert size <= max_length + 3
        # connected: no row of dots
        assert cv2.connectedComponents((kernel > 0).astype(np.uint8))[0] == 2


def test_no_motion_is_a_delta():
    assert nb.motion_kernel(np.random.default_rng(0), 0).tolist() == [[1]]
    image = photo("chelsea", 64, 48) / 255
    np.testing.assert_array_equal(nb.blur(image, np.ones((1, 1))), image)


def test_middle_of_the_exposure_is_at_the_centre(monkeypatch):
    """A camera at rest for half the exposure: half of the light stays in place, the rest goes to one side."""
    path = np.concatenate([np.zeros(33), np.linspace(0, 8, 33)[1:]]).astype(complex)
    monkeypatch.setattr(nb, "camera_path", lambda rng, max_length: path)
    kernel = nb.motion_kernel(np.random.default_rng(0), 8)
    assert kernel.shape == (17, 17)
    assert kernel[8, 8] == pytest.approx(0.54, abs=0.03)
    assert kernel[8, 8:].sum() == pytest.approx(1)


def test_path_length():
    path = nb.camera_path(np.random.default_rng(3), 40.0)
    assert abs(np.diff(path)).sum() == pytest.approx(40)


def test_lamps_leave_streaks_and_sky_does_not():
    night = np.full((64, 64, 3), 0.1)
    night[30:33, 30:33] = 1
    mask = nb.lamps(night, 0.01)
    assert mask.sum() == 9
    kernel = np.full((1, 9), 1 / 9)
    streaks = [nb.encode(nb.blur(nb.unclipped_light(night, mask, level), kernel))[31, 27, 0] for level in (0, 100)]
    assert streaks[1] > 1.3 * streaks[0]
    night[:20] = 1
    assert nb.lamps(night, 0.01).sum() == 0


def test_noise_has_its_variance():
    light = np.full((128, 128, 3), 0.02)
    noise = nb.sensor_noise(np.random.default_rng(0), light, 1e-4, 1e-8, demosaic=0)
    assert noise.var() == pytest.approx(1e-4 * 0.02 + 1e-8, rel=0.03)
    smooth = nb.sensor_noise(np.random.default_rng(0), light, 1e-4, 1e-8, demosaic=0.7)
    assert smooth.std() < 0.6 * noise.std()


def test_statistics_are_those_of_lolblur():
    """Dark, hardly saturated, hardly noisy: measured on LOL-Blur's published samples."""
    rng = np.random.default_rng(0)
    images = [photo(name, 160, 104) for name in ("chelsea", "coffee", "rocket", "astronaut")]
    pairs = [night_blur_pair(images[i % 4], rng) for i in range(80)]
    level = [100 * nb.lightness(pair.low_blur_noise / 255).mean() for pair in pairs]
    saturated = [(pair.low_blur_noise.min(axis=2) >= 250).mean() for pair in pairs]
    noise = [(pair.low_blur_noise.astype(float) - pair.low_blur).std() for pair in pairs]
    assert 4 < np.median(level) < 14
    assert np.percentile(level, 5) > 1.5
    assert np.percentile(level, 95) < 18
    assert np.median(saturated) < 0.01
    assert 0.4 < np.median(noise) < 1.2


def test_some_cameras_are_at_rest():
    image = photo("chelsea", 32, 24)
    rng = np.random.default_rng(0)
    at_rest = [night_blur_pair(image, rng).draws["max_length"] == 0 for _ in range(100)]
    assert 3 <= sum(at_rest) <= 20


def test_small_and_wide_images():
    for shape in ((1, 1, 3), (5, 400, 3)):
        pair = night_blur_pair(np.full(shape, 128, np.uint8), np.random.default_rng(0))
        assert pair.low_blur_noise.shape == shape


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_wrong_photo(wrong):
    with pytest.raises(UserError, match=r"expected an image \[H, W, 3\] of uint8"):
        night_blur_pair(wrong, np.random.default_rng(0))


def test_writing(tmp_path):
    pair = night_blur_pair(photo("coffee", WIDTH, HEIGHT), np.random.default_rng(0))
    write_lolblur(tmp_path, "train", "0007", "0042", pair)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == [f"train/{version}/0007/0042.png" for version in sorted(nb.LAYOUT)]
    for version in nb.LAYOUT:
        written = cv2.imread(str(tmp_path / f"train/{version}/0007/0042.png"))[..., ::-1]
        np.testing.assert_array_equal(written, getattr(pair, version))


def test_speed():
    image = photo("astronaut", 512, 512)
    night_blur_pair(image, np.random.default_rng(0))
    start = time.process_time()
    night_blur_pair(image, np.random.default_rng(0), NightBlurSettings(no_motion=0))
    assert time.process_time() - start < 2  # 0.1 s of wall time on two cores; the bound is for a busy machine
