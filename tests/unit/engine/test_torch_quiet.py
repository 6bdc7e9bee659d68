"""Silence while torch traces, and only then."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from partita.engine.torch_quiet import quiet


def test_what_torch_says_while_it_traces_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    """Warnings, log lines, prints."""
    log = logging.getLogger("torch.fx.test_quiet")
    with quiet():
        warnings.warn("internals", UserWarning, stacklevel=1)
        log.error("a graph")
        sys.stderr.write("a dump")

    assert capfd.readouterr() == ("", "")


def test_loggers_speak_again_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    """Also after a failure; loggers of others were never silent."""
    log, other = logging.getLogger("torch.fx.test_quiet"), logging.getLogger("mine.test_quiet")
    with quiet():
        other.error("mine")
    with pytest.raises(ZeroDivisionError), quiet():
        1 / 0  # noqa: B018  # it fails on purpose
    log.error("torch again")

    assert [r.message for r in caplog.records] == ["mine", "torch again"]
