"""What a model is: tensors, stages, chains, cuts and what they cost. Standard library only."""

from .chain import GIVEN, Chain
from .cost import CodecCost, Device, Energy, Profile, StageCost, Timing, Work
from .cost_text import parse_profile, print_profile
from .cut import Cut
from .dim import Dim, evaluate, symbols
from .document import dump, kind_of, load
from .link import Link, parse_link
from .quantity import parse_rate, parse_seconds, parse_size, print_rate, print_seconds, print_size
from .stage import Stage
from .tensor import DType, TensorSpec, bytes_formula
from .text import (
    Scanner,
    parse_chain,
    parse_cut,
    parse_stage,
    parse_tensor,
    print_chain,
    print_cut,
    print_stage,
    print_tensor,
    quote,
)

__all__ = [
    "GIVEN",
    "Chain",
    "CodecCost",
    "Cut",
    "DType",
    "Device",
    "Dim",
    "Energy",
    "Link",
    "Profile",
    "Scanner",
    "Stage",
    "StageCost",
    "TensorSpec",
    "Timing",
    "Work",
    "bytes_formula",
    "dump",
    "evaluate",
    "kind_of",
    "load",
    "parse_chain",
    "parse_cut",
    "parse_link",
    "parse_profile",
    "parse_rate",
    "parse_seconds",
    "parse_size",
    "parse_stage",
    "parse_tensor",
    "print_chain",
    "print_cut",
    "print_profile",
    "print_rate",
    "print_seconds",
    "print_size",
    "print_stage",
    "print_tensor",
    "quote",
    "symbols",
]
