"""A small network with exits: trained on made-up images, divided into subnetworks, and asked what a deadline would change."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from partita.serve import (
    Bounds,
    ExitModel,
    Measuring,
    TrainSpec,
    collect,
    explain_request,
    export,
    parse_policy,
    profile_model,
    train,
)
from partita.zoo import open_data

DATA = "made:shapes"


def main() -> None:
    """Everything in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        run, folder = Path(name) / "run", Path(name) / "model"
        spec = TrainSpec(model="early-cnn", dataset=DATA, epochs=1, batch_size=64, learning_rate=2e-3)
        train(spec, open_data(DATA, limit=400), open_data(DATA, split="val", limit=200), folder=run)
        print("chain against the whole:", export(run, folder).parity.chain)
        model = ExitModel.open(folder)
        images, labels = zip(*open_data(DATA, split="test", limit=200).batches(200), strict=True)
        truth = collect(model, [np.concatenate(images)], np.concatenate(labels))
        profile = profile_model(model, batches=(1,), measuring=Measuring(runs=20, seconds=2.0), truth=truth)
        policy = parse_policy({"version": 1}, profile=profile)
        half = profile.stages[0].seconds(1, tail=True) + profile.stages[1].seconds(1, tail=True)
        print(explain_request(profile, None, policy, Bounds(deadline=half)))


if __name__ == "__main__":
    main()
