"""`python -m vqcnir_arch.train -opt options/....yml`: BasicSR's train_pipeline on a checked option file."""

import sys

from vqcnir_arch.cli import exit_with_one_line
from vqcnir_arch.launch import run

if __name__ == "__main__":
    exit_with_one_line(lambda: run("train", sys.argv[1:]))
