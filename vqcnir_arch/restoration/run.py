"""One run of `vqcnir restore`: photographs in batches, whole or in strips, then videos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.atomic_files import make_folder, why_unwritable
from vqcnir_arch.errors import UserError
from vqcnir_arch.memory import is_out_of_memory, keep_no_more
from vqcnir_arch.restoration.attention_time import announcement
from vqcnir_arch.restoration.faces import FaceRestorer, check_aligned
from vqcnir_arch.restoration.inference import blended, restore_tensor
from vqcnir_arch.restoration.inputs import Task
from vqcnir_arch.restoration.photos import Photo, format_of, note, read_photo, resized, write_photo
from vqcnir_arch.restoration.results import as_result
from vqcnir_arch.restoration.steady import steady
from vqcnir_arch.restoration.strips.network import parts, strip_support
from vqcnir_arch.restoration.tiling import GB, Way, restore_within, way
from vqcnir_arch.restoration.video import restore_video


class RestorationRun:
    """Restores files; one that fails is said and counted, the others continue.

    Args:
        net: the network, in eval mode.
        settings: the command's options.
        faces: what restores whole photographs with a network for aligned faces.
        maker: the line that the results carry; None: they carry no metadata.
    """

    bar: tqdm

    def __init__(
        self, net: VQNetwork, settings: argparse.Namespace, faces: FaceRestorer | None, maker: str | None
    ) -> None:
        self.net, self.settings, self.faces, self.maker = net, settings, faces, maker
        self.failed: list[Task] = []
        self.said: set[tuple[int, int] | str] = set()

    def restore_all(self, tasks: Sequence[Task]) -> None:
        """Restore photographs in batches of equal size, videos one by one."""
        tasks = self.writable(tasks)
        for group in self.groups([task for task in tasks if not task.is_video]):
            self.photos(group)
            self.bar.update(len(group))
        for task in tasks:
            if task.is_video:
                with self.counted(task):
                    self.video(task)
                self.bar.update()

    def writable(self, tasks: Sequence[Task]) -> list[Task]:
        """Say and count the files whose results cannot be written, before time is spent on them; return the others."""
        refused: dict[str, list[Task]] = {}
        able = []
        for task in tasks:
            reason = next(filter(None, map(why_unwritable, task.outputs(self.settings.compare))), None)
            if reason is None:
                able.append(task)
            else:
                refused.setdefault(reason, []).append(task)
        for reason, of_reason in refused.items():
            results = f"{len(of_reason)} results" if len(of_reason) > 1 else "a result"
            tqdm.write(f"vqcnir: error: {results} cannot be saved: {reason}", file=sys.stderr)
            self.failed += of_reason
            self.bar.update(len(of_reason))
        return able

    @contextmanager
    def counted(self, task: Task) -> Iterator[None]:
        """Say and count what the user can fix, and continue."""
        try:
            yield
        except UserError as error:
            self.fail(task, str(error))
        except (RuntimeError, MemoryError) as error:
            self.fail_for_memory([task], error)

    def fail(self, task: Task, message: str) -> None:
        """Say and count that a file failed."""
        self.failed.append(task)
        if str(task.source) not in message:
            message = f"'{task.source}' is not restored: {message}"
        tqdm.write(f"vqcnir: error: {message}", file=sys.stderr)

    def fail_for_memory(self, tasks: Sequence[Task], error: BaseException) -> None:
        """Say and count that files failed because memory ran out; any other error goes on."""
        if not is_out_of_memory(error):
            raise error
        for task in tasks:
            self.fail(task, f"image '{task.source}' needs more memory than there is")

    def groups(self, tasks: Sequence[Task]) -> Iterator[list[tuple[Task, Photo]]]:
        """Read photographs and yield neighbours of equal size together."""
        group: list[tuple[Task, Photo]] = []
        for task in tasks:
            photo = None
            with self.counted(task):
                format_of(task.target)  # before minutes go by
                read = read_photo(task.source, self.settings.max_megapixels)
                if self.faces is None:
                    check_aligned(self.net, task.source, read.rgb)
                photo = read
            if photo is None:
                self.bar.update()
                continue
            if group and (len(group) == self.settings.batch or group[0][1].rgb.shape != photo.rgb.shape):
                yield group
                group = []
            group.append((task, photo))
        if group:
            yield group

    def photos(self, group: list[tuple[Task, Photo]]) -> None:
        """Restore and write photographs of one size; those that are too large together one by one, then in strips."""
        if self.faces is not None:
            for task, photo in group:
                with self.counted(task):
                    self.write(task, photo, self.faces(photo.rgb, task.source))
            return
        try:
            images = torch.from_numpy(np.stack([photo.rgb for _, photo in group])).permute(0, 3, 1, 2)
            self.say_time(*images.shape[2:])
            restored = self.whole(images)
        except UserError as error:
            if len(group) == 1:
                self.fail(group[0][0], str(error))
                return
            restored = None  # which of them it is, they show one by one
        except (RuntimeError, MemoryError) as error:
            self.fail_for_memory([task for task, _ in group], error)
            return
        if restored is None and len(group) > 1:
            for entry in group:
                self.photos([entry])
            return
        for i, (task, photo) in enumerate(group):
            with self.counted(task):
                image = self.strips(task, images) if restored is None else restored[i]
                self.write(task, photo, image.permute(1, 2, 0).numpy())

    def say_time(self, height: int, width: int) -> None:
        """Say how long an image takes where that grows faster than its size; once for each size."""
        if (height, width) not in self.said:
            self.said.add((height, width))
            line = announcement(self.net, height, width)
            if line is not None:
                tqdm.write(line, file=sys.stderr)

    def say_once(self, line: str) -> None:
        """Say what holds for each frame of a video."""
        if line not in self.said:
            self.said.add(line)
            tqdm.write(line, file=sys.stderr)

    def whole(self, images: torch.Tensor) -> torch.Tensor | None:
        """Restore images at once; None where they are too large for that."""
        on_cpu = next(self.net.parameters()).device.type == "cpu"
        limit = self.settings.memory * GB if on_cpu else None
        if way(self.net, images, limit, self.settings.tile) is Way.STRIPS:
            return None
        try:
            return restore_tensor(self.net, images, self.settings.precision, self.settings.strength)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            keep_no_more()
            tqdm.write(f"memory ran out for {len(images)} of {images.shape[3]} x {images.shape[2]}", file=sys.stderr)
            return None

    def strips(self, task: Task, image: torch.Tensor) -> torch.Tensor:
        """Restore one image in strips, on the CPU and in float32."""
        if self.settings.tile == "off" or strip_support(self.net) is not None:
            size = f"{image.shape[3]} x {image.shape[2]}"
            raise UserError(f"image '{task.source}' ({size}) needs more memory than there is")
        device = next(self.net.parameters()).device
        rows = self.settings.tile if isinstance(self.settings.tile, int) else None
        with tqdm(
            desc=task.source.name, total=parts(self.net), unit="part", leave=False, disable=self.bar.disable
        ) as bar:
            try:
                result = restore_within(
                    self.net.cpu(),
                    image,
                    self.settings.memory * GB,
                    rows,
                    Path(self.settings.scratch).expanduser() if self.settings.scratch else None,
                    announce=lambda line: self.say_once(f"{task.source}: {line}"),
                    progress=bar.update,
                )
            except UserError as error:
                raise UserError(f"image '{task.source}' cannot be restored: {error}") from error
            finally:
                self.net.to(device)
        if result.near_ties and result.indices is not None and not task.is_video:
            positions = result.indices.numel()
            tqdm.write(
                f"{task.source}: {result.near_ties} of {positions} codes were near ties: rounding may choose others",
                file=sys.stderr,
            )
        return blended(image, result.image.clamp(0, 1), self.settings.strength)[0]

    def write(self, task: Task, photo: Photo, image: np.ndarray) -> None:
        """Write a restored image as its photograph was, and the comparison."""
        make_folder(task.target.parent)
        if self.settings.compare:
            pair = np.concatenate((resized(photo.rgb, image), image), axis=1)
            write_photo(
                task.comparison,
                as_result(Photo(pair, icc=photo.icc, cicp=photo.cicp), pair, self.maker),
            )
        lost = write_photo(task.target, as_result(photo, image, self.maker))
        if lost:
            tqdm.write(note(task.target, lost), file=sys.stderr)

    def video(self, task: Task) -> None:
        """Restore a video, each frame as a photograph of its size."""
        if self.faces is not None:
            raise UserError(f"video '{task.source}': '--faces whole' takes photographs alone")
        if self.maker is None:
            raise UserError(f"video '{task.source}': '--strip-metadata' takes photographs alone")
        make_folder(task.target.parent)

        def frame(rgb: np.ndarray) -> np.ndarray:
            check_aligned(self.net, task.source, rgb)
            images = torch.from_numpy(rgb).permute(2, 0, 1)[None]
            self.say_time(*images.shape[2:])
            restored = self.whole(images)
            image = self.strips(task, images) if restored is None else restored[0]
            return image.permute(1, 2, 0).numpy()

        given = self.settings
        restore_video(
            task.source,
            task.target,
            frame,
            f"{self.maker}, steady" if given.steady else self.maker,
            scale=self.net.scale,
            job=f"{given.precision} {given.padding} {given.fidelity} {given.tile}",
            stage=steady() if given.steady else None,
            max_megapixels=given.max_megapixels,
            comparison=task.comparison if given.compare else None,
            announce=lambda line: tqdm.write(line, file=sys.stderr),
            quiet=self.bar.disable,
        )
