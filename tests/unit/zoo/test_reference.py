"""How a model is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from partita.errors import BadReference
from partita.zoo import FORMS, parse_reference


@pytest.mark.parametrize(
    ("text", "form", "name", "attribute"),
    [
        ("torchvision:resnet18", "torchvision", "resnet18", ""),
        ("timm:convnext_tiny.in12k", "timm", "convnext_tiny.in12k", ""),
        ("hf:org/model", "hf", "org/model", ""),
        ("zoo:resnet-tiny", "zoo", "resnet-tiny", ""),
        ("some/where/net.onnx", "onnx", "some/where/net.onnx", ""),
        ("pkg.mod:factory", "module", "pkg.mod", "factory"),
        ("some/where/nets.py:factory", "file", "some/where/nets.py", "factory"),
    ],
)
def test_every_form_is_read(text: str, form: str, name: str, attribute: str) -> None:
    """Nothing is imported or opened for that."""
    parsed = parse_reference(text)

    assert (parsed.form, parsed.name, parsed.attribute, parsed.text) == (form, name, attribute, text)


def test_what_stands_behind_the_question_mark_becomes_keywords() -> None:
    """Numbers and truth values as such; weights apart."""
    parsed = parse_reference("timm:net?num_classes=10&drop=0.5&flag=true&act=relu&none=none&weights=DEFAULT")

    assert parsed.options == {"num_classes": 10, "drop": 0.5, "flag": True, "act": "relu", "none": None}
    assert parsed.weights == "DEFAULT"


@pytest.mark.parametrize("text", ["resnet18", "", "hf:", "torchvison:resnet-18"])
def test_what_names_nothing_is_refused(text: str) -> None:
    """With its text in the sentence."""
    with pytest.raises(BadReference) as caught:
        parse_reference(text)
    assert repr(text) in caught.value.problem


def test_a_library_misspelt_is_corrected_and_nonsense_gets_the_list_of_forms() -> None:
    """The fix is what to write."""
    with pytest.raises(BadReference) as near:
        parse_reference("torchvison:resnet-18")
    with pytest.raises(BadReference) as far:
        parse_reference("resnet18")

    assert near.value.fix == "did you mean torchvision?"
    assert all(form in far.value.fix for form in FORMS)


def test_a_bare_folder_is_told_its_form(tmp_path: Path) -> None:
    """Folders are read by transformers."""
    with pytest.raises(BadReference) as caught:
        parse_reference(str(tmp_path))
    assert caught.value.fix.startswith(f"write hf:{tmp_path}")
