"""The short text form of tensors, stages, cuts, chains and profiles: printed for people, parsed back.

Rules: what is printed parses back to an equal value; a name that is not plain is quoted as in JSON; one noun
is one line, and a chain or profile is a block of such lines under a head that names it.

    x:float32[batch,3,32,32]
    conv1(x, mask) -> h1, skip | w, b | ops=3
    cut 5 | layer1.0 -> layer1.1 | h:float32[batch,64,8,8], mask:bool[batch] | shared=emb | because="..."
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from ..errors import BadDocument
from .chain import Chain
from .cut import Cut
from .dim import Dim
from .stage import Stage
from .tensor import DType, TensorSpec

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_.:/+\-]*\Z")
_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<arrow>->)|(?P<mark>[()\[\]|,=:;@?])|(?P<word>[^\s()\[\]|,=:;@?"]+))'
)
_END = ("", "")


def quote(name: str) -> str:
    return (
        name
        if _PLAIN.match(name) and "->" not in name and ":" not in name
        else json.dumps(name, ensure_ascii=False)
    )


class Scanner:
    """Tokens of one line. Every complaint names the line and the place in it."""

    def __init__(self, line: str, what: str) -> None:
        self._line, self._what = line, what
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(line.rstrip()):
            match = _TOKEN.match(line, at)
            if match is None:
                raise self.error(f"cannot read {line[at : at + 20]!r}")
            kind = match.lastgroup or ""
            self._tokens.append((kind, match[kind]))
            at = match.end()
        self._at = 0

    def error(self, problem: str) -> BadDocument:
        return BadDocument(self._what, [f"{problem} in {self._line.strip()!r}"], fix="print one and compare")

    def peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def take(self) -> tuple[str, str]:
        token = self._tokens[self._at] if self._at < len(self._tokens) else _END
        self._at += 1
        return token

    def accept(self, mark: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][1] == mark:
            self._at += 1
            return True
        return False

    def expect(self, mark: str) -> None:
        if not self.accept(mark):
            raise self.error(f"expected {mark!r}, found {self.peek() or 'the end'!r}")

    def done(self) -> None:
        if self._at < len(self._tokens):
            raise self.error(f"did not expect {self.peek()!r}")

    def name(self) -> str:
        kind, text = self.take()
        if kind == "text":
            try:
                return str(json.loads(text))
            except json.JSONDecodeError:
                raise self.error(f"cannot read the quoted name {text}") from None
        if kind != "word":
            raise self.error(f"expected a name, found {text or 'the end'!r}")
        return text

    def names(self, stop: str) -> tuple[str, ...]:
        """Names with commas between them, up to a mark (or the end), which is left in place."""
        if self.peek() in (stop, "|", ""):
            return ()
        found = [self.name()]
        while self.accept(","):
            found.append(self.name())
        return tuple(found)

    def number(self) -> float:
        text = self.name()
        try:
            return float(text)
        except ValueError:
            raise self.error(f"expected a number, found {text!r}") from None

    def numbers(self) -> tuple[float, ...]:
        """Numbers with commas between them, up to the end."""
        found = [self.number()]
        while self.accept(","):
            found.append(self.number())
        return tuple(found)

    def whole(self) -> int:
        text = self.name()
        if not re.fullmatch(r"-?[0-9]+", text):
            raise self.error(f"expected a whole number, found {text!r}")
        return int(text)


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(quote, names))


def print_tensor(tensor: TensorSpec) -> str:
    """`x:float32[batch,3,32,32]`; `[?]` where even the rank is unknown."""
    dims = (
        "?"
        if tensor.shape is None
        else ",".join(str(d) if isinstance(d, int) else quote(d) for d in tensor.shape)
    )
    return f"{quote(tensor.name)}:{tensor.dtype}[{dims}]"


def parse_tensor(text: str) -> TensorSpec:
    """The tensor that `print_tensor` printed."""
    scanner = Scanner(text, "tensor")
    tensor = _tensor(scanner)
    scanner.done()
    return tensor


def _tensor(scanner: Scanner) -> TensorSpec:
    name = scanner.name()
    scanner.expect(":")
    dtype = scanner.name()
    if dtype not in set(DType):
        raise scanner.error(f"{dtype!r} is not an element type")
    scanner.expect("[")
    if scanner.accept("?"):
        scanner.expect("]")
        return TensorSpec(name, DType(dtype), None)
    dims: list[Dim] = []
    while not scanner.accept("]"):
        if dims:
            scanner.expect(",")
        kind, text = scanner.take()
        if kind not in ("word", "text"):
            raise scanner.error(f"expected a dimension, found {text or 'the end'!r}")
        dims.append(json.loads(text) if kind == "text" else int(text) if text.lstrip("-").isdigit() else text)
    return TensorSpec(name, DType(dtype), tuple(dims))


def print_stage(stage: Stage) -> str:
    """`conv1(x) -> h1 | w, b | ops=3`."""
    kind = f" kind={quote(stage.kind)}" if stage.kind else ""
    head = f"{quote(stage.name)}({_names(stage.inputs)}) -> {_names(stage.outputs)}"
    return f"{head} | {_names(stage.params)} | ops={stage.ops}{kind}"


def parse_stage(text: str) -> Stage:
    """The stage that `print_stage` printed."""
    scanner = Scanner(text, "stage")
    name = scanner.name()
    scanner.expect("(")
    inputs = scanner.names(")")
    scanner.expect(")")
    scanner.expect("->")
    outputs = scanner.names("|")
    scanner.expect("|")
    params = scanner.names("|")
    scanner.expect("|")
    scanner.expect("ops")
    scanner.expect("=")
    ops, kind = scanner.whole(), ""
    if scanner.accept("kind"):
        scanner.expect("=")
        kind = scanner.name()
    scanner.done()
    return Stage(name, inputs, outputs, params, ops, kind)


def print_cut(cut: Cut) -> str:
    """`cut 5 | layer1.0 -> layer1.1 | h:float32[batch,64,8,8]`."""
    parts = [
        f"cut {cut.position}",
        f"{quote(cut.after)} -> {quote(cut.before)}",
        ", ".join(map(print_tensor, cut.tensors)),
    ]
    if cut.shared:
        parts.append(f"shared={_names(cut.shared)}")
    if cut.reason:
        parts.append(f"because={json.dumps(cut.reason, ensure_ascii=False)}")
    return " | ".join(parts)


def parse_cut(text: str) -> Cut:
    """The cut that `print_cut` printed."""
    scanner = Scanner(text, "cut")
    scanner.expect("cut")
    position = scanner.whole()
    scanner.expect("|")
    after = scanner.name()
    scanner.expect("->")
    before = scanner.name()
    scanner.expect("|")
    tensors: list[TensorSpec] = []
    while scanner.peek() not in ("|", ""):
        if tensors:
            scanner.expect(",")
        tensors.append(_tensor(scanner))
    shared: tuple[str, ...] = ()
    reason = ""
    while scanner.accept("|"):
        if scanner.accept("shared"):
            scanner.expect("=")
            shared = scanner.names("|")
        else:
            scanner.expect("because")
            scanner.expect("=")
            reason = scanner.name()
    scanner.done()
    return Cut(position, after, before, tuple(tensors), shared, reason)


def print_chain(chain: Chain) -> str:
    """A block of lines: the head, what goes in and out, every tensor, parameter and stage."""
    lines = [
        f"chain {quote(chain.name)} engine={quote(chain.engine)}",
        f"in {_names(chain.inputs)}",
        f"out {_names(chain.outputs)}",
    ]
    lines += [f"tensor {print_tensor(tensor)}" for tensor in chain.tensors.values()]
    lines += [f"param {quote(name)} {size}" for name, size in chain.params.items()]
    lines += [f"stage {print_stage(stage)}" for stage in chain.stages]
    lines += [
        f"blocked {position} {json.dumps(why, ensure_ascii=False)}" for position, why in chain.blocked.items()
    ]
    return "\n".join(lines) + "\n"


def read_lines(text: str, what: str) -> list[tuple[str, str]]:
    rows = [line.strip(" ").partition(" ") for line in text.split("\n") if line.strip(" ")]
    if not rows or rows[0][0] != what:
        raise BadDocument(
            what, [f"does not begin with {what!r}"], fix=f"give the text that Partita prints for a {what}"
        )
    return [(word, rest) for word, _, rest in rows]


def parse_chain(text: str) -> Chain:
    """The chain that `print_chain` printed."""
    lines = read_lines(text, "chain")
    head = Scanner(lines[0][1], "chain")
    name = head.name()
    head.expect("engine")
    head.expect("=")
    engine = head.name()
    tensors: dict[str, TensorSpec] = {}
    stages: list[Stage] = []
    params: dict[str, int] = {}
    blocked: dict[int, str] = {}
    ends: dict[str, tuple[str, ...]] = {"in": (), "out": ()}
    for word, rest in lines[1:]:
        scanner = Scanner(rest, "chain")
        match word:
            case "in" | "out":
                ends[word] = scanner.names("")
            case "tensor":
                tensor = parse_tensor(rest)
                tensors[tensor.name] = tensor
            case "param":
                param = scanner.name()
                params[param] = scanner.whole()
            case "stage":
                stages.append(parse_stage(rest))
            case "blocked":
                position = scanner.whole()
                blocked[position] = scanner.name()
            case _:
                raise scanner.error(f"{word!r} begins no line of a chain")
    return Chain(name, engine, tuple(stages), tensors, ends["in"], ends["out"], params, blocked)
