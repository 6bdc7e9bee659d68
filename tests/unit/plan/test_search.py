"""The search finds what trying every plan finds."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.errors import Infeasible
from partita.plan import Objective, Pricing, search
from partita.plan.estimate import excess
from partita.plan.objective import keys_of


def best_of_all(case, every_plan):
    pricing = Pricing.of(case.chain, case.profiles, case.link, case.question)
    rows = []
    for plan in every_plan(case.chain, case.question):
        if not excess(pricing.needs(plan), case.limits):
            rows.append((keys_of(case.question, "edge", plan, pricing.estimate(plan, simulated=False)), plan))
    return sorted(rows, key=lambda row: row[0])


@pytest.mark.parametrize("objective", get_args(Objective))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_best_plan_equals_that_of_trying_every_plan(data, objective, problem, every_plan):
    """For every objective, mode and limit, no plan that could be named is better than the one found."""
    case = problem(data.draw, objective)
    rows = best_of_all(case, every_plan)
    try:
        ranking = search(case.chain, case.profiles, case.link, case.question, limits=case.limits)
    except Infeasible:
        assert not rows
        return
    assert ranking.alternatives[0].score == pytest.approx(rows[0][0][0], rel=1e-6, abs=0.51)
    found = keys_of(case.question, "edge", ranking.best, ranking.best.estimate)
    assert found[:2] == pytest.approx(rows[0][0][:2], rel=1e-6, abs=1e-9)
