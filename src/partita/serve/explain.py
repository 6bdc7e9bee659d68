"""What would be done with a request, and why: each exit with its time and worth, the bound that rules it out, what would
have to change for a deeper one.

Rules: pure; every figure comes from the profile and the calibration, and what they do not hold is called unknown; the
same decisions that run requests are asked here; a request alone on the device, except that load limits the depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor, log10

from ..errors import BadDocument
from .policy import Policy
from .policy_advice import policy_notes
from .policy_condition import Always
from .policy_decide import NOTHING, Decisions
from .policy_profile import profile_notes
from .policy_words import Facts
from .tables import Bounds, Calibration, ExitProfile


@dataclass(frozen=True, slots=True)
class ExitVerdict:
    """One exit: what an answer from it costs and is worth, and what speaks against it.

    `p50` and `p99` are seconds from the input to this exit; `work` is the expected share of the full network's time.
    `too_deep` names the bounds that keep a request from getting here, `too_poor` those that its answer would not keep.
    `leaves` says when an answer leaves here though a deeper one is allowed.
    """

    exit: int
    name: str
    p50: float | None
    p99: float | None
    accuracy: float | None
    joules: float | None
    work: float | None
    too_deep: tuple[str, ...]
    too_poor: tuple[str, ...]
    leaves: str

    @property
    def allowed(self) -> bool:
        """Whether a request may end here."""
        return not self.too_deep and not self.too_poor


@dataclass(frozen=True, slots=True)
class ExitTurn:
    """What it takes for a deeper exit: the deadline and the energy budget from which, the load up to which it is possible;
    None where nothing has to change."""

    exit: int
    deadline: float | None
    energy_budget: float | None
    load: float | None
    accuracy: float | None

    def __str__(self) -> str:
        needs = []
        if self.deadline is not None:
            needs.append(f"a deadline of {_up(self.deadline * 1e3)} ms or more")
        if self.energy_budget is not None:
            needs.append(f"an energy budget of {_up(self.energy_budget * 1e3)} mJ or more")
        if self.load is not None:
            needs.append(f"a load of {_up(self.load, -1)} or less")
        gain = "" if self.accuracy is None else f", expected accuracy {self.accuracy:.4f}"
        return f"Exit {self.exit} becomes possible with {' and '.join(needs)}{gain}."


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision for one request. `chosen` is how deep it runs at most, None where it is refused; `outcome` is `answer`,
    `degraded`, `late` or `reject`."""

    exits: tuple[ExitVerdict, ...]
    bounds: Bounds
    chosen: int | None
    outcome: str
    why: str
    turns: tuple[ExitTurn, ...]
    notes: tuple[str, ...]
    policy_version: str

    def __str__(self) -> str:
        lines = [
            *_table(self),
            "",
            self.why,
            *map(str, self.turns),
            *(f"Note: {note}." for note in self.notes),
        ]
        return "\n".join(lines) + "\n"


def explain_request(
    profile: ExitProfile,
    calibration: Calibration | None,
    policy: Policy,
    bounds: Bounds = NOTHING,
    *,
    load: float = 0.0,
    around: Facts | None = None,
) -> str:
    """The decision for one request as text."""
    return str(reason_request(profile, calibration, policy, bounds, load=load, around=around))


def reason_request(
    profile: ExitProfile,
    calibration: Calibration | None,
    policy: Policy,
    bounds: Bounds = NOTHING,
    *,
    load: float = 0.0,
    around: Facts | None = None,
) -> Explanation:
    """The decision for one request as data. `load` is the arriving work as a share of what the device can do when every
    request runs to the end; `around` holds what else rules look at (battery, temperature, tenant, queue time)."""
    if calibration is not None and len(calibration.accuracy) != len(profile.exits):
        problem = f"{len(calibration.accuracy)} exits, the profile has {len(profile.exits)}"
        raise BadDocument("calibration", [problem], fix="calibrate this network: partita serve calibrate")
    around = replace(around or Facts(), load=load)
    base = policy.compiled(profile=profile)
    decisions = base.under(around)
    held = decisions.bounds(bounds)
    view = _View(profile, calibration, decisions, held, around)
    verdicts = tuple(_verdict(view, k) for k in range(decisions.exits))
    chosen, outcome, why = _choice(view, verdicts)
    notes = [f"rule {i} holds and changes the policy" for i in decisions.fired]
    notes += [*policy_notes(decisions.policy, profile, calibration), *profile_notes(profile)]
    turns = _turns(view, verdicts, -1 if chosen is None else chosen)
    return Explanation(verdicts, held, chosen, outcome, why, turns, tuple(notes), base.version)


@dataclass(frozen=True, slots=True)
class _View:
    """What every exit is judged by."""

    profile: ExitProfile
    calibration: Calibration | None
    decisions: Decisions
    bounds: Bounds
    around: Facts

    @property
    def waited(self) -> float:
        """Seconds since arrival that are gone before the first stage."""
        return self.around.queue_time or 0.0

    @property
    def firm(self) -> bool:
        """Whether 99 of 100 requests have to be in time."""
        return self.decisions.policy.mode == "firm"

    @property
    def thresholds(self) -> Calibration | None:
        """The calibration, where its thresholds are switched on."""
        on = self.decisions.policy.max_drop is not None
        return self.calibration if on and self.calibration and self.calibration.max_drop is not None else None

    def seconds(self, k: int, *, tail: bool) -> float | None:
        """From the input to exit k: stage by stage, or in one run where that was measured and nothing can leave between."""
        profile = self.profile
        if not profile.timed:
            return None
        steps = sum(stage.seconds(1, tail=tail) for stage in profile.stages[: k + 1])
        whole = None if self.decisions.policy.exits or self.thresholds else profile.span(0, k)
        return steps if whole is None else min(steps, whole.seconds(1, tail=tail))

    def judged(self, k: int) -> float | None:
        """The seconds that count against a deadline."""
        return self.seconds(k, tail=self.firm)

    def accuracy(self, k: int) -> float | None:
        """Expected accuracy of exit k."""
        known = self.profile.exits[k].accuracy
        return self.calibration.accuracy[k] if known is None and self.calibration else known

    def work(self, k: int) -> float | None:
        """Expected share of the full network's time when nothing runs deeper than exit k."""
        unit = self._units()
        if unit is None or not sum(unit):
            return None
        share, expected = 1.0, 0.0
        for j in range(k + 1):
            expected += share * unit[j]
            share *= self.thresholds.stays[j] if self.thresholds else 1.0
        return expected / sum(unit)

    def _units(self) -> list[float] | None:
        """Cost of each stage per sample: the best batch where times are known, otherwise computation."""
        profile = self.profile
        if profile.timed:
            return [min(time / batch for batch, time in stage.p50.items()) for stage in profile.stages]
        flops = [cost.flops for cost in profile.exits if cost.flops is not None]
        if len(flops) < len(profile.exits) or not flops[-1]:
            return None
        return [now - before for now, before in zip(flops, [0.0, *flops], strict=False)]


def _verdict(view: _View, k: int) -> ExitVerdict:
    cost, condition = view.profile.exits[k], view.decisions.conditions[k]
    leaves = ""
    if k < view.decisions.exits - 1:
        if not (isinstance(condition, Always) and not condition.value):
            leaves = str(condition)
        if view.thresholds and view.thresholds.thresholds[k] <= 1:
            sure = f"confidence >= {view.thresholds.thresholds[k]:g}"
            leaves = f"{leaves}, or {sure}" if leaves else sure
    return ExitVerdict(
        exit=k,
        name=cost.name,
        p50=view.seconds(k, tail=False),
        p99=view.seconds(k, tail=True),
        accuracy=view.accuracy(k),
        joules=cost.joules,
        work=view.work(k),
        too_deep=tuple(_too_deep(view, k)),
        too_poor=tuple(_too_poor(view, k)),
        leaves=leaves,
    )


def _too_deep(view: _View, k: int) -> list[str]:
    found, bounds = [], view.bounds
    due, limit, taken = bounds.deadline, view.decisions.limit(k), view.judged(k)
    if taken is not None:
        if due is not None and view.waited + taken > due:
            found.append(f"deadline {due * 1e3:g} ms, needs {_up((view.waited + taken) * 1e3)} ms")
        elif limit is not None and k and view.waited + taken > limit:
            found.append(f"response_time {limit * 1e3:g} ms, needs {_up((view.waited + taken) * 1e3)} ms")
    joules, budget = view.profile.exits[k].joules, bounds.energy_budget
    if budget is not None and joules is not None and joules > budget:
        found.append(f"energy budget {budget * 1e3:g} mJ, needs {_up(joules * 1e3)} mJ")
    if bounds.max_exit is not None and k > bounds.max_exit:
        found.append(f"max_exit {bounds.max_exit}")
    work, load = view.work(k), view.around.load or 0.0
    if work is not None and load * work > 1:
        found.append(f"load {load:g}, sustainable up to {_up(1 / work, -1)}")
    answers = next((j for j in range(k) if not found and _certain(view, j)), None)
    return found if answers is None else [f"exit {answers} answers: {view.decisions.conditions[answers]}"]


def _certain(view: _View, k: int) -> bool:
    """Whether what is known beforehand already makes an answer leave at exit k."""
    first, _ = view.decisions.depths(view.bounds)
    facts = replace(view.around)
    view.decisions.describe(k, facts)
    typical = view.seconds(k, tail=False)
    facts.response_time = None if typical is None else view.waited + typical
    return k >= first and view.decisions.certain(k, facts) is True


def _too_poor(view: _View, k: int) -> list[str]:
    found, bounds, accuracy = [], view.bounds, view.accuracy(k)
    if bounds.min_exit is not None and k < bounds.min_exit:
        found.append(f"min_exit {bounds.min_exit}")
    if bounds.accuracy_floor is not None and accuracy is not None and accuracy < bounds.accuracy_floor:
        found.append(f"accuracy floor {bounds.accuracy_floor:g}")
    return found


def _choice(view: _View, verdicts: tuple[ExitVerdict, ...]) -> tuple[int | None, str, str]:
    """The deepest exit worth running to, what becomes of the request, and a sentence why."""
    first, cap = view.decisions.depths(view.bounds)
    policy = view.decisions.policy
    able = [verdict for verdict in verdicts[: cap + 1] if verdict.allowed]
    if able:
        known = [verdict.accuracy for verdict in able if verdict.accuracy is not None]
        pick = able[-1]
        if not policy.exits and len(known) == len(able):
            pick = able[known.index(max(known))]
        return pick.exit, "answer", _because(view, pick, verdicts[cap])
    reachable = [verdict for verdict in verdicts[: cap + 1] if not verdict.too_deep]
    lack = "; ".join(verdicts[first].too_deep) or "; ".join(verdicts[first].too_poor)
    if policy.on_infeasible == "reject":
        return None, "reject", f"The request is refused: exit {first}, the first good enough, has {lack}."
    if policy.on_infeasible == "best_effort":
        return first, "late", f"Exit {first} answers, though not within the bounds: {lack}."
    fallback = reachable[-1] if reachable else verdicts[0]
    text = f"Exit {fallback.exit} answers, degraded: nothing better fits the bounds ({lack or 'exit 0'})."
    return fallback.exit, "degraded", text


def _because(view: _View, pick: ExitVerdict, cap: ExitVerdict) -> str:
    what = "" if pick.accuracy is None else f", expected accuracy {pick.accuracy:.4f}"
    taken, due = view.judged(pick.exit), view.bounds.deadline
    if taken is not None:
        what += f", {_up((view.waited + taken) * 1e3)} ms ({'p99' if view.firm else 'p50'})"
        what += f" of {due * 1e3:g} ms" if due is not None else ""
    if cap.exit > pick.exit and cap.too_deep:
        reason = f"exit {cap.exit} is ruled out by {'; '.join(cap.too_deep)}"
    elif view.decisions.policy.objective != "accuracy":
        reason = f"the first that is good enough, for the objective is {view.decisions.policy.objective}"
    elif pick.exit < view.decisions.exits - 1:
        reason = "no deeper exit that is allowed is more accurate"
    else:
        reason = "nothing rules out the last exit"
    return f"Exit {pick.exit} is the deepest that runs{what}: {reason}."


def _turns(view: _View, verdicts: tuple[ExitVerdict, ...], chosen: int) -> tuple[ExitTurn, ...]:
    """For each deeper exit that is worth it: the deadline, budget and load at which it becomes possible."""
    turns, due = [], view.bounds.deadline
    worth = -1.0 if chosen < 0 else verdicts[chosen].accuracy
    for verdict in verdicts[chosen + 1 :]:
        fixed = [text for text in verdict.too_deep if text.startswith(("max_exit", "exit", "response_time"))]
        gains = worth is None or verdict.accuracy is None or verdict.accuracy > worth
        if fixed or verdict.too_poor or not verdict.too_deep or not gains:
            continue
        taken, load, budget = view.judged(verdict.exit), view.around.load or 0.0, view.bounds.energy_budget
        needed = None if taken is None else view.waited + taken
        late = due is not None and needed is not None and needed > due
        dear = budget is not None and verdict.joules is not None and verdict.joules > budget
        busy = verdict.work is not None and load * verdict.work > 1
        turns.append(
            ExitTurn(
                exit=verdict.exit,
                deadline=needed if late else None,
                energy_budget=verdict.joules if dear else None,
                load=1 / verdict.work if busy and verdict.work else None,
                accuracy=verdict.accuracy,
            )
        )
        worth = verdict.accuracy if verdict.accuracy is not None else worth
    return tuple(turns)


def _up(value: float, direction: int = 1) -> str:
    """Three digits, rounded so that the sentence stays true: up for what is needed, down (-1) for what is allowed."""
    if value <= 0:
        return "0"
    unit = 10.0 ** (floor(log10(value)) - 2)
    steps = value / unit
    whole = round(steps)
    # A value that has three digits already stays as it is, whatever its last binary digit says.
    if abs(steps - whole) > 1e-6:
        whole = floor(steps) + (direction > 0)
    return f"{float(f'{whole * unit:.12g}'):g}"


def _table(explanation: Explanation) -> list[str]:
    rows: list[tuple[str, ...]] = [("exit", "name", "p50", "p99", "accuracy", "energy", "work", "verdict")]
    for verdict in explanation.exits:
        against = [*verdict.too_deep, *verdict.too_poor]
        said = "; ".join(against) or "allowed"
        if verdict.exit == explanation.chosen:
            said = f"CHOSEN ({explanation.outcome})" if explanation.outcome != "answer" else "CHOSEN"
        if verdict.leaves and not verdict.too_deep:
            said += f"; leaves here when {verdict.leaves}"
        rows.append(
            (
                str(verdict.exit),
                verdict.name,
                *("unknown" if s is None else f"{s * 1e3:.2f} ms" for s in (verdict.p50, verdict.p99)),
                "unknown" if verdict.accuracy is None else f"{verdict.accuracy:.4f}",
                "unknown" if verdict.joules is None else f"{verdict.joules * 1e3:.4g} mJ",
                "unknown" if verdict.work is None else f"{verdict.work:.0%}",
                said,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
