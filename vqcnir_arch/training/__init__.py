"""What makes a long run safe: exact resume, whole checkpoints, guarded steps, clean stops, many processes."""
