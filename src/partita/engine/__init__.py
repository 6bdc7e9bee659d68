"""How a part runs: PyTorch modules and ONNX graphs, behind the same few questions."""

from .base import Array, Captured, Learner, Mode, Part, Values, largest_difference

__all__ = ["Array", "Captured", "Learner", "Mode", "Part", "Values", "largest_difference"]
