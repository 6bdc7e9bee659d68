"""Which plans and profiles are of the model that is trained.

Rules: what was made with the chain of inference is taken too, where its stages are the same; what is of another model
is refused before the cloud is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..engine.torch_model import TorchModel
from ..errors import PlanMismatch, ProfileMismatch
from ..graph import Profile
from ..plan import Plan


def belongs(digest: str, model: TorchModel) -> bool:
    """Whether this is the digest of the model's chain, in training or in inference with the same stages."""
    chain = model.chain
    if digest == chain.digest:
        return True
    other = model.layout("eval").chain
    same = [stage.name for stage in chain.stages] == [stage.name for stage in other.stages]
    return same and digest == other.digest


def belonging_plan(found: Plan, model: TorchModel) -> Plan:
    """A plan as one for training this model; one that was read from text carries no digest, and names stages only."""
    chain = model.chain
    if found.digest and not belongs(found.digest, model):
        raise PlanMismatch(
            f"this plan belongs to {found.model!r} ({found.digest[:19]}), not to {chain.name!r}",
            fix="plan this model, or give no plan and let the planner decide",
        )
    mine = replace(found, mode="train", model=chain.name, digest=chain.digest, estimate=None)
    mine.check(chain)
    return mine


def belonging_profiles(profiles: Mapping[str, Profile], model: TorchModel) -> dict[str, Profile]:
    """Profiles by place, as those of this chain; all that are of another model are named at once."""
    chain = model.chain
    strange = [
        place
        for place, profile in profiles.items()
        if not belongs(profile.digest, model) or len(profile.stages) != len(chain)
    ]
    if strange:
        raise ProfileMismatch(
            f"the profile of {' and of '.join(strange)} is of another model than {chain.name!r}",
            fix=f"measure it: partita profile {chain.name} --backward -o profile.json",
        )
    return {
        place: replace(profile, digest=chain.digest, model=chain.name) for place, profile in profiles.items()
    }
