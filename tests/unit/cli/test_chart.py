"""Curves as SVG, and pages of them."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.cli.chart import Axis, Mark, Panel, Table, lines, page, picture
from partita.errors import BadDocument

SVG = "{http://www.w3.org/2000/svg}"
X, Y = Axis("slices", "count"), Axis("memory", "bytes")
CURVE = [(1.0, 400.0), (2.0, 300.0), (4.0, 100.0)]


def read(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def texts(root: ElementTree.Element) -> list[str]:
    return [node.text or "" for node in root.iter(f"{SVG}text")]


def dots(root: ElementTree.Element, number: int = 0) -> list[ElementTree.Element]:
    """The markers of a series that carry its numbers."""
    return [
        n for n in root.iter() if n.get("class") == f"dot c{number}" and n.find(f"{SVG}title") is not None
    ]


def test_values_land_where_their_numbers_are() -> None:
    """A point lies as far from its neighbours as its value says."""
    found = dots(read(lines({"a": CURVE}, title="t", x=X, y=Y)))
    xs, ys = ([float(dot.get(key) or 0) for dot in found] for key in ("cx", "cy"))

    assert (xs[1] - xs[0]) * 2 == pytest.approx(xs[2] - xs[1], abs=0.3)
    assert (ys[1] - ys[0]) * 2 == pytest.approx(ys[2] - ys[1], abs=0.3)
    assert ys[0] < ys[2]


def test_a_point_tells_its_numbers() -> None:
    """With the name of its curve and the units."""
    (title,) = [dot.find(f"{SVG}title") for dot in dots(read(lines({"a": CURVE[:1]}, title="t", x=X, y=Y)))]

    assert title is not None
    assert title.text == "a: 1, 400 B"


def test_axes_have_names_and_round_numbers() -> None:
    """In the axis's unit."""
    found = texts(read(lines({"a": CURVE}, title="Memory", x=X, y=Y)))

    assert {"Memory", "slices", "memory", "1", "2", "3", "4", "0 B", "100 B", "400 B"} <= set(found)


def test_several_curves_have_a_legend_and_one_has_none() -> None:
    """Its name is in the title then."""
    one = texts(read(lines({"only": CURVE}, title="t", x=X, y=Y)))
    many = texts(read(lines({f"curve number {i}": CURVE for i in range(9)}, title="t", x=X, y=Y)))

    assert "only" not in one
    assert sum(text.startswith("curve number") for text in many) == 9


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Z"]), max_size=20))
def test_any_text_is_well_formed_and_comes_out_as_it_was(text: str) -> None:
    """Names come from models and files."""
    panel = Panel(text, {text: CURVE, "other": CURVE}, Axis(text), Axis(text), [Mark("y", 200.0, text)])
    root = read(picture(panel))

    assert texts(root).count(text) >= 4
    assert root.get("aria-label") == text


def test_characters_that_xml_forbids_are_shown_as_question_marks() -> None:
    """A model may name a tensor as it likes."""
    assert "a?b?" in texts(read(lines({"x": CURVE}, title="a\x00b\ud800", x=X, y=Y)))


def test_a_value_that_is_not_finite_is_a_gap() -> None:
    """The line is broken there, and goes on."""
    root = read(lines({"a": [(1, 1), (2, 2), (3, math.nan), (4, 3), (5, 4)]}, title="t", x=X, y=Y))
    (path,) = [n for n in root.iter(f"{SVG}path") if (n.get("class") or "").startswith("curve")]

    assert [letter for letter in path.get("d") or "" if letter.isalpha()] == ["M", "L", "M", "L"]
    assert len(dots(root)) == 4


def test_a_single_point_is_a_picture() -> None:
    """A marker without a line."""
    root = read(lines({"a": [(3, 5)]}, title="t", x=X, y=Y))

    assert len(dots(root)) == 1
    assert not [n for n in root.iter(f"{SVG}path") if (n.get("class") or "").startswith("curve")]


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [(1, math.nan), (math.inf, 2)]}])
def test_a_picture_of_nothing_is_refused(series: dict[str, list[tuple[float, float]]]) -> None:
    """Before a file is written."""
    with pytest.raises(BadDocument, match="picture 't': series: there is not a single value to draw"):
        lines(series, title="t", x=X, y=Y)


def test_a_logarithmic_axis_refuses_zero_by_name() -> None:
    """In curves and marks alike, all at once."""
    with pytest.raises(BadDocument) as caught:
        lines(
            {"a": [(1, 0)]},
            title="t",
            x=Axis("n", log=True),
            y=Axis("m", log=True),
            marks=[Mark("x", -1, "here")],
        )

    assert caught.value.problems == (
        "mark 'here' is -1 on the logarithmic axis 'n'",
        "'a' has 0 on the logarithmic axis 'm'",
    )


def test_a_logarithmic_axis_spaces_by_ratio() -> None:
    """A tenth is as far as ten times."""
    root = read(lines({"a": [(1, 1), (2, 10), (3, 100)]}, title="t", x=X, y=Axis("m", log=True)))
    ys = [float(dot.get("cy") or 0) for dot in dots(root)]

    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)


def test_a_mark_stands_at_its_value() -> None:
    """A limit lies between the points on both of its sides, and is named."""
    root = read(
        lines({"a": CURVE}, title="t", x=X, y=Y, marks=[Mark("y", 200.0, "limit"), Mark("x", 2, "chosen")])
    )
    limit, chosen = [n for n in root.iter(f"{SVG}line") if n.get("class") == "mark"]
    points = dots(root)

    assert float(points[1].get("cy") or 0) < float(limit.get("y1") or 0) < float(points[2].get("cy") or 0)
    assert chosen.get("x1") == points[1].get("cx")
    assert {"limit", "chosen"} <= set(texts(root))


def test_a_mark_beyond_the_curves_is_still_in_the_picture() -> None:
    """The scale reaches it."""
    root = read(lines({"a": CURVE}, title="t", x=X, y=Y, marks=[Mark("y", 5000.0, "limit")]))
    (limit,) = [n for n in root.iter(f"{SVG}line") if n.get("class") == "mark"]

    assert 0 < float(limit.get("y1") or 0) < float((root.get("viewBox") or "").split()[3])


def test_values_of_any_size_are_drawn() -> None:
    """From 1e-300 to 1e300."""
    root = read(lines({"a": [(1, 1e-300), (2, 1e300)]}, title="t", x=X, y=Axis("m", log=True)))

    assert all(math.isfinite(float(dot.get("cy") or "nan")) for dot in dots(root))


def test_a_long_curve_has_no_markers() -> None:
    """They would hide it."""
    root = read(lines({"a": [(i, i) for i in range(500)]}, title="t", x=X, y=Y))

    assert not dots(root)


def test_a_page_holds_all_pictures_and_tables() -> None:
    """One document, nothing fetched, every text escaped."""
    panel = Panel("<b>", {"a": CURVE}, X, Y)
    text = page(
        "5 < 6", [panel, panel], [Table("t&t", ["name", "bytes"], [["<x>", 5]], frozenset({"bytes"}), best=0)]
    )
    body = read(text.removeprefix("<!doctype html>\n"))

    assert len(list(body.iter(f"{SVG}svg"))) == 2
    assert [node.text for node in body.iter("td")] == ["<x>", "5"]
    assert [node.get("class") for node in body.iter("td")] == [None, "n"]
    assert [node.get("class") for node in body.iter("tr")] == [None, "best"]
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "prefers-color-scheme:dark" in text
