import numpy as np
import pytest

from partita.plan import codec_options
from partita.run import codec_option
from partita.wire import parse_codec


@pytest.mark.parametrize(
    ("name", "within"),
    [
        ("raw", 0.0),
        ("fp16", 0.0),
        ("bf16", 0.0),
        ("int8", 0.02),
        ("int4", 0.02),
        # Heads by channel and the width of an index depend on the shape; the planner takes those of a large tensor.
        ("int2/channel", 0.2),
        ("topk:0.1", 0.2),
        ("topk:0.05/fp32", 0.25),
    ],
)
@pytest.mark.parametrize("shape", [(4, 64, 16), (1, 64, 1000)])
def test_the_planner_is_told_the_bytes_that_the_wire_sends(
    name: str, within: float, shape: tuple[int, ...]
) -> None:
    """Predicted bytes are those of an encoded tensor, exactly where a codec is linear."""
    sent = parse_codec(name).encode(np.random.default_rng(1).standard_normal(shape, dtype=np.float32)).nbytes
    elements = float(np.prod(shape))

    assert codec_option(name).encoded(elements, 4 * elements) == pytest.approx(sent, rel=within)


@pytest.mark.parametrize("name", ["raw", "fp16", "int8", "int4", "int2"])
def test_the_errors_known_by_heart_are_those_measured(name: str) -> None:
    """The planner's own table agrees with the wire within a fifth."""
    assert codec_options([name])[name].error == pytest.approx(codec_option(name).error, rel=0.2)


def test_a_lossless_stage_is_a_factor_without_error() -> None:
    """What packs depends on the tensor; nothing is lost."""
    option = codec_option("lossless")

    assert option.error == 0.0
    assert 0.5 < option.factor <= 1.0
