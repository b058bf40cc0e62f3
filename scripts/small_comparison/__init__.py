"""The parts of `small_figures.py`: the sets of images, the methods, what is measured, what is written."""
