"""What one given plan costs: its visits, its memory, its energy, and what it needs of each place's limits.

Rules: every part and every message is priced on its own, for any number of parts and places; the search prices all
plans of two places at once and must agree with this module, which is the plain statement of the cost model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..errors import BadDocument
from ..graph import GIVEN, Chain, Link, Profile
from .codec_option import RAW, codec_options
from .crossing import Message, messages
from .limits import Limits
from .lockstep import Wheel, lockstep
from .place_cost import ChainCost, PlaceCost
from .placement import Estimate, PlacedPart, Plan
from .question import Question
from .schedule import Visit, alone, bound, busy, exact, steady


@dataclass(frozen=True, slots=True)
class Sent:
    """A message with its sizes: raw bytes a codec touches, raw bytes it does not, bytes on the wire."""

    message: Message
    coded: float
    plain: float
    wire: float


@dataclass(frozen=True)
class Pricing:
    """A chain, its places and a link, ready to price plans of one question."""

    model: ChainCost
    places: Mapping[str, PlaceCost]
    link: Link
    question: Question
    # Messages do not depend on the window, and one plan is asked about more than once.
    _sent: dict[tuple[object, ...], list[Sent]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, chain: Chain, profiles: Mapping[str, Profile], link: Link, question: Question) -> Pricing:
        question = replace(question, frozen=min(question.frozen, len(chain)))
        model = ChainCost.of(chain, question)
        places = {name: PlaceCost.of(name, profile, model, question) for name, profile in profiles.items()}
        return cls(model, places, link, question)

    @cached_property
    def resumed(self) -> int:
        """Where a replay begins, if not at its part's start."""
        return self.question.resumed(self.model.chain)

    def sent(self, plan: Plan) -> list[Sent]:
        """The messages of one step with their sizes."""
        key = (plan.parts, plan.hops, plan.mode)
        if key not in self._sent:
            self._sent[key] = self._messages(plan)
        return self._sent[key]

    def _messages(self, plan: Plan) -> list[Sent]:
        names = {name for hop in plan.hops for name in (hop.forward, hop.back)}
        options = codec_options(names, self.question.options) if names else {}
        # Labels are where the first place is; they travel with the features if the loss is elsewhere.
        home = next(iter(self.places))
        far_loss = plan.mode == "train" and plan.parts[0].place == home != plan.parts[-1].place
        rows = []
        frozen = self.question.frozen
        for message in messages(self.model.chain, plan, self.model.readers, frozen=frozen):
            coded = sum(self.model.size[name] for name in message.coded)
            plain = sum(self.model.size[name] for name in message.plain)
            if far_loss and message.kind == "features":
                plain += self.question.label_bytes
            elements = sum(
                self.model.size[n] / self.model.chain.tensors[n].dtype.itemsize for n in message.coded
            )
            body = options[message.codec].encoded(elements, coded, len(message.coded)) + plain
            extra = self.question.overhead
            rows.append(Sent(message, coded, plain, (body + extra.bytes) * (1 + extra.share)))
        return rows

    def _codec_seconds(self, place: str, sent: Sent, work: str) -> float:
        cost = self.places[place]
        coded = getattr(cost.codec(sent.message.codec), work) * sent.coded
        plain = getattr(cost.codec(RAW), work) * sent.plain
        return float(coded + plain + self.question.overhead.cpu)

    def _travel(self, plan: Plan, sent: Sent) -> Visit:
        home = next(iter(self.places))
        source, target = plan.parts[sent.message.source].place, plan.parts[sent.message.target].place
        down = target == home or (sent.message.kind == "gradients" and source != home)
        seconds = sent.wire * 8 / (self.link.down if down else self.link.up)
        if len(plan.places) > 2:
            name = (
                f"link {source}-{target}"
                if not self.link.shared
                else f"link {'-'.join(sorted((source, target)))}"
            )
        else:
            name = "link" if self.link.shared else "downlink" if down else "uplink"
        return Visit(name, seconds, self.link.rtt / 2 + self.question.overhead.seconds, sent.message.kind)

    def visits(self, plan: Plan) -> list[Visit]:
        """One step, in order."""
        sent = self.sent(plan)
        row: list[Visit] = []
        turns = [(i, "forward") for i in range(len(plan.parts))]
        if plan.mode == "train":
            turns += [(i, "backward") for i in reversed(range(len(plan.parts) - 1))]
        for turn, (i, work) in enumerate(turns):
            incoming = sent[turn - 1] if turn else None
            outgoing = sent[turn] if turn < len(sent) else None
            place = plan.parts[i].place
            seconds = self._compute(plan, i, work)
            if incoming is not None:
                seconds += self._codec_seconds(place, incoming, "decode")
            if outgoing is not None:
                seconds += self._codec_seconds(place, outgoing, "encode")
            row.append(Visit(f"{place} compute", seconds, 0.0, work))
            if outgoing is not None:
                row.append(self._travel(plan, outgoing))
        return row

    def _compute(self, plan: Plan, index: int, work: str) -> float:
        part, cost = plan.parts[index], self.places[plan.parts[index].place]
        forward = cost.forward(part.start, part.stop)
        back = cost.back(part.start, part.stop)
        if work == "forward":
            owns_loss = plan.mode == "train" and index == len(plan.parts) - 1
            return forward + back if owns_loss else forward
        # A profile of whole steps has the way back in its forward times, replay included.
        # With more than one step under way the graph is not kept but built again from the inputs: feature replay.
        replayed = plan.window and not cost.whole_steps and part.stop > self.question.frozen
        return back + (cost.forward(max(part.start, self.resumed), part.stop) if replayed else 0.0)

    def memory(self, plan: Plan) -> dict[str, float]:
        """Peak bytes by place, without the runtime's own."""
        found, frozen = {}, self.question.frozen
        for place in plan.places:
            mine = [part for part in plan.parts if part.place == place]
            weights = self._weights(mine)
            cost = self.places[place]
            if plan.mode == "infer":
                active = max(
                    (cost.active[part.start : part.stop].max(initial=0.0) for part in mine), default=0.0
                )
            else:
                weights += (1 + self.question.optimizer_copies) * self._weights(mine, trained=True)
                active = max(
                    sum(float(cost.kept[part.stop] - cost.kept[part.start]) for part in mine),
                    *(cost.active[part.start : min(part.stop, frozen)].max(initial=0.0) for part in mine),
                )
            waiting = plan.window * self._waiting(plan, place) if plan.window else 0.0
            found[place] = float(weights + active + waiting)
        return found

    def _weights(self, parts: list[PlacedPart], *, trained: bool = False) -> float:
        chain = self.model.chain
        names = {name for part in parts for name in chain.part_params(part.start, part.stop)}
        if trained:
            names -= set(chain.part_params(0, self.question.frozen))
        return float(sum(chain.params[name] for name in names))

    def _waiting(self, plan: Plan, place: str) -> float:
        """Bytes that each further step under way keeps at a place: skip connections, and inputs for replay."""
        spans, frozen = self._owners(plan, place), self.question.frozen
        replayed = [
            (max(part.start, self.resumed), part.stop)
            for part in plan.parts[:-1]
            if part.place == place and plan.mode == "train" and part.stop > frozen
        ]
        total = 0.0
        for name, stages in self.model.readers.items():
            made, size = self.model.chain.maker(name), self.model.size[name]
            if len(spans) > 1 and _held(spans, made, stages):
                total += size
            if any(made < start and any(start <= s < stop for s in stages) for start, stop in replayed):
                total += size
        return total

    def _owners(self, plan: Plan, place: str) -> list[tuple[int, int]]:
        """The stages of each part at a place; inputs belong to the first part, the answer to the last."""
        count, last = len(self.model.chain), len(plan.parts) - 1
        return [
            (GIVEN if i == 0 else part.start, count + 1 if i == last else part.stop)
            for i, part in enumerate(plan.parts)
            if part.place == place
        ]

    def joules(self, plan: Plan, seconds: Mapping[str, float], wire: float) -> dict[str, float]:
        """Joules of one step by place, where a meter was at hand."""
        found = {}
        for place in plan.places:
            cost = self.places[place]
            if cost.joules is None:
                continue
            mine = [part for part in plan.parts if part.place == place]
            known = sum(float(cost.joules[part.stop] - cost.joules[part.start]) for part in mine)
            counted = sum(cost.forward(part.start, part.stop) for part in mine)
            found[place] = known + cost.watts * max(seconds[f"{place} compute"] - counted, 0.0)
            if place == next(iter(self.places)):
                found[place] += self.question.joules_per_byte * wire
        return found

    def estimate(self, plan: Plan, *, simulated: bool = True) -> Estimate:
        """What the plan costs; simulated where the closed form is a bound only."""
        visits = self.visits(plan)
        load = busy(visits)
        sent = self.sent(plan)
        home = next(iter(self.places))
        down = [plan.parts[s.message.target].place == home for s in sent]
        wheel = self.wheel(plan, visits)
        seconds = self.pace(plan, visits) if simulated else bound(visits, plan.window)
        played = wheel is None or self.link.shared
        wire = sum(s.wire for s in sent)
        lossy = {(s.message.codec, d) for s, d in zip(sent, down, strict=True) if s.coded}
        options = codec_options([codec for codec, _ in lossy], self.question.options) if lossy else {}
        return Estimate(
            seconds=seconds,
            latency=alone(visits),
            busy=load,
            bottleneck=max(load, key=lambda name: load[name]),
            bytes_up=round(sum(s.wire for s, d in zip(sent, down, strict=True) if not d)),
            bytes_down=round(sum(s.wire for s, d in zip(sent, down, strict=True) if d)),
            memory={place: round(value) for place, value in self.memory(plan).items()},
            joules=self.joules(plan, load, wire),
            error=sum(options[codec].error for codec, _ in lossy),
            simulated=simulated and played and not exact(visits, plan.window),
        )

    def pace(self, plan: Plan, visits: list[Visit]) -> float:
        """Seconds per step once it flows: training goes in lockstep, all else as it comes."""
        wheel = self.wheel(plan, visits)
        if wheel is None or not plan.window:
            return steady(visits, plan.window)
        return lockstep(wheel)

    def wheel(self, plan: Plan, visits: list[Visit] | None = None) -> Wheel | None:
        """The steps of a training as its engine turns them; None for what no training does."""
        home = next(iter(self.places))
        if plan.mode != "train" or len(plan.places) > 2 or len(plan.parts) > 3 or home not in plan.places:
            return None
        if len(plan.parts) == 3 and plan.parts[1].place == home:
            return None
        return Wheel.of(self.visits(plan) if visits is None else visits, plan.window, f"{home} compute")

    def needs(self, plan: Plan) -> dict[str, dict[str, float]]:
        """What the plan asks of every place, by the names of the limits; the runtime's own share is not in it."""
        load, memory = busy(self.visits(plan)), self.memory(plan)
        sent = self.sent(plan)
        joules = self.joules(plan, load, sum(s.wire for s in sent))
        found = {}
        for place in plan.places:
            mine = {i for i, part in enumerate(plan.parts) if part.place == place}
            weights = self._weights([plan.parts[i] for i in mine])
            into = max((s.wire for s in sent if s.message.target in mine), default=0.0)
            out = max((s.wire for s in sent if s.message.source in mine), default=0.0)
            found[place] = {
                "memory": memory[place],
                "package": weights,
                "storage": weights,
                "tmp": weights,
                "payload_in": into,
                "payload_out": out,
                "seconds": load[f"{place} compute"],
                **({"joules": joules[place]} if place in joules else {}),
            }
        return found


def _held(spans: list[tuple[int, int]], made: int, stages: list[int]) -> bool:
    """Whether a tensor is made in one part of a place and read in a later part of it."""
    return any(
        start <= made < stop and any(later <= stage < end for stage in stages)
        for start, stop in spans
        for later, end in spans
        if later >= stop
    )


def excess(
    needs: Mapping[str, Mapping[str, float]], limits: Mapping[str, Limits]
) -> dict[tuple[str, str], float]:
    """How many times over its limit each need is, for those that are over it: by place and limit."""
    found = {}
    for place, need in needs.items():
        if place not in limits:
            continue
        for name, limit in limits[place].bounds.items():
            ratio = (need.get(name, 0.0) + limits[place].runtime(name)) / limit
            if ratio > 1:
                found[place, name] = ratio
    return found


def estimate(
    chain: Chain,
    plan: Plan,
    profiles: Mapping[str, Profile],
    link: Link,
    question: Question | None = None,
) -> Estimate:
    """What a plan costs on these places over this link; the question adds overheads and the codecs' own figures."""
    plan.check(chain)
    unknown = [place for place in plan.places if place not in profiles]
    if unknown:
        raise BadDocument(
            "plan",
            [f"there is no profile for the place {place!r}" for place in unknown],
            fix=f"the places with a profile are {', '.join(profiles)}",
        )
    asked = replace(question or Question(), mode=plan.mode, batch=plan.batch)
    return Pricing.of(chain, profiles, link, asked).estimate(plan)
