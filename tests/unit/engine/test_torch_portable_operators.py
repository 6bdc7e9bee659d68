"""The list of operators that may come from outside."""

from __future__ import annotations

import operator
import re

import pytest
import torch

from partita.engine.torch_portable_operators import ALLOWED, PLAIN, Arithmetic, name_of, operator_of

EVERY = sorted(
    {
        f"aten.{schema.name.partition('::')[2]}.{schema.overload_name or 'default'}"
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith("aten::")
    }
)
DANGEROUS = re.compile(
    r"file|save|load|storage|set_data|\bset\b|resize|strided|stream|pin_memory|quantiz|fbgemm|mkldnn|cudnn|miopen|sparse|"
    r"nested|pointer|ptr|backward|seed|\bdata\b|\bout\b|unsafe_index|packed|pivot|_lu_|ldl_|unpool|embedding_bag|ctc"
)


def test_names_go_to_operators_and_back() -> None:
    """For every overload that is allowed."""
    allowed = [name for name in EVERY if operator_of(name) is not None]

    assert len(allowed) > 900
    assert all(name_of(operator_of(name)) == name for name in allowed)


def test_nothing_that_is_allowed_sounds_dangerous() -> None:
    """Files, storages, streams, foreign libraries, packed weights, kernels of backward passes."""
    found = [name for name in EVERY if DANGEROUS.search(name)]

    assert len(found) > 300
    assert [name for name in found if operator_of(name) is not None] == []


def test_schemas_speak_of_plain_values_only() -> None:
    """And of tensors at least once, so that TorchScript's own arithmetic stays outside."""
    for name in EVERY:
        target = operator_of(name)
        if target is not None:
            kinds = [str(a.real_type) for a in (*target._schema.arguments, *target._schema.returns)]
            assert all(PLAIN.match(kind) for kind in kinds)
            assert (
                any("Tensor" in kind for kind in kinds) or "sym_constrain" in name or "assert_scalar" in name
            )


def test_the_list_holds_no_name_that_torch_lacks() -> None:
    """A typing error would refuse a model for nothing. Older versions may lack some."""
    known = {schema.name.partition("::")[2] for schema in torch._C._jit_get_all_schemas()}

    assert len([name for name in ALLOWED if name not in known and f"{name}_" not in known]) <= 5


def test_in_place_variants_are_allowed_with_their_siblings() -> None:
    """`relu_` is what `relu` is; `set_` and `resize_` have no sibling here."""
    assert operator_of("aten.relu_.default") is torch.ops.aten.relu_.default
    assert operator_of("aten.resize_.default") is None


def test_operators_that_are_no_operators_of_torch_have_no_name() -> None:
    """What has no name does not travel."""
    assert [name_of(f) for f in (print, torch.relu, torch.ops.aten.set_.default, operator.pow)] == [""] * 4
    assert name_of(operator.getitem) == "operator.getitem"
    assert name_of(torch.sym_max) == "torch.sym_max"


@pytest.mark.parametrize(
    ("name", "operands", "made"),
    [
        ("operator.floordiv", (7, 2), 3),
        ("operator.truediv", (7, 2), 3.5),
        ("operator.neg", (7,), -7),
        ("torch.sym_sum", ([1, 2, 3],), 6),
        ("torch.sym_max", (1, 2), 2),
        ("torch.sym_float", (1,), 1.0),
        ("math.ceil", (1.5,), 2),
        ("operator.lt", (1, 2), True),
    ],
)
def test_sizes_are_computed(name: str, operands: tuple[object, ...], made: object) -> None:
    """Numbers in, a number out."""
    assert Arithmetic(name)(*operands) == made


@pytest.mark.parametrize("operands", [([1], 1 << 40), ("a", 3), (torch.ones(2), 2), ([[1]], 1)])
def test_what_is_no_size_is_not_computed_with(operands: tuple[object, ...]) -> None:
    """A list times a number is a list of that many."""
    with pytest.raises(TypeError, match="is for sizes"):
        Arithmetic("operator.mul")(*operands)
