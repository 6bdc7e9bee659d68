import pytest

from partita.errors import UnboundDimension
from partita.graph import evaluate, symbols


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("batch", 3),
        ("2*batch+1", 7),
        ("batch//2", 1),
        ("(seq-1)%4", 0),
        ("max(batch, seq)", 5),
        ("Min(batch,2)", 2),
    ],
)
def test_a_formula_has_the_value_of_its_arithmetic(text: str, value: int) -> None:
    """Formulas over symbols evaluate with whole-number arithmetic."""
    assert evaluate(text, {"batch": 3, "seq": 5}) == value


def test_a_number_is_its_own_value() -> None:
    """A fixed dimension needs no binding."""
    assert evaluate(7, {}) == 7
    assert symbols(7) == frozenset()


@pytest.mark.parametrize(
    "text", ["batch size", "unk__12?", "x" * 300, "f(x)", "__import__('os')", "2**batch", "max()", "a.b"]
)
def test_a_text_that_is_no_formula_is_one_symbol(text: str) -> None:
    """Names that exporters make up are symbols, and nothing in them is ever run."""
    assert symbols(text) == {text}
    assert evaluate(text, {text: 4}) == 4


def test_every_symbol_without_a_value_is_named() -> None:
    """The error lists what is missing and the options that give it."""
    with pytest.raises(UnboundDimension, match="--dim batch=1 --dim seq=1"):
        evaluate("batch*seq", {})


def test_a_division_by_zero_is_refused_with_the_values() -> None:
    """A formula that divides by zero names the values it had."""
    with pytest.raises(UnboundDimension, match="batch=0"):
        evaluate("8//batch", {"batch": 0})


def test_function_names_are_not_symbols() -> None:
    """`max` in a formula is not a dimension."""
    assert symbols("max(a, 2*b)") == {"a", "b"}
