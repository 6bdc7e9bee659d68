"""The act of `train` in the demo: a slow edge and a cloud train one network, the link breaks down and comes back."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from ..train import Event, LocalCloud, Session, Settings, local_cloud, parse_optimizing
from ..wire import parse_shape
from ..zoo import build, open_data
from .render import Screen, milliseconds
from .train_compare import pinned

MODEL, DATA = "zoo:resnet-tiny?classes=10", "made:shapes"
SAMPLES, IMAGE, BATCH = 1024, 32, 32
# An edge device, pretended, as in the rest of the demo.
SLOW = 8.0
GOOD, BAD = "100mbit/10ms", "2mbit/10ms"
# Long enough to see the planner move, at each kind of link.
SECONDS, MOST_SECONDS = 4.0, 10.0
EQUAL_STEPS = 6
OPTIMIZER = "sgd:0.05,momentum=0.9"


@dataclass(frozen=True)
class Trained:
    """What the act showed, and whether what must hold did."""

    claims: list[tuple[str, str, str]]
    moves: int
    equal: bool


@dataclass
class _Phase:
    """Training over one kind of link."""

    link: str
    plan: str = ""
    seconds: float = 0.0
    predicted: float | None = None


def act(screen: Screen) -> Trained:
    """Train live over a changing link, then show that split equals whole."""
    screen.say(
        f"\n== Train: a network on an edge {SLOW:g} times slower and a cloud, on {DATA}; the link drops from {GOOD} to {BAD} and comes back"
    )
    data = open_data(DATA, split="train", size=IMAGE, limit=SAMPLES)
    with pinned() as core, local_cloud(threads=1, cpu=core, link=parse_shape(GOOD)) as cloud:
        phases, events = _live(screen, cloud, data)
        equal = _difference(cloud, data) == 0.0
    claims = [
        (f"train over {phase.link}: {phase.plan}, per step", milliseconds(phase.seconds), _predicted(phase))
        for phase in phases
    ]
    moves = sum(event.what == "moved" for event in events)
    exact = "0, bit for bit" if equal else "not equal"
    claims.append((f"  moves while training, weights and optimizer with them: {moves}", "", ""))
    claims.append((f"  {EQUAL_STEPS} steps in parts (K=0, raw) against unsplit: weights", exact, "0"))
    return Trained(claims, moves, equal)


def _predicted(phase: _Phase) -> str:
    return "" if phase.predicted is None else milliseconds(phase.predicted)


def _live(screen: Screen, cloud: LocalCloud, data: object) -> tuple[list[_Phase], list[Event]]:
    """Train while the link changes."""
    events: list[Event] = []

    def told(news: object) -> None:
        if isinstance(news, Event):
            events.append(news)
            screen.say(f"step {news.step}: {news.what}: {news.said}")

    settings = Settings(epochs=1000, batch=BATCH, optimizer=parse_optimizing(OPTIMIZER))
    module = build(MODEL, bare=True).module
    phases = [_Phase(GOOD), _Phase(BAD), _Phase(GOOD)]
    with Session(
        module, settings=settings, cloud=cloud.url, token=cloud.token, slow=SLOW, threads=1, on_event=told
    ) as session:
        recent: list[float] = []
        began, at, moves = 0.0, 0, 0
        for report in session.train(data):
            began = began or monotonic()
            recent = [*recent[-7:], report.seconds]
            phase = phases[at]
            phase.plan, phase.seconds = report.plan.partition(" | ")[0], sum(recent) / len(recent)
            phase.plan += f" K={report.window}" if report.window else ""
            passed = monotonic() - began
            moved = sum(event.what == "moved" for event in events) > moves
            if passed > (SECONDS if at == 0 or moved else MOST_SECONDS):
                phase.predicted = session.predicted
                at, moves = at + 1, sum(event.what == "moved" for event in events)
                if at == len(phases):
                    break
                cloud.reshape(parse_shape(phases[at].link))
                began, recent = monotonic(), []
    return phases, events


def _difference(cloud: LocalCloud, data: object) -> float:
    """The largest difference between weights trained unsplit and in two parts."""
    from ..engine import largest_difference

    settings = Settings(epochs=1, batch=BATCH, optimizer=parse_optimizing(OPTIMIZER))
    found, plan = [], None
    for url, token in ((None, None), (cloud.url, cloud.token)):
        module = build(MODEL, seed=1, bare=True).module
        with Session(module, settings=settings, cloud=url, token=token, plan=plan, threads=1) as session:
            for report in session.train(data):
                if report.step + 1 == EQUAL_STEPS:
                    break
            session.gather()
            count, cuts = len(session.model.chain), session.model.legal_cuts("train")
            found.append(session.model.part(0, count).state())
        middle = cuts[len(cuts) // 2]
        plan = f"edge[0:{middle}] -raw/raw-> cloud[{middle}:{count}] | K=0 batch={BATCH} mode=train"
    return largest_difference(*found)
