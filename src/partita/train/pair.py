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
from ..errors import (
    BadDocument,
    CorruptArtifact,
    NotFound,
    PartitaError,
    RemotePartFailed,
    SessionMisused,
)
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
# As many checkpoints as the cloud keeps of a run.
_KEPT = 3


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
        # Whether the cloud has taken anything up since it was dialled.
        self._engaged = False
        if dial is not None and not self.saved:
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
        self.meet(*self._dial())

    def hang_up(self) -> None:
        """Let the line go."""
        line = self.setup.line
        if line is not None:
            self.setup = replace(self.setup, line=None)
            with suppress(PartitaError):
                line.close()

    @property
    def dial(self) -> Dial | None:
        """How the cloud is called; None where there is none."""
        return self._dial

    def part(self) -> Line | None:
        """Go on without the cloud, for which there must be no need; whoever gets the line hangs it up."""
        line, self.setup = self.setup.line, replace(self.setup, line=None)
        return line

    def meet(self, line: Line, begun: Begun) -> None:
        """The cloud was told of the run over this line."""
        self.setup = replace(self.setup, line=line)
        self.cloud_steps, self.device = begun.steps, begun.device
        self._engaged = False

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
            self._engaged = True
            moved, owned = change(self._need_line(), self.setup.holding, self.owned, roles, plan, version)
            self.owned = owned
        self._worker = EdgeWorker(self.setup, self.chain, plan, version)
        return moved

    def anew(self) -> None:
        """As before the first plan. Only before the first step: what the edge has of the states is still true."""
        self._worker = None
        self.owned = frozenset(self.setup.holding.names((0, len(self.chain))))

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
            # Of the same step there may be one under another plan: killed in between, the two would not belong together.
            self._checkpoints.discard_after(standing.step - 1)
            expect(ask(line, Save(line.number(), standing.step)).message, Saved)
        told = replace(standing, plan=print_plan(worker.plan, full=True), owned=tuple(sorted(self.owned)))
        values = with_lanes(self.setup.holding.export(sorted(self.owned)), worker.lanes)
        self._checkpoints.save(standing.step, told.document(), values)
        if self.remote:
            self.cloud_steps = (*(s for s in self.cloud_steps if s < standing.step), standing.step)[-_KEPT:]

    @property
    def saved(self) -> tuple[int, ...]:
        """The steps that this side has checkpoints of."""
        return self._checkpoints.steps() if self._checkpoints is not None else ()

    def back(self) -> Standing:
        """Both sides go back to the latest checkpoint that counts."""
        checkpoints = self._checkpoints
        mine = checkpoints.steps() if checkpoints is not None else ()
        damaged: PartitaError | None = None
        for step in reversed(mine):
            if checkpoints is None:  # pragma: no cover - there would be no steps
                break
            try:
                standing = self._back_to(checkpoints, step)
            except (CorruptArtifact, RemotePartFailed, NotFound) as error:
                damaged = damaged or error
                continue
            if standing is not None:
                checkpoints.discard_after(step)
                return standing
        if damaged is not None:
            raise damaged
        raise NotFound(
            f"the edge has checkpoints of the steps {_listed(mine)}, the cloud of {_listed(self.cloud_steps)}: none is common",
            fix="give both sides their folders back (--run here, --state there), or begin anew with another --run",
        )

    def _back_to(self, checkpoints: Checkpoints, step: int) -> Standing | None:
        """Go back to this one, if it counts."""
        document, values = checkpoints.load(step)
        standing = Standing.read(document)
        plan = parse_plan(standing.plan)
        plan.check(self.chain)
        check_private(plan, self.setup.settings)
        if roles_of(plan, self.chain).away is not None:
            if self.setup.line is None and self._dial is not None:
                self.connect()
            if step not in self.cloud_steps or self.setup.line is None:
                return None
        elif self._engaged:
            # What the cloud began under a later plan it forgets with the room; who needs it dials again.
            self.hang_up()
        self._go_back(standing, plan, values)
        return standing

    def _go_back(self, standing: Standing, plan: Plan, values: Values) -> None:
        states, lanes = without_lanes(values)
        self.version += 1
        worker = self._worker
        if worker is not None:
            worker.forget()
        if roles_of(plan, self.chain).away is not None:
            line = self._need_line()
            self._engaged = True
            ask(line, Recall(line.number(), standing.step, self.version))
        self.setup.holding.take(list(standing.owned), states)
        self.owned = frozenset(standing.owned)
        self._worker = EdgeWorker(self.setup, self.chain, plan, self.version)
        for name, lane in self._worker.lanes.items():
            if name in lanes:
                lane.load(lanes[name])


def _listed(steps: tuple[int, ...]) -> str:
    return ", ".join(map(str, steps)) or "none"
