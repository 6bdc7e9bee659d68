"""The options that name a model: the same for every verb that takes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..errors import BadDocument, UnboundDimension
from ..graph import Chain, TensorSpec, parse_tensor

if TYPE_CHECKING:
    from ..engine import Captured

# A model traced with a batch of one takes it for a constant.
SMALLEST_OPEN = 2


@Parameter(name="*")
@dataclass(frozen=True)
class ModelOptions:
    """How to read the model.

    Parameters
    ----------
    batch
        The batch size to think in; also the value of the dimension `batch`.
    depth
        The deepest module level to cut at; the finest that stays readable if not given.
    dim
        A value for an open dimension, like seq=128; may be given several times.
    input
        An example input, like x:float32[1,3,224,224]; may be given several times.
    weights
        A safetensors file with the model's state; random weights from --seed if not given.
    seed
        The seed of random weights and made-up inputs.
    threads
        How many threads the engine may use; all that it takes by itself if not given.
    """

    batch: Annotated[int, Parameter(alias="-b")] = 1
    depth: int | None = None
    dim: tuple[str, ...] = field(default=())
    input: tuple[str, ...] = field(default=())
    weights: Path | None = None
    seed: int = 0
    threads: int | None = None

    def dims(self) -> dict[str, int]:
        """The open dimensions that were given values."""
        values: dict[str, int] = {}
        problems = []
        for text in self.dim:
            name, _, value = text.rpartition("=")
            if not name or not value.isdigit():
                problems.append(f"{text!r} is not NAME=NUMBER")
            else:
                values[name] = int(value)
        for option, number in (("--batch", self.batch), ("--depth", self.depth), ("--threads", self.threads)):
            if number is not None and number < 1:
                problems.append(f"{option}: {number} is not a positive number")
        if problems:
            raise BadDocument(
                "model options", problems, fix="write them like --dim seq=128 --batch 8 --depth 2"
            )
        return values

    def known(self, chain: Chain) -> Mapping[str, int]:
        """Values of open dimensions: the batch, and what was given."""
        known = {"batch": self.batch, **self.dims()}
        # A single open dimension that nobody named is the batch, whatever the exporter called it.
        first = next((t.shape[0] for n in chain.inputs if (t := chain.tensors[n]).shape), None)
        if isinstance(first, str) and first not in known:
            known[first] = self.batch
        return known

    def bind(self, chain: Chain) -> Mapping[str, int]:
        """A value for every open dimension of the chain, or a clear refusal."""
        known = self.known(chain)
        missing = sorted(chain.symbols - known.keys())
        if missing:
            raise UnboundDimension(
                f"the model has open dimensions without a value: {', '.join(missing)}",
                fix="give them: " + " ".join(f"--dim {name}=1" for name in missing),
            )
        return known

    def words(self, reference: str) -> list[str]:
        """The same model as command-line words, for another process."""
        words = [reference, "--batch", str(self.batch), "--seed", str(self.seed)]
        single = (("--depth", self.depth), ("--weights", self.weights), ("--threads", self.threads))
        for name, value in single:
            words += [name, str(value)] if value is not None else []
        for name, several in (("--dim", self.dim), ("--input", self.input)):
            for text in several:
                words += [name, text]
        return words

    def specs(self) -> tuple[TensorSpec, ...]:
        """The example inputs that were described."""
        return tuple(parse_tensor(text) for text in self.input)

    def capture(self, reference: str) -> Captured:
        """The model behind a reference, captured."""
        from ..profile import steady_heap, with_threads
        from ..zoo import resolve

        # Before the first tensor: parts must take the same time in every process that measures or runs them.
        steady_heap()

        dims = self.dims()

        def traced(batch: int) -> Captured:
            return resolve(
                reference,
                batch=batch,
                depth=self.depth,
                dims=dims,
                inputs=self.specs(),
                weights=self.weights,
                seed=self.seed,
            )

        captured = traced(SMALLEST_OPEN)
        if self.batch > SMALLEST_OPEN and not captured.chain.symbols:
            # Its batch could not be left open: it is the one that was asked for.
            captured = traced(self.batch)
        if self.threads is not None:
            captured = with_threads(captured, self.threads)
        return captured


def slowness(texts: tuple[str, ...], places: tuple[str, ...]) -> dict[str, float]:
    """`edge=8` as a factor by place."""
    found: dict[str, float] = {}
    problems = []
    for text in texts:
        place, _, value = text.partition("=")
        try:
            found[place] = float(value)
        except ValueError:
            found[place] = 0.0
        if place not in places or not 1 <= found[place] < float("inf"):
            problems.append(
                f"{text!r} is not PLACE=FACTOR with PLACE one of {', '.join(places)} and a factor of 1 or more"
            )
    if problems:
        raise BadDocument("--slow", problems, fix="write it like --slow edge=8")
    return found
