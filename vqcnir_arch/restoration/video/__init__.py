"""Videos through PyAV (extra `[video]`): decoded, restored frame by frame, encoded in pieces, joined with all else."""

from vqcnir_arch.restoration.video.containers import VIDEO_ENDINGS, is_video, result_ending, video_comment
from vqcnir_arch.restoration.video.frames import Frame, Stage
from vqcnir_arch.restoration.video.pieces import remove_pieces
from vqcnir_arch.restoration.video.restore import restore_video

__all__ = [
    "VIDEO_ENDINGS",
    "Frame",
    "Stage",
    "is_video",
    "remove_pieces",
    "restore_video",
    "result_ending",
    "video_comment",
]
