"""What the slice verbs share: how the model is read, which platform it is for, what the inputs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zipfile import BadZipFile
from zlib import error as ZlibError  # noqa: N812 - the library's own spelling

from cyclopts import Parameter

from ..engine import Array, Values
from ..errors import BadDocument, NotFound
from ..graph import Profile, parse_size
from ..plan import Platform, load_platforms, pick, platforms
from ..slice import TIMED, Objective, Prepared, SliceQuestion, Transport, Wish, capture, measured
from .files import read_noun, read_text
from .model import ModelOptions

if TYPE_CHECKING:
    from ..engine.onnx_model import OnnxModel


@Parameter(name="*")
@dataclass(frozen=True)
class SliceOptions:
    """For whom, and how.

    Parameters
    ----------
    platform
        Where the slices shall run: a name such as aws-lambda (see docs/platforms.md), or one of --platforms.
    platforms
        A TOML file with platforms of your own.
    slices
        How many slices; as few as the platform allows if not given.
    objective
        What to make small: slices (as few as possible, then balanced, then the fewest bytes), latency, memory (of the
        slice that needs most), payload (the bytes that cross), cost, or throughput (the slowest slice).
    transport
        How tensors travel: inline in the event, through the store, or auto: inline what fits.
    batch
        The batch size to think in; also the value of an open first dimension.
    dim
        A value for an open dimension, like seq=128; may be given several times.
    optimize
        How far ONNX Runtime may optimise the whole model before it is cut: none, basic, extended; auto is extended
        where this machine's memory allows it.
    memory
        The memory of every function, like 1769MiB; as much as each slice needs if not given.
    cold
        Count the first call, with starting and loading, instead of a warm one.
    slack
        How much larger than possible the largest slice may be where that makes fewer bytes cross.
    no_prepack
        Map weights as they lie in the file instead of rearranging them at load: less memory, slower products.
    profile
        A profile of the prepared model; measured here where the objective asks for time, or with --measure.
    measure
        Measure the stages on this machine.
    threads
        How many threads to measure with; all if not given.
    """

    platform: str = "process"
    platforms: Path | None = None
    slices: int | None = None
    objective: Objective = "slices"
    transport: Transport = "auto"
    batch: Annotated[int, Parameter(alias="-b")] = 1
    dim: tuple[str, ...] = field(default=())
    optimize: Wish = "auto"
    memory: str = ""
    cold: bool = False
    slack: float = 0.10
    no_prepack: bool = False
    profile: Path | None = None
    measure: bool = False
    threads: int | None = None

    def dims(self) -> dict[str, int]:
        """The open dimensions that were given values."""
        if self.threads is not None and self.threads < 1:
            raise BadDocument(
                "slice options",
                [f"--threads: {self.threads} is not a positive number"],
                fix="leave it out for all",
            )
        return ModelOptions(batch=self.batch, dim=self.dim).dims()

    def place(self) -> Platform:
        """The platform that was named."""
        own = {}
        if self.platforms is not None:
            text = read_text(self.platforms, "platforms", fix="see docs/platforms.md for the format")
            own = load_platforms(text, name=str(self.platforms), known=platforms())
        return pick(self.platform, own)

    def question(self, slices: int | None = None) -> SliceQuestion:
        """What is asked of the planner."""
        return SliceQuestion(
            platform=self.place(),
            slices=slices if slices is not None else self.slices,
            objective=self.objective,
            transport=self.transport,
            batch=self.batch,
            dims=self.dims(),
            slack=self.slack,
            cold=self.cold,
            prepack=not self.no_prepack,
            function_memory=parse_size(self.memory) if self.memory else None,
        )

    def capture(self, path: Path, example: Mapping[str, Array] | None = None) -> Prepared:
        """The model, prepared as far as that does not depend on the platform."""
        return capture(path, example=example, optimize=self.optimize)

    def clock(self) -> Callable[[OnnxModel], Profile] | None:
        """Where seconds come from: a file, this machine, or nowhere."""
        if self.profile is not None:
            taken = read_noun(Profile, self.profile, fix="leave it out, and it is measured here")
            return lambda _: taken
        if self.measure or self.objective in TIMED:
            return measured(self.threads or 0, self.batch)
        return None


def read_inputs(path: Path | None, names: tuple[str, ...]) -> Values | None:
    """Inputs from a .npz file by name, or from a .npy file where there is one input."""
    import numpy as np

    if path is None:
        return None
    fix = f"write one: numpy.savez('inputs.npz', **{{{', '.join(f'{n!r}: ...' for n in names)}}})"
    if not path.is_file():
        raise NotFound(f"there is no file {path}", fix=fix)
    # Opened here: numpy leaves a file open that turns out to be no archive.
    try:
        with path.open("rb") as file:
            held = np.load(file, allow_pickle=False)
            if not isinstance(held, np.ndarray):
                return {name: held[name] for name in held.files}
    except (ValueError, OSError, EOFError, BadZipFile, ZlibError) as error:
        raise BadDocument(f"inputs {str(path)!r}", [f"cannot be read: {error}"], fix=fix) from None
    if len(names) != 1:
        raise BadDocument(
            f"inputs {str(path)!r}", [f"one array for {len(names)} inputs: {', '.join(names)}"], fix=fix
        )
    return {names[0]: held}


def counts(text: str) -> tuple[int, ...]:
    """`1..12` or `1,2,5` as numbers of slices."""
    found: list[int] = []
    for word in text.split(","):
        low, dots, high = word.strip().partition("..")
        ends = [low, high] if dots else [low, low]
        fine = all(end.isascii() and end.isdecimal() and len(end) < 5 for end in ends)
        if not fine or not 1 <= int(ends[0]) <= int(ends[1]):
            raise BadDocument(
                "--slices", [f"{word!r} is no number or range of numbers"], fix="write it like --slices 1..12"
            )
        found += range(int(ends[0]), int(ends[1]) + 1)
    return tuple(dict.fromkeys(found))
