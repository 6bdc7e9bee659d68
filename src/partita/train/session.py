"""A training as its user holds it: `with Session(net, cloud=url) as session: for report in session.train(loader): ...`

Rules: nothing is built before the first batch is known; without a plan the planner decides and goes on deciding;
at the end the user's own module has all weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self, final

import torch

from ..engine.torch_model import TorchModel
from ..engine.torch_state import save_file
from ..errors import CannotCapture, SessionMisused
from ..graph import Profile
from ..plan import PlacedPart, Plan, Ranking, parse_plan
from ..profile import use_threads
from ..run import Pace
from ..wire import Tls
from .belonging import belonging_plan, belonging_profiles
from .company import Company
from .course import Course
from .edge import Setup
from .energy import EnergyMeter
from .examining import examine
from .guard import warning_before
from .guard_norms import has_normalisation
from .holding import Holding
from .line import Line
from .live import Live, Surroundings, facts_of, survey
from .loading import Batches
from .losses import Loss, custom_loss, named_loss
from .losses_graph import pack_loss
from .notebook import Notebook, Tracing
from .opening import Opening, private_front
from .optimizers import optimizing_of
from .pair import Pair
from .part import Outcome
from .rates import parse_schedule
from .reports import EpochReport, Event, StepReport
from .roles import check_private
from .settings import Settings


@final
class Session:
    """One training. Without `cloud` it is the original model on this machine, in the same engine.

    `model` is any module (captured from the first batch) or a captured one; `loss` the name of a loss or any callable
    of the model's answer and the targets. `cloud` is its address, or makes a line to it. `plan` fixes what runs where; without it the planner decides and goes on
    deciding. `folder` keeps the run: a training that was stopped there goes on, and trace.jsonl there holds every step
    unless `trace` is False. `optimizer` is one of torch's over the model's parameters, in place of that of the settings:
    its kind and numbers are taken, each side makes its own. `slow` pretends a slower device. `patience` is how long a
    lost cloud is waited for, in seconds.
    """

    def __init__(  # noqa: PLR0913  # the public door: all but one have defaults
        self,
        model: torch.nn.Module | TorchModel,
        *,
        loss: str | Callable[[Any, Any], torch.Tensor] = "",
        settings: Settings | None = None,
        cloud: str | Callable[[], Line] | None = None,
        token: str | None = None,
        tls: Tls | None = None,
        plan: Plan | str | None = None,
        profiles: Mapping[str, Profile] | None = None,
        folder: Path | str | None = None,
        slow: float = 1.0,
        threads: int | None = None,
        patience: float = 600.0,
        meter: EnergyMeter | None = None,
        on_event: Callable[[Event | EpochReport], None] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        trace: bool | Tracing = True,
    ) -> None:
        self._settings = settings or Settings()
        if optimizer is not None:
            module = model.module if isinstance(model, TorchModel) else model
            self._settings = replace(self._settings, optimizer=optimizing_of(optimizer, module))
        self._given, self._loss = model, loss or self._settings.loss
        self._plan = parse_plan(plan) if isinstance(plan, str) else plan
        where = Path(folder) if folder is not None else None
        self._opening = Opening(self._settings, cloud, token, tls, dict(profiles or {}), where, threads)
        self.pace = Pace(slow)
        self._patience, self._meter = patience, meter
        tracing = trace if isinstance(trace, Tracing) else Tracing(wanted=trace)
        self._notebook = Notebook(where, tracing, on_event)
        self._course: Course | None = None
        self._notes: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up and let go of the run's folder. What was trained stays in the model."""
        self._stack.close()
        self._notebook.close()
        self._opening.close()

    # -- what the user sees ------------------------------------------------------------------------------------------

    @property
    def _now(self) -> Course:
        if self._course is None:
            raise SessionMisused("nothing was trained yet", fix="iterate over session.train(data) first")
        return self._course

    @property
    def model(self) -> TorchModel:
        """The model as a chain; its `module` is the user's own."""
        return self._now.pair.setup.holding.model

    @property
    def settings(self) -> Settings:
        """What was asked."""
        return self._settings

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._now.pair.worker.plan

    @property
    def ranking(self) -> Ranking | None:
        """The plans among which the first one was chosen; None where the plan was given."""
        return (
            self._course.live.ranking if self._course is not None and self._course.live is not None else None
        )

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened so far."""
        return tuple(self._now.events)

    @property
    def epochs(self) -> tuple[EpochReport, ...]:
        """What the epochs so far were."""
        return self._now.standing.epochs

    @property
    def steps(self) -> int:
        """How many steps are done."""
        return self._now.standing.step

    def train(self, data: object, *, held_out: object = None, augment: str = "") -> Iterator[StepReport]:
        """Train to the last epoch; a report for every step. At the end the model here has all weights.

        `augment` changes the samples of a data set of ours, like `crop,flip`.
        """
        course = self._open(data)
        model = self.model
        judged = None if held_out is None else Batches.of(held_out, self._settings, model)
        yield from course.through(Batches.of(data, self._settings, model, augment=augment), judged)

    def evaluate(self, data: object) -> Outcome:
        """The mean loss and the right answers over data; nothing is learned."""
        course = self._open(data)
        batches = Batches.of(data, self._settings, self.model)
        pair = course.pair
        return course.patiently(lambda: examine(pair.worker, batches.in_order(), pair.line))

    @property
    def predicted(self) -> float | None:
        """Seconds per step that the planner expects of the plan in force now; None where it does not plan."""
        live = self._now.live
        return live.predicted(self.plan, monotonic()) if live is not None else None

    def gather(self) -> None:
        """Bring the weights that rest with the cloud into the model here; the cloud keeps its copies."""
        self._now.patiently(self._now.pair.gather)

    def save(self, path: Path | str) -> None:
        """Write the whole model as safetensors; states that rest with the cloud are fetched first."""
        self.gather()
        save_file(Path(path), self.model.book.persistent(), {"model": self.model.chain.digest})

    # -- beginning ---------------------------------------------------------------------------------------------------

    def _open(self, data: object) -> Course:
        if self._course is None:
            try:
                self._course = self._opened(data)
            except BaseException:
                self.close()
                raise
        return self._course

    def _opened(self, data: object) -> Course:
        opening = self._opening
        model = opening.captured(self._given, data)
        self._stack.enter_context(use_threads(model, opening.threads))
        if self._plan is not None:
            self._plan = belonging_plan(self._plan, model)
        opening.profiles = belonging_profiles(opening.profiles, model)
        if self._settings.inputs_private:
            least = max(self._settings.min_front, private_front(model))
            self._settings = opening.settings = replace(self._settings, min_front=least)
        batches = Batches.of(data, self._settings, model)
        # A loader of the user's own has a batch size of its own.
        self._settings = opening.settings = replace(self._settings, batch=batches.first().size)
        loss, graph = self._loss_of(model, batches)
        if self._plan is not None:
            check_private(self._plan, self._settings)
        notebook = self._notebook
        notebook.open(model.chain, self._settings, self._plan, opening.threads)
        dial = opening.dial(model, graph) if opening.cloud else None
        pair = Pair(self._setup(model, loss, batches), model.chain, opening.checkpoints(), dial)
        self._stack.callback(pair.hang_up)
        course = Course(
            pair, Company(self._settings, self._patience, notebook.news, self._meter, notebook.step)
        )
        normalises = has_normalisation(model)
        self._notes += [note for note in batches.notes if normalises]
        for note in self._notes:
            course.say("warned", note)
        course.take_up(lambda: self._first_plan(course, batches))
        if course.live is None and self._planned(pair):
            course.live = course.patiently(lambda: self._live(pair, batches, pair.worker.plan))
            course.restrict()
        return course

    def _setup(self, model: TorchModel, loss: Loss, batches: Batches) -> Setup:
        schedule, peak = parse_schedule(self._settings.schedule), self._settings.optimizer.rate
        per_epoch, epochs = batches.steps_per_epoch, self._settings.epochs

        def rate_at(step: int) -> float:
            return schedule.rate_at(step, per_epoch, epochs, peak)

        rate_at(0)  # what cannot be done is said now
        holding = Holding(model, self._settings)
        return Setup(holding, self._settings, loss, None, self.pace, rate_at)

    def _loss_of(self, model: TorchModel, batches: Batches) -> tuple[Loss, bytes | None]:
        """The loss as this side computes it, and as a graph for the cloud where it has no name."""
        if isinstance(self._loss, str):
            return named_loss(self._loss, model.chain.outputs), None
        loss = custom_loss(self._loss, model.unflatten, batches.structure)
        if self._opening.cloud is None or self._settings.labels_private:
            return loss, None
        try:
            batch = batches.first()
            whole = Holding(model, self._settings).part((0, len(model.chain)), window=0, wanted=frozenset())
            return loss, pack_loss(loss, whole.examine(batch.inputs), batch.targets)
        except CannotCapture as error:
            self._settings = replace(self._settings, labels_private=True)
            self._opening.settings = self._settings
            self._notes.append(f"the loss stays at the edge: it cannot be sent as a graph ({error.problem})")
            return loss, None

    def _planned(self, pair: Pair) -> bool:
        """Whether the planner decides what runs where."""
        return self._plan is None and pair.line is not None

    def _live(self, pair: Pair, batches: Batches, plan: Plan | None) -> Live:
        """The planner, with both ends and the link measured."""
        if pair.line is None:  # pragma: no cover - `_planned` said that there is one
            raise AssertionError(pair)
        holding = pair.setup.holding
        profiles = self._opening.measured(holding.model, pair.line, self.pace.factor)
        facts = facts_of(holding.model, holding, self._settings, batches.first())
        around = Surroundings(profiles, facts, survey(pair.line))
        return Live.begun(holding.model, self._settings, around, monotonic(), plan)

    def _first_plan(self, course: Course, batches: Batches) -> Plan:
        pair = course.pair
        chain = pair.chain
        if self._plan is not None:
            plan = self._plan
        elif pair.line is None:
            alone = (PlacedPart("edge", 0, len(chain)),)
            plan = Plan(chain.name, chain.digest, alone, batch=self._settings.batch, mode="train")
        else:
            course.live = self._live(pair, batches, None)
            course.say("planned", course.live.why())
            plan = course.live.first
        momentum = self._settings.optimizer.options.get("momentum", 0.0)
        window = course.windowed(plan).window
        said = warning_before(has_normalisation(pair.setup.holding.model), momentum, window)
        if said:
            course.say("warned", said)
        return plan
