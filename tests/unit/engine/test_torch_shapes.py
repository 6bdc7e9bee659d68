"""Open sizes as formulas."""

from __future__ import annotations

import sympy
from hypothesis import given
from hypothesis import strategies as st

from partita.engine.torch_shapes import Symbols, _print, read_symbol, sources
from partita.graph import DType, TensorSpec, evaluate

B, S = sympy.symbols("batch seq", integer=True, positive=True)
NUMBERS = st.integers(1, 9)


def formulas() -> st.SearchStrategy[sympy.Expr]:
    """Formulas as shapes make them: sums, products, whole divisions, remainders, maxima."""
    from torch.utils._sympy.functions import FloorDiv, Max, Mod

    leaves = st.one_of(st.sampled_from([B, S]), NUMBERS.map(sympy.Integer))

    def grow(inner: st.SearchStrategy[sympy.Expr]) -> st.SearchStrategy[sympy.Expr]:
        pair = st.tuples(inner, inner)
        return st.one_of(
            pair.map(lambda p: p[0] + p[1]),
            pair.map(lambda p: p[0] * p[1]),
            pair.map(lambda p: p[0] - p[1]),
            st.tuples(inner, NUMBERS).map(lambda p: FloorDiv(p[0], sympy.Integer(p[1]))),
            st.tuples(inner, NUMBERS).map(lambda p: Mod(p[0] * p[0], sympy.Integer(p[1]))),
            pair.map(lambda p: Max(p[0], p[1])),
        )

    return st.recursive(leaves, grow, max_leaves=5)


@given(formulas(), st.integers(1, 40), st.integers(1, 40))
def test_a_printed_formula_has_the_value_of_the_formula(formula: sympy.Expr, batch: int, seq: int) -> None:
    """What torch works out and what the graph works out from the text are one number."""
    expected = int(formula.xreplace({B: sympy.Integer(batch), S: sympy.Integer(seq)}))
    text = _print(formula)

    assert (
        evaluate(int(text) if text.lstrip("-").isdigit() else text, {"batch": batch, "seq": seq}) == expected
    )


def test_formulas_read_as_people_write_them() -> None:
    """Symbols first, numbers last."""
    assert _print(2 * B) == "2*batch"
    assert _print(B + 1) == "batch + 1"
    assert _print(B - 1) == "batch - 1"
    assert _print(-2 * B) == "0 - 2*batch"


@given(st.integers(1, 100), st.integers(1, 7), st.integers(-5, 5))
def test_a_symbol_is_read_back_from_any_straight_line_in_it(symbol: int, scale: int, offset: int) -> None:
    """`size = scale * symbol + offset` can be undone."""
    spec = TensorSpec("x", DType.FLOAT32, (f"{scale}*batch + {offset}".replace("+ -", "- "),))
    source = sources([spec])["batch"]

    assert read_symbol(scale * symbol + offset, source.scale, source.offset) == symbol


def test_a_symbol_is_not_read_from_what_rounds_it_away() -> None:
    """A halved size does not tell the size."""
    assert sources([TensorSpec("x", DType.FLOAT32, ("batch//2", "batch*seq"))]) == {}


def test_the_plainest_place_is_where_a_symbol_is_read() -> None:
    """The symbol itself goes before twice the symbol."""
    specs = [TensorSpec("a", DType.FLOAT32, ("2*batch",)), TensorSpec("b", DType.FLOAT32, (7, "batch"))]

    assert (sources(specs)["batch"].tensor, sources(specs)["batch"].axis) == ("b", 1)


def test_two_symbols_never_share_a_name() -> None:
    """The second one gets a number."""
    known = Symbols()
    known.bind(sympy.Symbol("s0"), "batch")
    known.bind(sympy.Symbol("s1"), "batch")

    assert list(known.names.values()) == ["batch", "batch_2"]
