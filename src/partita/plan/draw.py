"""A ranking as one self-contained page: cost along the chain, bytes at each cut, the cuts chosen, the table below.

Rules: plain HTML with SVG written here, no script, nothing fetched; readable in light and in dark; every name that
comes from a model or a file is escaped; a picture of hundreds of stages stays legible, so labels thin out.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from math import ceil, floor, log10

import numpy as np

from ..graph import print_size
from .draw_page import STYLE
from .explain import COLUMNS, explain, rows, seconds_text
from .place_cost import PlaceCost
from .placement import Plan
from .ranking import Ranking

_WIDTH, _LEFT, _RIGHT = 1080, 74, 16
_BARS, _GAP, _CUTS = 150, 46, 170
_PLOT = _WIDTH - _LEFT - _RIGHT
# Stage names need about this many pixels each to be read when slanted.
_LABEL_ROOM = 15
_HEAD = 34


def draw(ranking: Ranking, *, what_if: bool = True) -> str:
    """The page as text."""
    chain, best = ranking.chain, ranking.best
    title = f"{escape(chain.name)} in parts"
    cost = ranking.alternatives[0].estimate
    facts = [
        ("per step", seconds_text(cost.seconds)),
        ("one step alone", seconds_text(cost.latency)),
        ("bottleneck", cost.bottleneck),
        ("up / down", f"{print_size(cost.bytes_up)} / {print_size(cost.bytes_down)}"),
        ("link", str(ranking.pricing.link)),
    ]
    cards = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    told = "".join(f"<p>{escape(line)}</p>" for line in explain(ranking, what_if=what_if).splitlines())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style></head><body><main>"
        f"<h1>{title}</h1><p class=plan>{escape(str(best))}</p><dl>{cards}</dl>"
        f"<figure>{_picture(ranking)}</figure>"
        f"<section>{told}</section>{_table(ranking)}</main></body></html>\n"
    )


def _x(position: float, count: int) -> float:
    return _LEFT + _PLOT * position / count


def _clamped(x: float) -> float:
    """The middle of a short text that must not leave the picture."""
    return min(max(x, 60.0), _WIDTH - 60.0)


def _picture(ranking: Ranking) -> str:
    count = len(ranking.chain)
    labels, room = _labels(ranking)
    height = _HEAD + _BARS + _GAP + _CUTS + room + 40
    body = [
        _parts(ranking.best, count),
        _bars(ranking),
        _crossing(ranking),
        _chosen(ranking.best, count),
        labels,
        _legend(ranking, height - 16),
    ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="cost of each stage and bytes at each cut">'
        f"{''.join(body)}</svg>"
    )


def _parts(plan: Plan, count: int) -> str:
    """A band for each part, with its place's name."""
    places = list(dict.fromkeys(part.place for part in plan.parts))
    found = []
    bottom = _HEAD + _BARS + _GAP + _CUTS
    for part in plan.parts:
        if part.empty:
            continue
        left, right = _x(part.start, count), _x(part.stop, count)
        band = places.index(part.place) % 2
        found.append(
            f'<rect class="band{band}" x="{left:.1f}" y="{_HEAD}" width="{right - left:.1f}" height="{bottom - _HEAD}"/>'
            f'<text class="place" x="{_clamped((left + right) / 2):.1f}" y="{_HEAD - 12}">{escape(part.place)}'
            f" [{part.start}:{part.stop}]</text>"
        )
    return "".join(found)


def _stage_seconds(cost: PlaceCost) -> list[float]:
    return list(np.diff(cost.ahead) + np.diff(cost.backward))


def _bars(ranking: Ranking) -> str:
    """For every stage, a bar for each place, on one logarithmic scale: devices differ by orders of magnitude."""
    count = len(ranking.chain)
    table = [(place, _stage_seconds(cost)) for place, cost in ranking.pricing.places.items()]
    known = [value for _, values in table for value in values if value > 0] or [1e-3]
    scale = _Log(min(known), max(known), _HEAD + _BARS, _BARS - 8)
    found = [scale.axis(seconds_text, "seconds a stage")]
    room = _PLOT / count
    width = max(room * 0.8 / len(table), 0.6)
    for order, (place, values) in enumerate(table):
        for index, value in enumerate(values):
            top = scale.y(value)
            left = _x(index, count) + room * 0.1 + order * width
            tip = escape(f"{ranking.chain.stages[index].name} at {place}: {seconds_text(value)}")
            found.append(
                f'<rect class="bar{order % 2}" x="{left:.2f}" y="{top:.1f}" width="{width:.2f}" '
                f'height="{_HEAD + _BARS - top:.1f}"><title>{tip}</title></rect>'
            )
    return "".join(found)


def _crossing(ranking: Ranking) -> str:
    """The raw bytes that cross each cut; cuts that are not legal are hollow, with the reason on hover."""
    chain, size = ranking.chain, ranking.pricing.model.size
    count = len(chain)
    base = _HEAD + _BARS + _GAP + _CUTS
    amounts = [sum(size[tensor.name] for tensor in cut.tensors) for cut in chain.cuts]
    known = [amount for amount in amounts if amount > 0] or [1]
    scale = _Log(min(known), max(known), base, _CUTS - 12)
    points = [
        (_x(cut.position, count), scale.y(a), cut, a) for cut, a in zip(chain.cuts, amounts, strict=True)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    found = [scale.axis(print_size, "bytes at a cut"), f'<polyline class="line" points="{path}"/>']
    radius = max(min(_PLOT / count / 4, 4.0), 1.4)
    for x, y, cut, amount in points:
        reason = f": {cut.reason}" if cut.reason else ""
        tip = escape(f"cut {cut.position}, {print_size(amount)}{reason}")
        kind = "dot" if cut.legal else "blocked"
        found.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{tip}</title></circle>'
        )
    return "".join(found)


def _chosen(plan: Plan, count: int) -> str:
    """The cuts of the winner."""
    found = []
    bottom = _HEAD + _BARS + _GAP + _CUTS
    for order, (left, right, hop) in enumerate(zip(plan.parts, plan.parts[1:], plan.hops, strict=False)):
        x = _x(left.stop, count)
        # Each name has a line of its own: two cuts may lie side by side.
        y = _HEAD + _BARS + 18 + 14 * (order % 2)
        anchor = "end" if x > _WIDTH - 160 else "start"
        shift = -6 if anchor == "end" else 6
        codecs = hop.forward if plan.mode == "infer" else f"{hop.forward} / {hop.back}"
        text = escape(f"{left.place} to {right.place}: {codecs}")
        found.append(
            f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="{_HEAD - 4}" y2="{bottom}"/>'
            f'<text class="cutname" text-anchor="{anchor}" x="{x + shift:.1f}" y="{y}">{text}</text>'
        )
    return "".join(found)


def _legend(ranking: Ranking, y: int) -> str:
    """What the colours and circles stand for."""
    found, x = [], float(_LEFT)
    for order, place in enumerate(ranking.pricing.places):
        found.append(
            f'<rect class="bar{order % 2}" x="{x:.0f}" y="{y - 9}" width="10" height="10"/>'
            f'<text class="key" x="{x + 15:.0f}" y="{y}">{escape(place)}</text>'
        )
        x += 40 + 7.5 * len(place)
    for kind, text in (("dot", "a cut"), ("blocked", "cannot be cut here"), ("", "chosen")):
        found.append(
            f'<circle class="{kind}" cx="{x + 5:.0f}" cy="{y - 4}" r="4"/>'
            if kind
            else f'<line class="cut" x1="{x:.0f}" x2="{x + 12:.0f}" y1="{y - 4}" y2="{y - 4}"/>'
        )
        found.append(f'<text class="key" x="{x + 17:.0f}" y="{y}">{text}</text>')
        x += 40 + 7.0 * len(text)
    return "".join(found)


def _labels(ranking: Ranking) -> tuple[str, int]:
    """Slanted stage names where there is room, else positions at round numbers; and the height they need."""
    count = len(ranking.chain)
    base = _HEAD + _BARS + _GAP + _CUTS + 14
    if _PLOT / count >= _LABEL_ROOM:
        names = [s.name if len(s.name) <= 18 else "…" + s.name[-17:] for s in ranking.chain.stages]
        text = "".join(
            f'<text class="stage" transform="translate({_x(i + 0.5, count):.1f},{base}) rotate(-45)">'
            f"{escape(name)}</text>"
            for i, name in enumerate(names)
        )
        return text, 16 + 5 * max(map(len, names))
    step = max(10, 10 * (count // 150))
    text = "".join(
        f'<text class="tick" text-anchor="middle" x="{_x(i, count):.1f}" y="{base + 4}">{i}</text>'
        for i in range(0, count + 1, step)
    )
    return text, 18


class _Log:
    """A logarithmic scale from `base` upwards, with a line at every power of ten."""

    def __init__(self, low: float, high: float, base: float, height: float) -> None:
        self._low = log10(low) - 0.25
        self._span = max(log10(high) - self._low, 0.5)
        self._base, self._height = base, height

    def y(self, value: float) -> float:
        share = (log10(value) - self._low) / self._span if value > 0 else 0.0
        return self._base - self._height * min(max(share, 0.0), 1.0)

    def axis(self, text: Callable[[float], str], name: str) -> str:
        """Lines and their labels."""
        found = []
        steps = (1.0,) if self._span > 1.5 else (1.0, 2.0, 5.0)
        powers = range(floor(self._low), ceil(self._low + self._span))
        for value in (step * 10.0**power for power in powers for step in steps):
            if self._low <= log10(value) <= self._low + self._span:
                y = self.y(value)
                found.append(
                    f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                    f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{escape(text(value))}</text>'
                )
        middle = self._base - self._height / 2
        found.append(
            f'<text class="axis" text-anchor="middle" transform="translate(13,{middle:.0f}) rotate(-90)">{name}</text>'
        )
        return "".join(found)


def _table(ranking: Ranking) -> str:
    """The ranked plans; numbers stand right, the winner stands out."""
    left = {"plan", "bottleneck", "memory", "joules"}
    head = "".join(f'<th class="{"" if name in left else "n"}">{name}</th>' for name in COLUMNS)
    body = "".join(
        f"<tr{' class=best' if at == 0 else ''}>"
        + "".join(f'<td class="{"" if name in left else "n"}">{escape(row[name])}</td>' for name in COLUMNS)
        + "</tr>"
        for at, row in enumerate(rows(ranking))
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
