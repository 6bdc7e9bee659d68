"""Memory of a project's slices, each in a process of its own."""

from collections.abc import Callable
from pathlib import Path

from partita.slice.original import read_project
from partita.slice.original_memory import memory
from partita.slice.original_verbs import decomposition


def test_every_slice_and_the_whole_are_measured(original: Callable[..., Path]) -> None:
    """In fresh processes, above what the interpreter itself takes."""
    project = read_project(original(slices=2))
    decomposition(project)
    found = memory(project)

    assert len(found.slices) == 2
    assert all(use.peak > use.base > 0 for use in (*found.slices, found.whole))
    assert found.slices[found.worst].peak == max(use.peak for use in found.slices)


def test_a_project_that_cuts_its_front_off_is_measured_without_it(original: Callable[..., Path]) -> None:
    """Its whole is what its slices run."""
    project = read_project(original(slices=2, inputs="r"))
    decomposition(project)

    assert memory(project).whole.grown > 0
