import json
import subprocess
import sys
from typing import Any

import pytest

from partita import errors
from partita.cli import app as module
from partita.cli import main
from partita.cli.app import EXIT_DEFECT, EXIT_INTERRUPTED, VERBS


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_every_verb(partita: Any, words: tuple[str, ...]) -> None:
    """A newcomer sees all verbs with one line each."""
    outcome = partita(*words)

    assert outcome.code == 0
    assert all(f"  {verb:<11}{what}\n" in outcome.out for verb, what in VERBS.items())


def test_every_verb_has_a_page(partita: Any) -> None:
    """The list at the head is the list of what there is."""
    for verb in VERBS:
        outcome = partita(verb, "--help")
        assert outcome.code == 0
        assert f"Usage: partita {verb}" in outcome.out


def test_help_imports_nothing_that_it_does_not_need() -> None:
    """`partita --help` answers at once because no engine, network or verb is loaded."""
    script = (
        "import sys; from partita.cli import main; main(['--help']); "
        "print([m for m in sys.modules if m.split('.')[0] in ('numpy', 'torch', 'onnxruntime', 'websockets', 'msgspec', 'rich', 'cyclopts')])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert answer.stdout.rstrip().endswith("[]")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prfile"], 'Did you mean "profile"'),
        (["inspect", "zoo:resnet-tiny", "--deph", "1"], "Did you mean --depth"),
        (["inspect"], "requires an argument"),
        (["inspect", "zoo:resnet-tiny", "--batch", "many"], "unable to convert"),
    ],
)
def test_a_wrong_command_line_is_the_users_and_says_what_was_meant(
    partita: Any, words: list[str], says: str
) -> None:
    """Typing errors get a suggestion and exit code 2."""
    outcome = partita(*words)

    assert outcome.code == 2
    assert says in outcome.err
    assert "--help" in outcome.err


def test_an_error_is_json_where_json_was_asked_for(partita: Any) -> None:
    """Programs read errors from stdout as one document."""
    outcome = partita("inspect", "zoo:nothing", "--json")

    assert outcome.code == 2
    assert outcome.document["error"] == "bad-reference"
    assert outcome.document["fix"]


def test_the_exit_code_is_that_of_the_class(monkeypatch: pytest.MonkeyPatch, partita: Any) -> None:
    """Each side at fault has its own code."""
    for kind in (errors.UserError, errors.LocalError, errors.RemoteError, errors.PlatformError):
        monkeypatch.setattr(module, "_run", _raising(kind("it broke", fix="mend it")))
        outcome = partita("doctor")
        assert outcome.code == kind.exit_code
        assert outcome.err == "error: it broke\n  fix: mend it\n"


def _raising(error: BaseException) -> Any:
    def run(words: list[str], verb: str) -> int:
        raise error

    return run


def test_a_defect_shows_no_traceback_unless_asked(monkeypatch: pytest.MonkeyPatch, partita: Any) -> None:
    """What nobody foresaw is one sentence; the traceback is there for whoever wants it."""
    monkeypatch.setattr(module, "_run", _raising(ZeroDivisionError("by zero")))
    outcome = partita("doctor")

    assert outcome.code == EXIT_DEFECT
    assert "Traceback" not in outcome.err
    assert "PARTITA_TRACEBACK=1" in outcome.err
    monkeypatch.setenv("PARTITA_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_a_known_error_has_its_traceback_too_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """PARTITA_TRACEBACK=1 holds for every error."""
    monkeypatch.setenv("PARTITA_TRACEBACK", "1")
    with pytest.raises(errors.BadReference):
        main(["inspect", "zoo:nothing"])


def test_an_interrupt_is_not_an_error(monkeypatch: pytest.MonkeyPatch, partita: Any) -> None:
    """Ctrl-C ends quietly with the code shells use."""
    monkeypatch.setattr(module, "_run", _raising(KeyboardInterrupt()))

    assert partita("doctor").code == EXIT_INTERRUPTED


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`partita ... | head` ends without complaint."""
    command = f"{sys.executable} -m partita inspect zoo:resnet-tiny --form text | head -1"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert answer.stdout.startswith("chain ")
    assert answer.stderr == ""


def test_the_version_is_that_of_the_package(partita: Any) -> None:
    """`--version` prints one number."""
    from partita import __version__

    assert partita("--version").out.strip() == __version__
    assert json.dumps(__version__)
