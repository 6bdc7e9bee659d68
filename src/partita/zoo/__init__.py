"""What a model reference means, the few networks that no library has, and data from disk."""

from .data import open_data
from .data_augment import parse_augment
from .data_set import DataSet, Normalisation
from .data_torch import as_torch
from .data_vocabulary import Vocabulary
from .load import build, load_function, resolve
from .network import Network
from .reference import FORMS, Reference, parse_reference

__all__ = [
    "FORMS",
    "DataSet",
    "Network",
    "Normalisation",
    "Reference",
    "Vocabulary",
    "as_torch",
    "build",
    "load_function",
    "open_data",
    "parse_augment",
    "parse_reference",
    "resolve",
]
