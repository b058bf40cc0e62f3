from .papers import paper_rows
from .protocols import PROTOCOLS, find_protocol
from .run import Evaluation, evaluate

__all__ = ["PROTOCOLS", "Evaluation", "evaluate", "find_protocol", "paper_rows"]
