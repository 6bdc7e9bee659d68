"""For tests of Partita and of what plugs into it: contract suites, faulty links, made-up models."""

from .chains import random_chain
from .tiny import TinyModel, TinyPart

__all__ = ["TinyModel", "TinyPart", "random_chain"]
