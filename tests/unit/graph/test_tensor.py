import numpy as np
import pytest

from partita.errors import UnboundDimension
from partita.graph import DType, TensorSpec, bytes_formula


def test_bytes_follow_from_type_and_shape() -> None:
    """Four bytes for each float32 of the bound shape."""
    tensor = TensorSpec("x", DType.FLOAT32, ("batch", 3, "2*seq"))

    assert tensor.nbytes({"batch": 2, "seq": 5}) == 4 * 2 * 3 * 10


def test_item_sizes_are_those_of_numpy() -> None:
    """Every travelling type has the size that numpy (or ml_dtypes) gives it."""
    import ml_dtypes

    for dtype in DType:
        if dtype.travels:
            known = getattr(ml_dtypes, dtype) if hasattr(ml_dtypes, dtype) else dtype.value
            assert np.dtype(known).itemsize == dtype.itemsize, dtype


def test_values_without_bytes_do_not_travel() -> None:
    """Sequences, optionals, strings and unknown ranks cannot cross a cut."""
    assert not TensorSpec("s", DType.SEQUENCE, ()).travels
    assert not TensorSpec("x", DType.FLOAT32, None).travels
    assert TensorSpec("x", DType.INT64, ()).travels


def test_an_unknown_shape_has_no_bytes() -> None:
    """Asking for the size of a tensor of unknown rank names the tensor."""
    with pytest.raises(UnboundDimension, match="'h'"):
        TensorSpec("h", DType.FLOAT32, None).nbytes({})


def test_a_formula_groups_tensors_by_their_open_dimensions() -> None:
    """Bytes are a sum over open dimensions, fixed bytes first."""
    x = TensorSpec("x", DType.FLOAT32, ("batch", 4))
    y = TensorSpec("y", DType.INT64, ("batch", "seq+1"))
    z = TensorSpec("z", DType.BOOL, (3,))

    assert bytes_formula((x, y, z)) == "3 + 8*(seq+1)*batch + 16*batch"
    assert bytes_formula(()) == "0"
    assert bytes_formula((TensorSpec("u", DType.FLOAT32, None),)) == "?"
