"""Plans and profiles from files: those of inference are taken, those of other models are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.errors import IllegalCut, PlanMismatch, ProfileMismatch
from partita.graph import Device, Profile, StageCost, Timing
from partita.plan import parse_plan
from partita.train.belonging import belonging_plan, belonging_profiles

from .conftest import batch_of, small_net

TEXT = "edge[0:2] -raw/raw-> cloud[2:7] | K=1 batch=4 mode=train"


@pytest.fixture(scope="module")
def model() -> TorchModel:
    return capture_torch(small_net(), (batch_of(0)[0],), name="net", mode="train")


def profile(digest: str, stages: int = 7) -> Profile:
    cost = StageCost("stage", {8: Timing(0.1)})
    return Profile("m", digest, Device("pi"), (cost,) * stages, cost)


def test_a_plan_of_the_chain_in_inference_is_taken_for_training(model: TorchModel) -> None:
    given = parse_plan(TEXT.replace("train", "infer"), digest=model.layout("eval").chain.digest)
    taken = belonging_plan(given, model)

    assert model.layout("eval").chain.digest != model.chain.digest
    assert (taken.digest, taken.mode, taken.parts) == (model.chain.digest, "train", given.parts)


def test_a_plan_without_a_digest_is_taken_where_it_fits(model: TorchModel) -> None:
    assert belonging_plan(parse_plan(TEXT), model).window == 1
    with pytest.raises(IllegalCut, match="covers 9 stages and the model has 7"):
        belonging_plan(parse_plan(TEXT.replace("7", "9")), model)


def test_a_plan_of_another_model_is_refused(model: TorchModel) -> None:
    with pytest.raises(PlanMismatch, match="not to 'net'"):
        belonging_plan(parse_plan(TEXT, digest="sha256:other"), model)


def test_profiles_become_those_of_the_chain_that_is_trained(model: TorchModel) -> None:
    digests = {"edge": model.layout("eval").chain.digest, "cloud": model.chain.digest}
    taken = belonging_profiles({place: profile(digest) for place, digest in digests.items()}, model)

    assert {found.digest for found in taken.values()} == {model.chain.digest}
    for found in taken.values():
        found.check(model.chain)


def test_all_profiles_of_other_models_are_named_at_once(model: TorchModel) -> None:
    strange = profile("sha256:other")
    with pytest.raises(ProfileMismatch, match="the profile of edge and of cloud") as refusal:
        belonging_profiles({"edge": strange, "cloud": replace(strange, digest="")}, model)

    assert "--backward" in refusal.value.fix
