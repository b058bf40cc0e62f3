"""What makes a long run safe: exact resume, whole checkpoints, guarded steps, clean stops, many processes."""

from vqcnir_arch.training.safe_model import SafeForeignTraining, SafeTraining

__all__ = ["SafeForeignTraining", "SafeTraining"]
