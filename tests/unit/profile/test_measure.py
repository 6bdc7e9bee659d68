"""What stages cost, on a model whose costs are known."""

import numpy as np
import pytest

from partita.errors import BadDocument, PartFailed, UserError
from partita.graph import Chain, DType, Stage, TensorSpec, dump, load, parse_profile, print_profile
from partita.graph import Profile as GraphProfile
from partita.profile import PowerModel, measure, measure_calibrated

COSTS = (0.1, 0.2, 0.3, 0.1, 0.5, 0.05, 0.2, 0.1, 0.4)


def test_stages_cost_what_they_cost_inside_the_whole(model):
    """A call's own cost is not counted for every stage: the sum over the stages is the whole."""
    fake = model(COSTS, call=0.05)

    profile = measure(fake, batches=(1, 8), effort=fake.effort())

    whole = 0.05 + sum(COSTS)
    assert profile.whole.forward[1].median == pytest.approx(whole)
    assert profile.seconds(0, 9, 1) == pytest.approx(whole)
    assert [stage.forward[1].median for stage in profile.stages] == pytest.approx(
        [cost * whole / sum(COSTS) for cost in COSTS]
    )


@pytest.mark.parametrize("cut", range(1, 9))
def test_the_two_parts_of_any_cut_are_predicted_within_the_price_of_a_call(model, cut):
    """What a plan adds up is what the parts would take, but for the call that one more part pays."""
    fake = model(COSTS, call=0.05)
    profile = measure(fake, batches=(1,), effort=fake.effort())

    for start, stop in ((0, cut), (cut, 9)):
        assert profile.seconds(start, stop, 1) == pytest.approx(0.05 + sum(COSTS[start:stop]), abs=0.05)


def test_the_calibration_tells_the_price_of_one_more_cut(model):
    """What a call costs is found from the pieces, and the ratio of whole to sum beside it."""
    fake = model(COSTS, call=0.05)

    (found,) = measure_calibrated(fake, batches=(1,), effort=fake.effort()).calibrations

    assert found.handover == pytest.approx(0.05)
    assert found.ratio == pytest.approx((0.05 + sum(COSTS)) / (9 * 0.05 + sum(COSTS)))


def test_forward_and_backward_together_are_a_training_step(model):
    """Backward is what the step takes beyond the forward pass, for each stage and the whole."""
    fake = model(COSTS, call=0.05)

    profile = measure(fake, batches=(2,), effort=fake.effort(), backward=True)

    assert profile.trained
    assert profile.whole.backward[2].median == pytest.approx(4 * sum(COSTS))
    assert [stage.backward[2].median for stage in profile.stages] == pytest.approx([4 * c for c in COSTS])


def test_measuring_training_steps_leaves_no_trace(model):
    """Buffers, gradients and modes are as before: steps run in train mode, everything else in eval."""
    fake = model(COSTS[:2])

    measure(fake, batches=(1,), effort=fake.effort(), backward=True)

    assert {mode for *_, mode in fake.calls} == {"eval", "train"}
    assert np.array_equal(fake.weights["w0"], np.zeros(4))
    assert fake.gradients == {}


def test_backward_of_an_engine_that_cannot_is_refused(model):
    """Who asks for training costs of a part without a backward pass is told what to do."""
    fake = model(COSTS, learns=False)

    with pytest.raises(UserError, match="no backward pass") as caught:
        measure(fake, effort=fake.effort(), backward=True)

    assert "--backward" in caught.value.fix


def test_stages_that_cannot_be_cut_apart_share_their_time(model, line):
    """A span of three operators and one is divided three to one, and the source says so."""
    chain = line(3, ops=(3, 1, 1), blocked={1: "an alias"})
    fake = model((0.3, 0.5, 0.2), chain=chain)

    profile = measure(fake, batches=(1,), effort=fake.effort())

    assert [stage.forward[1].median for stage in profile.stages] == pytest.approx([0.6, 0.2, 0.2])
    assert profile.source == "measured in 2 parts; 1 stage shares the time of a neighbour by its operators"


def test_a_chain_longer_than_allowed_is_timed_in_joined_spans(model):
    """No more parts are held than asked for."""
    fake = model(COSTS)

    profile = measure(fake, batches=(1,), effort=fake.effort(spans=3))

    assert profile.source.startswith("measured in 3 parts; 6 stages share")
    assert profile.seconds(0, 9, 1) == pytest.approx(sum(COSTS))


def test_a_model_of_one_stage_is_its_own_whole(model):
    """Nothing to calibrate, nothing to divide."""
    fake = model((0.5,), call=0.1)

    profile = measure(fake, batches=(1,), effort=fake.effort())

    assert profile.stages[0].forward == profile.whole.forward


def test_parameter_bytes_and_live_activations_stand_beside_the_times(model):
    """Each stage knows its weights, and the tensors alive while it runs: 4 floats in, 4 floats out."""
    fake = model(COSTS[:3])

    profile = measure(fake, batches=(1, 4), effort=fake.effort())

    assert [stage.param_bytes for stage in profile.stages] == [16, 16, 16]
    assert profile.whole.param_bytes == 48
    assert profile.stages[1].peak_bytes == {1: 32, 4: 128}
    assert profile.whole.peak_bytes == {1: 32, 4: 128}


class Metered:
    """A meter that counts half a joule for every second of a hand-moved clock."""

    source = "bench meter"

    def __init__(self, clock, measured=True, answers=True):
        self.clock, self.measured, self.answers = clock, measured, answers

    def start(self):
        self.begun = self.clock()

    def stop(self):
        from partita.graph import Energy

        joules = (self.clock() - self.begun) / 2
        return Energy(joules, self.source, self.measured) if self.answers else None


def test_the_whole_is_metered_and_the_stages_are_modelled(model):
    """A stage is too short for a meter: its joules are a share by time, and do not say measured."""
    fake = model((0.25, 0.75))

    profile = measure(fake, batches=(1,), effort=fake.effort(), meter=Metered(fake.clock))

    assert profile.whole.energy[1].joules == pytest.approx(0.5)
    assert profile.whole.energy[1].measured
    assert profile.stages[1].energy[1].joules == pytest.approx(0.375)
    assert not profile.stages[1].energy[1].measured
    assert profile.stages[1].energy[1].source == "bench meter, divided by time"


@pytest.mark.parametrize("answers", [True, False])
def test_a_meter_that_says_nothing_leaves_no_joules(model, answers):
    """No answer is None, not zero; and a model that takes no time has equal shares."""
    fake = model((0.25, 0.75))

    profile = measure(fake, batches=(1,), effort=fake.effort(), meter=Metered(fake.clock, answers=answers))

    assert bool(profile.whole.energy) is answers
    assert (profile.stages[0].joules(1) is not None) is answers


def test_modelled_watts_never_say_measured(model):
    """Processor seconds times watts are a model, for the whole too."""
    fake = model((0.5,))

    profile = measure(fake, batches=(1,), effort=fake.effort(), meter=PowerModel(6))

    assert not profile.whole.energy[1].measured


def test_progress_moves_forward_and_ends_at_one(model):
    """The listener hears every batch size and kind of work, and the share of everything."""
    fake, heard = model(COSTS), []

    measure(fake, batches=(1, 2), effort=fake.effort(), backward=True, progress=heard.append)

    assert [step.done for step in heard] == sorted(step.done for step in heard)
    assert heard[-1].done == pytest.approx(1.0)
    assert list(dict.fromkeys((step.batch, step.work) for step in heard)) == [
        (1, "forward"), (1, "backward"), (2, "forward"), (2, "backward"),
    ]  # fmt: skip


def test_the_budget_bounds_everything_together(model):
    """A slow model is measured three times at each size, whatever the runs asked for."""
    fake = model((100.0, 100.0))

    profile = measure(fake, batches=(1, 2), effort=fake.effort(runs=50, warmup=0, budget=1.0))

    assert profile.whole.forward[1].runs == profile.whole.forward[2].runs == 3


def test_a_stage_that_fails_is_named(model):
    """Whoever reads the error knows which stage, and how it failed."""
    fake = model(COSTS[:3], broken="s1")

    with pytest.raises(PartFailed, match=r"stage 's1' raised ValueError .*: a matrix of the wrong shape"):
        measure(fake, effort=fake.effort())


def test_stages_that_fail_together_are_named_together(model, line):
    """Where stages cannot be told apart, the error names the first and the last."""
    fake = model(COSTS[:3], chain=line(3, blocked={1: "an alias"}), broken="s1")

    with pytest.raises(PartFailed, match="the stages from 's0' to 's1' raised"):
        measure(fake, effort=fake.effort())


def test_an_error_of_our_own_passes_unchanged(model):
    """An error that says who is at fault is not wrapped in another."""
    fake = model(COSTS[:2])
    fake.failure = UserError("no", fix="yes")

    with pytest.raises(UserError) as caught:
        measure(fake, effort=fake.effort())

    assert caught.value is fake.failure


@pytest.mark.parametrize("batches", [(), (0,), (1, -2)])
def test_impossible_batch_sizes_are_refused(model, batches):
    """A batch has at least one row."""
    with pytest.raises(BadDocument, match="batches"):
        measure(model(COSTS), batches=batches)


def test_a_model_with_a_fixed_batch_is_measured_at_that_one(model):
    """Who cannot change the batch size gets the one there is, under its own number."""
    spec = {n: TensorSpec(n, DType.FLOAT32, (3, 4)) for n in ("x", "y")}
    chain = Chain("fixed", "fake", (Stage("s", ("x",), ("y",)),), spec, ("x",), ("y",))
    fake = model((0.5,), chain=chain)

    profile = measure(fake, batches=(1, 8), effort=fake.effort())

    assert profile.batches == (3,)


def test_a_model_without_stages_is_refused(model):
    """There is nothing to measure in a model that gives its inputs back."""
    chain = Chain("empty", "fake", (), {"x": TensorSpec("x", DType.FLOAT32, ("batch",))}, ("x",), ("x",))

    with pytest.raises(UserError, match="no stages"):
        measure(model((), chain=chain))


def test_a_profile_is_stamped_and_parses_back(model):
    """Device, digest and date are on it; JSON and text give it back."""
    fake = model(COSTS)

    profile = measure(fake, effort=fake.effort(), backward=True, meter=PowerModel(6))

    assert profile.digest == fake.chain.digest
    assert profile.device.threads >= 1
    assert profile.taken.startswith("20")
    assert profile.source == "measured"
    assert load(GraphProfile, dump(profile)) == profile
    assert parse_profile(print_profile(profile)) == profile


def test_stages_that_take_no_time_take_none_in_training_either(model):
    """A clock that does not move makes zeros, not errors."""
    fake = model((0.0, 0.0))

    profile = measure(
        fake, batches=(1,), effort=fake.effort(), backward=True, meter=Metered(iter(range(9)).__next__)
    )

    assert profile.seconds(0, 2, 1, "backward") == 0.0
    assert profile.stages[0].energy[1].joules == pytest.approx(profile.whole.energy[1].joules / 2)
