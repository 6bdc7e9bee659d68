"""Documentation that runs: code blocks are executed, and what exists is documented or the suite fails."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from partita import errors
from partita.cli.app import main
from partita.cli.reference import page

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the output that the page shows for it."""
    for chunk in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, *output = chunk.splitlines()
        yield line, output


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code blocks run in the order of the page, in one namespace, in an empty folder; their asserts hold."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), namespace)
    assert namespace


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "console")], ids=lambda p: p.name)
def test_the_commands_of_a_page_do_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every `$ partita` command succeeds, and prints each line shown for it that holds no number."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    for block in blocks(page, "console"):
        for line, shown in commands(block):
            words = shlex.split(line, comments=True)
            assert words[0] == "partita", line
            assert main(words[1:]) == 0, (line, capfd.readouterr().err)
            printed = " ".join(capfd.readouterr().out.split())
            for expected in shown:
                if not re.search(r"\d", expected) and expected.strip() and "..." not in expected:
                    assert " ".join(expected.split()) in printed, (line, expected)


def test_the_command_line_page_is_what_the_commands_say() -> None:
    """docs/cli.md holds every command and option, as `make docs` writes it."""
    assert (ROOT / "docs" / "cli.md").read_text() == page()


def test_every_error_is_documented() -> None:
    """docs/errors.md names each error with its code."""
    text = (ROOT / "docs" / "errors.md").read_text()
    missing = [name for name in errors.__all__ if f"`{getattr(errors, name).code}`" not in text]

    assert not missing


def test_every_environment_variable_is_documented() -> None:
    """docs/cli.md names each PARTITA_ variable that the code reads."""
    source = "\n".join(p.read_text() for p in (ROOT / "src").rglob("*.py"))
    text = (ROOT / "docs" / "cli.md").read_text()

    assert set(re.findall(r"PARTITA_[A-Z_]+", source)) <= set(re.findall(r"PARTITA_[A-Z_]+", text))


def test_every_page_is_reached_from_the_readme() -> None:
    """No page of the documentation is an orphan."""
    text = (ROOT / "README.md").read_text()

    assert not [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in text]
