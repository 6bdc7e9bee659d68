"""What held-out samples say of a model in parts: forward in eval mode, judged where the loss is.

Rules: no codec touches an examination; several batches are on their way at once; nothing else is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from ..engine import Values
from ..errors import ProtocolViolation
from ..wire import decode, encode
from .edge import EdgeWorker
from .line import Line, Ticket
from .loading import Batch
from .messages import IDS, LABEL, Examine, Features, Verdict
from .part import Outcome

# Four batches cover the round trip of most links.
_AHEAD = 4


@dataclass(slots=True)
class _Sums:
    loss: float = 0.0
    right: int = 0
    judged: int = 0
    samples: int = 0

    def add(self, loss: float, right: int, count: int, samples: int) -> None:
        self.loss += loss
        self.samples += samples
        if right >= 0:
            self.right += right
            self.judged += count

    def outcome(self) -> Outcome:
        """Means over samples."""
        right, count = (self.right, self.judged) if self.judged else (-1, 0)
        return Outcome(self.loss / max(self.samples, 1), right, count, {})


def examine(worker: EdgeWorker, batches: Iterable[Batch], line: Line | None) -> Outcome:
    """The mean loss and the right answers over these batches."""
    sums = _Sums()
    waiting: deque[tuple[Batch, Values, Ticket]] = deque()
    for batch in batches:
        values = dict(batch.inputs)
        if worker.front is not None:
            values.update(worker.front.examine(values))
        if worker.roles.away is None or line is None:
            _judge(worker, sums, batch, values)
            continue
        waiting.append((batch, values, _posted(worker, line, batch, values)))
        if len(waiting) > _AHEAD:
            _settle(worker, sums, *waiting.popleft())
    while waiting:
        _settle(worker, sums, *waiting.popleft())
    return sums.outcome()


def _posted(worker: EdgeWorker, line: Line, batch: Batch, values: Values) -> Ticket:
    roles = worker.roles
    tensors = {name: encode(values[name]) for name in roles.up}
    if roles.loss_at == "cloud":
        tensors |= {f"{LABEL}{name}": encode(value) for name, value in batch.targets.items()}
    if batch.ids is not None and roles.inputs_at == "cloud":
        tensors[IDS] = encode(batch.ids)
    return line.post(Examine(line.number(), worker.version), tensors)


def _settle(worker: EdgeWorker, sums: _Sums, batch: Batch, values: Values, ticket: Ticket) -> None:
    reply = ticket.result()
    message = reply.message
    if isinstance(message, Verdict):
        sums.add(message.loss, message.right, message.count, batch.size)
    elif isinstance(message, Features):
        values |= {name: decode(tensor) for name, tensor in reply.tensors.items()}
        _judge(worker, sums, batch, values)
    else:
        raise ProtocolViolation(
            f"an examination was answered with {type(message).__name__}",
            fix="check that both sides run the same version",
        )


def _judge(worker: EdgeWorker, sums: _Sums, batch: Batch, values: Values) -> None:
    tail = worker.tail
    if tail is None:
        raise ProtocolViolation(
            "the cloud owns the loss and gave features", fix="check that both sides run the same version"
        )
    told = tail.judge(values, batch.targets)
    sums.add(told.loss * batch.size, told.right, told.count, batch.size)
