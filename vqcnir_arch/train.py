"""`python -m vqcnir_arch.train -opt options/....yml`: BasicSR's train_pipeline on a checked option file."""

import sys

from vqcnir_arch.launch import exit_with_one_line, run

if __name__ == "__main__":
    exit_with_one_line(lambda: run("train", sys.argv[1:]))
