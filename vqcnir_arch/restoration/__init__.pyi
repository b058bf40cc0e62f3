from .inference import restore, restore_tensor

__all__ = ["restore", "restore_tensor"]
