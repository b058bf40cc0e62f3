"""A local web page to try checkpoints on photographs (extra `[serve]`)."""
