"""The notebook of a run: a trace in its folder, and a listener who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from partita.errors import BadDocument
from partita.graph import Chain
from partita.plan import parse_plan
from partita.train import EpochReport, Event, Settings, StepReport, Tracing, read_trace
from partita.train.notebook import Notebook

from .conftest import batch_of, small_net

STEP = StepReport(
    0, 1, 0.5, 24, 32, 0.04, 0.12, "edge[0:2]", 1, 0, 0, "raw", "raw", 9, 9, 0.02, 0.01, 0.01, None, None, None, 0.1
)  # fmt: skip
EPOCH = EpochReport(1, 1, 4.0, 0.25, 0.9, 0.3, 0.8, 10_000, 20_000)
BEGAN = Event("began", 0, "it begins")


@pytest.fixture(scope="module")
def chain() -> Chain:
    from partita.engine.torch_capture import capture_torch

    return capture_torch(small_net(), (batch_of(0)[0],), name="net", mode="train").chain


@pytest.fixture
def begun(chain: Chain, tmp_path: Path) -> Callable[..., Notebook]:
    def begin(tracing: Tracing | None = None, of: Chain = chain, **words: object) -> Notebook:
        notebook = Notebook(tmp_path / "run", tracing or Tracing(), words.get("listener"))  # type: ignore[arg-type]
        notebook.open(of, Settings(), parse_plan(f"edge[0:{len(chain)}]"), 1)
        return notebook

    return begin


def test_every_report_is_in_the_trace(begun: Callable[..., Notebook], tmp_path: Path, chain: Chain) -> None:
    notebook = begun(Tracing(data="made:shapes"))
    notebook.news(BEGAN)
    notebook.step(STEP)
    notebook.news(EPOCH)
    notebook.close()
    history = read_trace(tmp_path / "run/trace.jsonl")

    assert (history.events, history.steps, history.epochs) == ((BEGAN,), (STEP,), (EPOCH,))
    assert (history.run.digest, history.run.data) == (chain.digest, "made:shapes")
    assert (history.run.settings["epochs"], history.run.settings["optimizer"]) == (1, "sgd:0.05")
    assert history.run.plan.startswith("edge[0:")


def test_news_is_written_down_before_the_listener_hears_of_it(
    begun: Callable[..., Notebook], tmp_path: Path
) -> None:
    seen: list[int] = []
    notebook = begun(listener=lambda _: seen.append(len(read_trace(tmp_path / "run/trace.jsonl").events)))
    notebook.news(BEGAN)
    notebook.close()

    assert seen == [1]


def test_nothing_is_left_behind_where_nothing_happened(
    begun: Callable[..., Notebook], tmp_path: Path
) -> None:
    begun().close()

    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("tracing", [Tracing(wanted=False), None])
def test_without_trace_or_folder_the_listener_still_hears(
    tracing: Tracing | None, chain: Chain, tmp_path: Path
) -> None:
    heard: list[object] = []
    notebook = Notebook(tmp_path if tracing else None, tracing or Tracing(), heard.append)
    notebook.open(chain, Settings(), None, None)
    notebook.news(BEGAN)
    notebook.close()

    assert heard == [BEGAN]
    assert not list(tmp_path.iterdir())


def test_the_trace_of_another_model_is_refused_before_anything_is_written(
    begun: Callable[..., Notebook], chain: Chain, tmp_path: Path
) -> None:
    first = begun()
    first.news(BEGAN)
    first.close()
    before = (tmp_path / "run/trace.jsonl").read_bytes()
    with pytest.raises(BadDocument, match="another digest"):
        begun(of=replace(chain, outputs=chain.stages[0].outputs[:1]))

    assert (tmp_path / "run/trace.jsonl").read_bytes() == before
