import pytest

from partita.cli.render import Column, Screen, milliseconds


def test_numbers_are_short_and_have_units() -> None:
    """Three figures are enough for a table."""
    assert [milliseconds(0.0123456), milliseconds(2.0)] == ["12.3 ms", "2 s"]


def test_a_program_gets_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json tables and sentences are silent."""
    screen = Screen(as_json=True)
    screen.table("title", [Column("a")], [["b"]])
    screen.say("hello")
    screen.result({"a": 1})

    assert capsys.readouterr().out == '{"a": 1}\n'


def test_people_get_tables_and_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Markup in names is shown, not interpreted."""
    screen = Screen(as_json=False)
    screen.table("title", [Column("a", right=True)], [["[red]x[/red]"]], marks=[0])
    screen.remark("beside")
    screen.result({"a": 1})
    captured = capsys.readouterr()

    assert "[red]x[/red]" in captured.out
    assert '{"a"' not in captured.out
    assert captured.err == "beside\n"


def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    """No bar goes into a log file."""
    with Screen(as_json=False).progress("working") as bar:
        bar(1, 2, "half")

    assert capsys.readouterr().err == ""


def test_progress_moves_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the bar shows what is being done."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Screen(as_json=False).progress("working") as bar:
        bar(1, 2, "half")

    assert "working" in capsys.readouterr().err
