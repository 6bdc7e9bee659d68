"""Models of torchvision and timm."""

from __future__ import annotations

import pytest

from partita.engine import largest_difference
from partita.errors import MissingExtra
from partita.zoo import build, resolve, vision


@pytest.mark.parametrize(
    ("reference", "shape"),
    [
        ("torchvision:mobilenet_v3_small", (2, 3, 224, 224)),
        ("timm:test_resnet", (2, 3, 160, 160)),
    ],
)
def test_images_have_the_size_the_model_was_made_for(reference: str, shape: tuple[int, ...]) -> None:
    """From the library's own data."""
    assert build(reference).args[0].shape == shape


@pytest.mark.parametrize("reference", ["torchvision:mobilenet_v3_small", "timm:test_resnet"])
def test_a_model_of_a_library_splits_into_equal_parts(reference: str) -> None:
    """In the middle, on smaller images."""
    model = resolve(reference, dims={"image": 64})
    values, middle, end = model.example(), len(model.chain) // 2, len(model.chain)
    first, second = model.part(0, middle), model.part(middle, end)

    assert largest_difference(second.forward(first.forward(values)), model.whole(values)) == 0.0


def test_a_library_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip install 'partita[vision]'."""
    monkeypatch.setattr(vision, "torchvision_works", lambda: False)
    with pytest.raises(MissingExtra, match="torchvision") as caught:
        build("torchvision:resnet18")
    assert "partita[vision]" in caught.value.fix
    with pytest.raises(MissingExtra, match="timm"):
        build("timm:resnet18")
