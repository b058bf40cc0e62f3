"""Networks on images that do not fit into memory: every layer in strips."""
