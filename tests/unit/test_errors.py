import inspect

import pytest

from partita import errors
from partita.errors import BadDocument, MissingExtra, PartitaError


def classes() -> list[type[PartitaError]]:
    found = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, PartitaError)]
    return sorted(found, key=lambda c: c.__name__)


def test_the_public_list_is_the_tree() -> None:
    """Every class is exported, and nothing else."""
    assert errors.__all__ == sorted(c.__name__ for c in classes())


def test_the_tree_at_the_head_names_every_class() -> None:
    """The drawing cannot drift from the code."""
    for error in classes():
        assert f" {error.__name__} " in f" {errors.__doc__} ".replace("\n", " "), error


@pytest.mark.parametrize("error", [c for c in classes() if c is not PartitaError])
def test_each_error_says_who_is_at_fault(error: type[PartitaError]) -> None:
    """Fault and exit code agree: user 2, local 3, remote 4, platform 5; the status fits the side at fault."""
    assert error.exit_code == {"user": 2, "local": 3, "remote": 4, "platform": 5}[error.fault]
    assert 400 <= error.status < 600
    assert error.__doc__


def test_the_message_ends_with_the_way_out() -> None:
    """An error reads: what is wrong, then what to do."""
    assert (
        str(errors.NotFound("no job 7", fix="list them: partita jobs"))
        == "no job 7\n  fix: list them: partita jobs"
    )


def test_a_bad_document_lists_all_its_problems() -> None:
    """Problems are there for people and for machines."""
    error = BadDocument("plan 'p.json'", ["a: is missing", "b: is not a field"], fix="correct them")

    assert error.problem == "plan 'p.json': a: is missing; b: is not a field"
    assert error.as_dict()["problems"] == ["a: is missing", "b: is not a field"]
    assert error.as_dict()["error"] == error.code == "bad-document"


def test_a_missing_library_names_the_extra_to_install() -> None:
    """The way out is a command."""
    assert (
        MissingExtra("torch", extra="torch", purpose="cutting a module").fix == "pip install 'partita[torch]'"
    )
