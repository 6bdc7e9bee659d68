"""A visitor's model in the cloud: the states it holds here, the plan in force, and the way from one plan to the next.

    prepare   checks the plan, says what is missing       commit    checks what arrived, makes the new part, switches
    stage     puts what arrives beside                    abandon   forgets what was prepared

Rules: states are allocated when a plan needs them and freed when none does; until a commit has succeeded, and after
one that failed, everything is as it was; nothing is under way when plans change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from ..engine import Values
from ..engine.torch_model import TorchModel
from ..engine.torch_portable import unpack_torch
from ..engine.torch_values import dtype_of
from ..errors import BadDocument, CorruptArtifact, DigestMismatch, ProtocolViolation
from ..graph import Chain, Profile, dump, load
from ..plan import Plan, parse_plan, print_plan
from ..run import Pace
from .holding import Holding
from .losses import Loss, named_loss
from .losses_graph import unpack_loss
from .roles import roles_of
from .room_limits import RoomLimits, exceeded
from .room_measuring import measured
from .room_plan import DRAWING, Bench, Data, InForce, checked_lanes, states_of
from .room_staging import WEIGHT, Staged
from .settings import Settings
from .standing import with_lanes, without_lanes

# Weights, their gradients, and two moments as Adam has them.
_COPIES: Final = 4


@final
class RoomModel:
    """One model of one visitor."""

    def __init__(
        self, model: TorchModel, settings: Settings, limits: RoomLimits, *, device: str = "cpu"
    ) -> None:
        self._model, self._settings, self._limits, self._device = model, settings, limits, device
        self._loss: Loss | None = named_loss(settings.loss, model.chain.outputs) if settings.loss else None
        self.holding = Holding(model, settings)
        self._held: frozenset[str] = frozenset()
        self._staged: Staged | None = None
        self._bench: Bench | None = None
        self.force: InForce | None = None

    @classmethod
    def read(cls, data: bytes, settings: Settings, limits: RoomLimits, *, device: str) -> RoomModel:
        """The model from its bytes, nothing of it allocated yet."""
        model = unpack_torch(data, device=device, most_bytes=limits.state)
        return cls(model, settings, limits, device=device)

    @property
    def chain(self) -> Chain:
        return self._model.chain

    def check(self, name: str, digest: str) -> None:
        """Refuse a model that is not the one that was announced."""
        if self.chain.digest != digest:
            raise DigestMismatch(
                f"the model that came is {self.chain.name!r} ({self.chain.digest[:19]}), "
                f"the run is of {name!r} ({digest[:19]})",
                fix="update the older of the two sides, so that both read models alike",
            )

    def serve(self, data: Data | None, pace: Pace, capacity: int) -> None:
        """What the place gives to all plans of this model."""
        self._bench = Bench(
            self.chain, self.holding, self._settings, self._loss, data, pace, self._limits, capacity
        )

    def take_loss(self, data: bytes) -> None:
        """A loss of the visitor's own, as a graph."""
        bench = self._ready
        self._loss = unpack_loss(data, self._device)
        self.serve(bench.data, bench.pace, bench.capacity)

    @property
    def _ready(self) -> Bench:
        if self._bench is None:  # pragma: no cover - a room serves a model before it is used
            raise AssertionError(self)
        return self._bench

    def measured(self, batch: int, codecs: Sequence[str], slow: float) -> Profile:
        """What the model costs here."""
        most = self._limits.state
        with DRAWING:
            return measured(
                self._model,
                self._held,
                batch,
                codecs,
                optimizing=self._settings.optimizer,
                slow=slow,
                most=most,
            )

    # -- the plan in force -------------------------------------------------------------------------------------------

    def in_force(self, version: int) -> InForce:
        """The plan in force, if it is of this version and has work for the cloud."""
        force = self.force
        if force is None or force.version != version:
            present = "none" if force is None else str(force.version)
            raise ProtocolViolation(
                f"version {version} of the plan is not in force here, but {present}",
                fix="commit the plan first; a message of another plan comes too late",
            )
        if force.roles.away is None:
            raise ProtocolViolation(
                f"plan {version} ({force.plan}) has no work for the cloud", fix="commit one that has"
            )
        return force

    def export(self, names: Sequence[str]) -> Values:
        """The present states of these names, as copies."""
        strange = [name for name in names if name not in self._held]
        if strange:
            problems = [f"{name}: is not held here" for name in strange[:20]]
            raise BadDocument("take", problems, fix="take what the plan in force has at the cloud")
        return self.holding.export(names)

    # -- from plan to plan -------------------------------------------------------------------------------------------

    def prepare(self, version: int, text: str) -> tuple[str, ...]:
        """Get ready for a plan; gives the states that are missing for it. What was prepared before is forgotten."""
        self._check_version(version)
        self._check_idle("change plans")
        plan = self._read_plan(text)
        needed = self._needed(plan)
        # Whatever is wrong with codecs, loss or data is said now, when nothing has moved yet.
        checked_lanes(self._ready, roles_of(plan, self.chain), version)
        missing = tuple(name for name in needed if name not in self._held)
        self._staged = Staged(plan, version, needed, missing, self._look, self._limits.state)
        return missing

    def _check_version(self, version: int) -> None:
        if self.force is not None and version <= self.force.version:
            raise ProtocolViolation(
                f"version {version} of the plan is not after {self.force.version}, which is in force",
                fix="number plans upwards",
            )

    def _check_idle(self, what: str) -> None:
        if self.force is not None and self.force.under_way:
            raise ProtocolViolation(
                f"{self.force.under_way} steps are under way", fix=f"finish them before you {what}"
            )

    def _read_plan(self, text: str) -> Plan:
        plan = parse_plan(text, model=self.chain.name, digest=self.chain.digest)
        plan.check(self.chain)
        return plan

    def _needed(self, plan: Plan) -> tuple[str, ...]:
        needed = states_of(plan, self.chain, self.holding)
        size = _COPIES * sum(self.chain.params.get(name, 0) for name in needed)
        if size > self._limits.state:
            raise exceeded(f"training the cloud's part of {plan}", size, self._limits.state, "state")
        return needed

    def _look(self, name: str) -> tuple[str, tuple[int, ...]]:
        tensor = self._model.book[name]
        return dtype_of(tensor), tuple(tensor.shape)

    def _prepared(self, version: int) -> Staged:
        staged = self._staged
        if staged is None or staged.version != version:
            raise ProtocolViolation(f"plan {version} was not prepared here", fix="prepare it first")
        return staged

    def stage(self, version: int, tensors: Mapping[str, Any]) -> None:
        """Put states beside those in force."""
        self._prepared(version).take(tensors)

    def abandon(self, version: int) -> None:
        """Forget what was prepared. A plan that was never prepared is abandoned already."""
        if self.force is not None and self.force.version == version:
            raise ProtocolViolation(f"plan {version} is in force", fix="prepare another plan to leave it")
        if self._staged is not None and self._staged.version == version:
            self._staged = None

    def commit(self, version: int, digest: str) -> None:
        """Put the prepared plan in force, or leave everything as it was."""
        staged = self._prepared(version)
        self._check_idle("change plans")
        staged.check(digest)
        self._switch(staged.plan, version, staged.needed, staged.names, staged.arrived)
        self._staged = None

    def _switch(
        self,
        plan: Plan,
        version: int,
        needed: Sequence[str],
        names: Sequence[str],
        values: Values,
        lanes: Mapping[str, Values] | None = None,
    ) -> None:
        missing = [name for name in needed if name not in self._held]
        self._model.hold(missing)
        try:
            force = InForce(self._ready, plan, version)
            for name, memory in (lanes or {}).items():
                if name in force.lanes:
                    force.lanes[name].load(memory)
            # The last that can fail, and all or nothing by itself.
            self.holding.take(names, values)
        except BaseException:
            self._let_go(missing)
            raise
        before, self.force, self._held = self._held, force, frozenset(needed)
        self._let_go(sorted(before - self._held))

    def _let_go(self, names: Sequence[str]) -> None:
        self.holding.forget(names)
        self._model.drop(names)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[dict[str, Any], Values]:
        """The plan in force and what belongs to it, for a checkpoint."""
        force = self.force
        if force is None:
            raise ProtocolViolation("no plan is in force", fix="commit one before saving")
        self._check_idle("save")
        document = {
            "digest": self.chain.digest,
            "plan": print_plan(force.plan, full=True),
            "settings": dump(self._settings, indent=None),
        }
        return document, with_lanes(self.holding.export(sorted(self._held)), force.lanes)

    def restore(self, document: Mapping[str, Any], values: Values, version: int) -> None:
        """Go back to a checkpoint; what is under way is forgotten."""
        self._check_version(version)
        if document.get("digest") != self.chain.digest:
            raise DigestMismatch(
                "the checkpoint belongs to another model", fix="begin a new run for this model"
            )
        before = load(Settings, str(document.get("settings", "")), name="of the checkpoint")
        if before.optimizer.name != self._settings.optimizer.name:
            raise BadDocument(
                "recall",
                [f"optimizer: {self._settings.optimizer} here, {before.optimizer} in the checkpoint"],
                fix="go on with the optimizer that the run began with",
            )
        plan = self._read_plan(str(document.get("plan", "")))
        states, lanes = without_lanes(values)
        needed = self._needed(plan)
        lacking = [name for name in needed if f"{WEIGHT}{name}" not in states]
        if lacking:
            raise CorruptArtifact(
                f"the checkpoint lacks {', '.join(lacking[:5])}", fix="go back to an earlier one"
            )
        self._staged = None
        self._switch(plan, version, needed, needed, states, lanes)
