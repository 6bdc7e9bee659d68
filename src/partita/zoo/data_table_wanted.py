"""What is asked of a table or of arrays behind `?`: `houses.csv?targets=price&without=street`.

    label=NAME          the column or array of classes           targets=A,B     numbers to predict instead
    text=NAME           the column of texts                      columns=A,B     the columns to learn from
    without=A,B         columns to leave out                     categories=A,B  columns whose numbers are only names
    missing=drop|mean|0 what becomes of missing numbers          inputs=A,B      arrays that are inputs, of an npz

Rules: every wrong option is told at once; a column is named by its heading, or counted from 1 where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import isfinite
from typing import Final
from urllib.parse import parse_qsl

from ..errors import BadReference

DROP: Final = "drop"
MEAN: Final = "mean"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of one reference; empty where nothing is asked."""

    label: str = ""
    targets: tuple[str, ...] = ()
    text: str = ""
    columns: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    missing: str = ""
    inputs: tuple[str, ...] = ()

    def refuse(self, what: str, taken: Iterable[str] = ()) -> None:
        """Refuse what is asked and means nothing for this kind of data."""
        allowed = set(taken)
        if strange := [f.name for f in fields(self) if getattr(self, f.name) and f.name not in allowed]:
            raise BadReference(
                f"{what} takes no {', '.join(strange)}",
                fix=f"it takes {', '.join(sorted(allowed))}"
                if allowed
                else "leave away what stands behind ?",
            )


def parse_wanted(query: str, label: str | None = None) -> Wanted:
    """Read what stands behind the question mark; `label` is the argument of the same name."""
    known = [field.name for field in fields(Wanted)]
    problems: list[str] = []
    given: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            near = get_close_matches(key, known, n=1)
            problems.append(f"{key}: is no option" + (f" (did you mean {near[0]}?)" if near else ""))
        elif key in given or not value.strip():
            problems.append(f"{key}: stands there twice" if key in given else f"{key}: names nothing")
        else:
            given[key] = value
    if label is not None and given.setdefault("label", label) != label:
        problems.append(f"label: {given['label']!r} behind ?, {label!r} as an argument")
    if "label" in given and "targets" in given:
        problems.append("label, targets: are two answers to one question")
    if "missing" in given and given["missing"] not in (DROP, MEAN) and not _is_finite(given["missing"]):
        problems.append(f"missing: {given['missing']!r} is not drop, mean or a number")
    if problems:
        raise BadReference("; ".join(problems), fix=f"options are {', '.join(known)}")
    several = {"targets", "columns", "without", "categories", "inputs"}
    return Wanted(
        **{key: _several(value) if key in several else value.strip() for key, value in given.items()}  # type: ignore[arg-type]  # by name
    )


def _several(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _is_finite(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
