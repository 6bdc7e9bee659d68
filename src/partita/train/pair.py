"""The two sides as one: which plan is in force, who owns which state, how both save and go back.

Rules: versions of plans only grow; a checkpoint counts where both sides have it, and one of a plan without a cloud
needs no cloud; after a line was lost, both go back to the latest that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import final

from ..engine import Values
from ..errors import BadDocument, NotFound, PartitaError, SessionMisused
from ..graph import Chain
from ..plan import Plan, parse_plan, print_plan
from .checkpoints import Checkpoints
from .edge import EdgeWorker, Setup
from .line import Line, ask
from .messages import Begun, Recall, Save, Saved
from .moving import Moved, change, expect, take
from .roles import check_private, roles_of
from .standing import Standing, with_lanes, without_lanes

# Dials the cloud, tells it of the run, and gives the line with what the cloud answered.
Dial = Callable[[], tuple[Line, Begun]]


@final
class Pair:
    """One edge and, where there is one, its cloud."""

    def __init__(
        self, setup: Setup, chain: Chain, checkpoints: Checkpoints | None, dial: Dial | None
    ) -> None:
        self.setup, self.chain = setup, chain
        self._checkpoints, self._dial = checkpoints, dial
        self.version = 0
        self.cloud_steps: tuple[int, ...] = ()
        self.device = ""
        # Before anything is under way the edge owns every state: the user's own module.
        self.owned = frozenset(setup.holding.names((0, len(chain))))
        self._worker: EdgeWorker | None = None
        if dial is not None:
            self.connect()

    @property
    def worker(self) -> EdgeWorker:
        """The edge's work under the plan in force."""
        if self._worker is None:
            raise SessionMisused("no plan is in force yet", fix="start training first")
        return self._worker

    @property
    def began(self) -> bool:
        """Whether a plan is in force."""
        return self._worker is not None

    @property
    def line(self) -> Line | None:
        return self.setup.line

    @property
    def remote(self) -> bool:
        """Whether the plan in force uses the cloud."""
        return self._worker is not None and self._worker.roles.away is not None

    # -- the line ----------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Dial the cloud and greet it."""
        if self._dial is None:
            raise SessionMisused("this training has no cloud", fix="give cloud=URL")
        line, begun = self._dial()
        self.setup = replace(self.setup, line=line)
        self.cloud_steps, self.device = begun.steps, begun.device

    def hang_up(self) -> None:
        """Let the line go."""
        line = self.setup.line
        if line is not None:
            self.setup = replace(self.setup, line=None)
            with suppress(PartitaError):
                line.close()

    # -- plans -------------------------------------------------------------------------------------------------------

    def install(self, plan: Plan) -> Moved:
        """Put a plan in force on both sides, or leave both as they are."""
        plan.check(self.chain)
        check_private(plan, self.setup.settings)
        roles, version = roles_of(plan, self.chain), self.version + 1
        self.version = version
        moved = Moved(0, 0, 0.0)
        leaves = self.remote
        if roles.away is not None or leaves or self._away_states():
            moved, owned = change(self._need_line(), self.setup.holding, self.owned, roles, plan, version)
            self.owned = owned
        self._worker = EdgeWorker(self.setup, self.chain, plan, version)
        return moved

    def _away_states(self) -> bool:
        return len(self.owned) < len(self.setup.holding.names((0, len(self.chain))))

    def _need_line(self) -> Line:
        if self.setup.line is None:
            raise BadDocument(
                "plan",
                ["it uses the cloud, and this training has none"],
                fix="give --cloud, or train with `partita train local`",
            )
        return self.setup.line

    def gather(self) -> None:
        """Bring every state home; the cloud keeps its copies."""
        holding = self.setup.holding
        away = sorted(set(holding.names((0, len(self.chain)))) - self.owned)
        if away:
            holding.take(away, take(self._need_line(), holding, away))

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def save(self, standing: Standing) -> None:
        """A checkpoint of both sides; nothing is under way."""
        if self._checkpoints is None:
            return
        worker = self.worker
        if self.remote:
            line = self._need_line()
            expect(ask(line, Save(line.number(), standing.step)).message, Saved)
        told = replace(standing, plan=print_plan(worker.plan, full=True), owned=tuple(sorted(self.owned)))
        values = with_lanes(self.setup.holding.export(sorted(self.owned)), worker.lanes)
        self._checkpoints.save(standing.step, told.document(), values)
        if self.remote:
            self.cloud_steps = (*self.cloud_steps, standing.step)

    @property
    def saved(self) -> tuple[int, ...]:
        """The steps that this side has checkpoints of."""
        return self._checkpoints.steps() if self._checkpoints is not None else ()

    def back(self) -> Standing:
        """Both sides go back to the latest checkpoint that counts."""
        checkpoints = self._checkpoints
        mine = checkpoints.steps() if checkpoints is not None else ()
        for step in reversed(mine):
            if checkpoints is None:  # pragma: no cover - there would be no steps
                break
            document, values = checkpoints.load(step)
            standing = Standing.read(document)
            plan = parse_plan(standing.plan)
            plan.check(self.chain)
            check_private(plan, self.setup.settings)
            roles = roles_of(plan, self.chain)
            if roles.away is None or (step in self.cloud_steps and self.setup.line is not None):
                self._go_back(standing, plan, values)
                checkpoints.discard_after(step)
                return standing
        raise NotFound(
            f"the edge has checkpoints of the steps {_listed(mine)}, the cloud of {_listed(self.cloud_steps)}: none is common",
            fix="give both sides their folders back (--run here, --state there), or begin anew with another --run",
        )

    def _go_back(self, standing: Standing, plan: Plan, values: Values) -> None:
        states, lanes = without_lanes(values)
        self.version += 1
        worker = self._worker
        if worker is not None:
            worker.forget()
        if roles_of(plan, self.chain).away is not None:
            line = self._need_line()
            ask(line, Recall(line.number(), standing.step, self.version))
        self.setup.holding.take(list(standing.owned), states)
        self.owned = frozenset(standing.owned)
        self._worker = EdgeWorker(self.setup, self.chain, plan, self.version)
        for name, lane in self._worker.lanes.items():
            if name in lanes:
                lane.load(lanes[name])


def _listed(steps: tuple[int, ...]) -> str:
    return ", ".join(map(str, steps)) or "none"
