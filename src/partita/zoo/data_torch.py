"""A data set for torch's DataLoader.

Rules: torch is imported on first use; samples are those of the data set, as tensors, a record as a dictionary of them;
loader processes can have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from .data_set import DataSet

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TorchData:
    """What a DataLoader asks for: a length and samples by position."""

    dataset: DataSet

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> tuple[torch.Tensor | dict[str, torch.Tensor], Any]:
        import torch

        sample, label = self.dataset[position]
        # A copy: what is mapped from disk or held for others must not be written to.
        if sample.dtype.names is not None:
            return {name: torch.tensor(sample[name]) for name in sample.dtype.names}, label
        return torch.tensor(sample), label


def as_torch(dataset: DataSet) -> TorchData:
    """A map-style data set for torch.utils.data.DataLoader. Broken samples are left out first, if they may be."""
    if find_spec("torch") is None:
        raise MissingExtra("torch", extra="torch", purpose="a data set for a DataLoader")
    return TorchData(dataset.sound() if dataset.skip_broken else dataset)
