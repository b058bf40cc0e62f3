"""The published projects whose option files are known; one is added by its module and its place here."""

from vqcnir_arch.options.published import adacode, codeformer, femasr, lednet

PROJECTS = (femasr.PROJECT, adacode.PROJECT, codeformer.PROJECT, lednet.PROJECT)
