"""Whole photographs through a network for aligned faces: find, align, restore, put back (facexlib)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.inference import restore

RELEASES = "https://github.com/xinntao/facexlib/releases/download"
WEIGHTS = {
    "detection_Resnet50_Final.pth": f"{RELEASES}/v0.1.0/detection_Resnet50_Final.pth",
    "parsing_parsenet.pth": f"{RELEASES}/v0.2.2/parsing_parsenet.pth",
}
SMALLEST_EYE_DISTANCE = 5  # pixels; what is nearer is a face from the side or too small


class FaceRestorer:
    """Restores every face of a photograph, and leaves the rest as it is; in 8 bit, as facexlib works.

    Args:
        net: a network for aligned faces, in eval mode.
        precision: as of `restore_tensor`.
        weights: folder of facexlib's weights; None: facexlib's own.
        strength: as of `restore`, for the faces.

    Raises:
        UserError: the network takes images of any size, or a file of weights is missing.
    """

    def __init__(
        self, net: VQNetwork, precision: str = "fp32", weights: str | None = None, strength: float = 1
    ) -> None:
        if net.fixed_size is None:
            raise UserError(f"{type(net).__name__} restores whole photographs by itself: leave '--faces whole' out")
        try:
            import facexlib
            from facexlib.utils.face_restoration_helper import FaceRestoreHelper
        except ImportError as error:
            raise UserError("whole photographs with faces need facexlib: pip install facexlib") from error
        folder = Path(weights).expanduser() if weights else Path(facexlib.__file__).parent / "weights"
        for name, address in WEIGHTS.items():
            if not (folder / name).is_file():
                raise UserError(
                    f"facexlib's weights are missing: put '{name}' ({address}) at '{folder / name}', or name their "
                    "folder with --face-weights"
                )
        self.net, self.precision, self.strength = net, precision, strength
        self.helper = FaceRestoreHelper(
            1,
            face_size=net.fixed_size,
            use_parse=True,
            device=next(net.parameters()).device,
            model_rootpath=str(folder),
        )

    def __call__(self, rgb: np.ndarray, source: Path) -> np.ndarray:
        """Restore the faces of [H, W, 3] RGB, float in [0, 1].

        Raises:
            UserError: no face is found.
        """
        helper = self.helper
        helper.clean_all()
        helper.read_image(np.ascontiguousarray((rgb * 255).round().astype(np.uint8)[..., ::-1]))
        if helper.get_face_landmarks_5(eye_dist_threshold=SMALLEST_EYE_DISTANCE) == 0:
            raise UserError(f"image '{source}' has no face that is found; if it is aligned already, leave --faces out")
        helper.align_warp_face()
        for face in helper.cropped_faces:
            restored = restore(self.net, np.ascontiguousarray(face[..., ::-1]), self.precision, self.strength)
            helper.add_restored_face(np.ascontiguousarray(restored[..., ::-1]))
        helper.get_inverse_affine()
        return helper.paste_faces_to_input_image()[..., ::-1].astype(np.float32) / 255


def check_aligned(net: VQNetwork, source: Path, rgb: np.ndarray) -> None:
    """Raise `UserError` unless the network takes images of this size, [H, W, 3]."""
    size, (height, width) = net.fixed_size, rgb.shape[:2]
    if size is not None and (height, width) != (size, size):
        raise UserError(
            f"image '{source}' is {width} x {height}, {type(net).__name__} takes aligned faces of {size} x {size}: "
            "align and resize it, or use '--faces whole'"
        )


def set_fidelity(net: VQNetwork, fidelity: float | None) -> None:
    """Set CodeFormer's fidelity weight; None leaves it as its checkpoint says."""
    if fidelity is None:
        return
    if not net.has_fidelity_weight:
        raise UserError(f"--fidelity: {type(net).__name__} has no fidelity weight, only CodeFormer has")
    if not 0 <= fidelity <= 1:
        raise UserError(f"--fidelity: expected a number from 0 to 1, got {fidelity:g}")
    net.w = fidelity
