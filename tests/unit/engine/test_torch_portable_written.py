"""What does not travel as data is refused where it is, with the operator's name and the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_portable import pack_torch, unpack_torch
from partita.errors import CannotCapture

X = torch.linspace(-1, 1, 32).reshape(4, 8)


class Calls(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x) * 2


@pytest.fixture
def custom() -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    library = torch.library.Library("partita_test", "DEF")  # type: ignore[no-untyped-call]
    library.define("twice(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
    library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake("partita_test::twice", torch.empty_like, lib=library)
    yield torch.ops.partita_test.twice
    library._destroy()  # type: ignore[no-untyped-call]


def test_an_operator_of_the_users_own_is_refused(custom: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """The other side does not have it."""
    with pytest.raises(
        CannotCapture, match=r"Calls uses the operator 'partita_test\.twice\.default'"
    ) as caught:
        pack_torch(capture_torch(Calls(custom), (X,)))

    assert "--model" in caught.value.fix


def test_branches_are_refused() -> None:
    """Control flow holds graphs of its own."""

    def branch(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))

    with pytest.raises(CannotCapture, match="uses the operator 'cond', which does not travel as data"):
        pack_torch(capture_torch(Calls(branch), (X,)))


def test_an_operator_that_trusts_its_arguments_is_refused() -> None:
    """It would crash the other side, if it were not one of ours that asks."""
    module = nn.EmbeddingBag(10, 4)
    with pytest.raises(CannotCapture, match="embedding_bag"):
        pack_torch(capture_torch(module, (torch.tensor([[1, 2], [3, 4]]),)))


def test_devices_are_not_written_down() -> None:
    """The graph runs where it is unpacked."""
    here = capture_torch(Calls(lambda x: x + torch.arange(8, device="cpu").to(x.device)), (X,))

    assert pack_torch(here).count(b"cpu") == torch.__version__.count("cpu")
    there = unpack_torch(pack_torch(here), device=torch.device("cpu"))
    assert there.device.type == "cpu"


def test_regions_in_regions_travel() -> None:
    """`no_grad` in autocast, with a size of the batch inside."""

    def nested(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                y = x @ x.t()
            return (y @ x).float() + x

    here = capture_torch(Calls(nested), (X,), mode="train")
    there = unpack_torch(pack_torch(here))
    values = here.example(6)

    assert here.whole(values)["output"].tobytes() == there.whole(values)["output"].tobytes()
    assert pack_torch(there) == pack_torch(here)
