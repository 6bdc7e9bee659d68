"""Silence around torch's tracer, which warns, logs and prints whole graphs when a model resists.

Rule: only what torch says is dropped, and only while it traces; what went wrong reaches the user as one sentence
through `torch_refusal`, with torch's own words as the error's cause.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet() -> Iterator[None]:
    """Torch's warnings, log lines and dumps go nowhere for a while."""
    talking = [logger for logger in _torch_loggers() if not logger.disabled]
    for logger in talking:
        logger.disabled = True
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in talking:
            logger.disabled = False


def _torch_loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.items()
    return [log for name, log in known if name.split(".")[0] == "torch" and isinstance(log, logging.Logger)]
