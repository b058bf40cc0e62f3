"""Option files of published projects: known as theirs, and translated into ours.

Each project has a file with its table of rules; `rules.py` says what a rule can be, `engine.py` applies them, and
`projects.py` lists the projects.
"""

from vqcnir_arch.options.published.detect import refuse_published

__all__ = ["refuse_published"]
