"""The bytes of a checkpoint: readable by others, checked as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from partita.engine import largest_difference
from partita.errors import BadDocument
from partita.train.checkpoints_file import looks_whole, pack, unpack

DTYPES = [np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
DTYPES += [np.float16, np.float32, np.float64, np.complex64]
DTYPES += [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(0, 3), max_size=3).map(tuple),
    document=st.dictionaries(
        st.text(), st.integers() | st.text() | st.none() | st.lists(st.floats(allow_nan=False))
    ),
    name=st.text(min_size=1, max_size=9).filter(lambda name: name != "__metadata__"),
)
def test_every_type_and_document_comes_back(
    dtype: type, shape: tuple[int, ...], document: dict[str, object], name: str
) -> None:
    values = {name: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)}

    found, loaded = unpack(3, pack(3, document, values))

    assert found == document
    assert largest_difference(loaded, values) == 0.0


def test_any_reader_of_safetensors_reads_a_checkpoint() -> None:
    assert load(pack(3, {}, {"a": np.ones(2)}))["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("values", "step", "match"),
    [
        ({"a": np.array(["text"])}, 1, "a: <U4"),
        ({"a": np.ones(1, np.complex128)}, 1, "complex128"),
        ({}, -1, "step: -1"),
    ],
)
def test_what_has_no_place_in_a_checkpoint_is_refused_by_name(
    values: dict[str, np.ndarray], step: int, match: str
) -> None:
    with pytest.raises(BadDocument, match=match):
        pack(step, {}, values)


def test_another_format_is_refused_by_its_number() -> None:
    data = pack(3, {}, {}).replace(b'"format":"1"', b'"format":"2"')

    with pytest.raises(ValueError, match="format '2'"):
        unpack(3, data)


@pytest.mark.parametrize(
    "header", ["[]", "3", '{"__metadata__":3}', '{"__metadata__":{"digest":""},"a":{}}', "{", '{"a":[]}']
)
def test_a_header_of_something_else_is_not_whole(tmp_path: Path, header: str) -> None:
    data = len(header).to_bytes(8, "little") + header.encode()
    (tmp_path / "file").write_bytes(data)

    assert not looks_whole(tmp_path / "file")
    with pytest.raises(ValueError, match=r"it is no whole checkpoint|Expecting"):
        unpack(1, data)


def test_a_length_beyond_the_file_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes((1 << 62).to_bytes(8, "little") + json.dumps({}).encode())

    assert not looks_whole(tmp_path / "file")


def test_a_file_that_is_gone_is_not_whole(tmp_path: Path) -> None:
    assert not looks_whole(tmp_path / "file")
