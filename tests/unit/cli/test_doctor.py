from typing import Any

import pytest

from partita.cli import doctor as module


def test_the_doctor_looks_at_everything(partita: Any) -> None:
    """Each library, device and credential has a row, with what to do about what is missing."""
    findings = {f["name"]: f for f in partita("doctor", "--json").document["findings"]}

    assert {
        "python",
        "machine",
        "disk",
        "torch",
        "onnxruntime",
        "ray",
        "energy meters",
        "AWS credentials",
    } <= set(findings)
    assert findings["onnxruntime"]["state"] == "ok"
    assert all(f["fix"] for f in findings.values() if f["state"] == "missing")


def test_a_missing_library_is_named_with_its_extra(partita: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would enable and how to get it stand in its row."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    outcome = partita("doctor")

    assert "pip install 'partita[torch]'" in outcome.out
    assert "Missing pieces are optional" in outcome.out


def test_credentials_are_found_but_never_shown(partita: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor names where credentials are, not what they are."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-SECRET")
    outcome = partita("doctor")

    assert "AWS_ACCESS_KEY_ID" in outcome.out
    assert "AKIA-SECRET" not in outcome.out
