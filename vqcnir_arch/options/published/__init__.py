"""Option files of published projects: known as theirs, and translated into ours.

Each project has a file with its table of rules, `rules.py` applies them, `projects.py` lists the projects.
"""

from vqcnir_arch.options.published.detect import refuse_published

__all__ = ["refuse_published"]
