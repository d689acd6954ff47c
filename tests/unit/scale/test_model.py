"""The model against the simulation, and against the runs that were measured."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.scale import measured
from scripts.scale.instance import Setting
from scripts.scale.model import group_rate, predict
from scripts.scale.page import FIGURES, TOLERANCE, setting_of
from scripts.scale.simulation import simulate
from tests.examples import examples

RUNS = [
    pytest.param(run, id=f"{run.instances}-at-{run.offered:.0f}") for run in measured.recorded()[1] if not run.groups
]
FIFO_RUNS = [
    pytest.param(run, id=f"{run.instances}-at-{run.offered:.0f}") for run in measured.recorded()[1] if run.groups
]


@pytest.mark.parametrize("run", RUNS)
def test_model_and_simulation_are_within_15_percent_of_the_measured_runs(run: measured.Run) -> None:
    setting = setting_of(run)
    for found in (predict(setting), simulate(setting)):
        ratios = {name: getattr(found, name) / getattr(run, name) for name in FIGURES}
        assert all(abs(ratio - 1) <= TOLERANCE for ratio in ratios.values()), ratios


@pytest.mark.parametrize("run", FIFO_RUNS)
def test_the_simulation_delivers_within_15_percent_of_what_a_throttled_fifo_queue_gave(run: measured.Run) -> None:
    assert abs(simulate(setting_of(run)).rate / run.rate - 1) <= TOLERANCE


def test_one_two_and_four_instances_are_measured_with_a_full_queue_and_with_a_quiet_one() -> None:
    asked = {(run.instances, bool(run.offered)) for run in measured.recorded()[1] if not run.groups}
    assert asked == {(number, steady) for number in (1, 2, 4) for steady in (False, True)}


@given(
    st.integers(1, 6),
    st.integers(32, 300),
    st.floats(0.02, 0.5),
    st.floats(0.005, 0.03),
    st.none() | st.floats(0.05, 0.65),
)
@settings(max_examples=examples(40))
def test_the_model_is_within_a_fifth_of_the_simulation_in_calls_and_within_a_tenth_in_messages(
    instances: int, slots: int, latency: float, distance: float, load: float | None
) -> None:
    fastest = instances * slots / latency
    # What the machine or a handful of messages limits is no question of slots.
    if fastest > 5000 or fastest * (load or 1) / instances < 10:
        return
    offered = load * fastest if load else 0.0
    # Time for so many messages that chance is no reason for a difference.
    lasting = max(5.0, 3000 / (offered or fastest))
    setting = Setting(instances, slots, latency, offered, distance, warm_up=4.0 + 4 * latency, seconds=lasting)
    model, simulated = predict(setting), simulate(setting)
    # With a quick recipient most messages in flight wait for their delete, and they are few.
    for name in FIGURES if latency > 0.1 else FIGURES[:3]:
        ratio = getattr(model, name) / getattr(simulated, name)
        assert abs(ratio - 1) <= (0.1 if name == "rate" else 0.2), (name, model, simulated)


@given(st.integers(1, 40), st.floats(0.01, 0.5), st.booleans())
@settings(max_examples=examples(60))
def test_groups_of_a_fifo_queue_get_through_what_the_model_says(groups: int, latency: float, backlog: bool) -> None:
    most = groups * group_rate(latency, 0.01, backlog=backlog)
    if most > 5000:
        return
    offered = 0.0 if backlog else 0.5 * most
    setting = Setting(2, 100, latency, offered, groups=groups, warm_up=3 + 20 * latency, seconds=10 + 40 * latency)
    rate = simulate(setting).rate
    if backlog:
        assert 0.8 * most < rate < 1.2 * most
    else:
        assert rate > 0.8 * offered
