"""The simulation keeps the rules of SQS, whatever it simulates."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.scale.instance import Setting
from scripts.scale.simulation import Simulation, simulate
from tests.examples import examples

SETTINGS = st.builds(
    lambda **values: Setting(**values),
    instances=st.integers(1, 6),
    slots=st.integers(1, 40),
    latency=st.floats(0.05, 1.0),
    offered=st.sampled_from([0.0, 0.0, 5.0, 200.0]),
    distance=st.floats(0.001, 0.05),
    groups=st.sampled_from([0, 1, 5, 200]),
    calls=st.sampled_from([math.inf, 20.0, 300.0]),
    in_flight=st.sampled_from([120_000, 1, 50]),
    seed=st.integers(1, 1000),
)


@given(SETTINGS)
@settings(max_examples=examples(100))
def test_no_limit_is_passed_no_locked_group_is_given_and_no_message_is_counted_twice(setting: Setting) -> None:
    world = Simulation(setting)
    world.start()
    calls = 0
    for second in range(1, 5):
        world.run_until(float(second))
        queue = world.queue
        assert 0 <= queue.in_flight <= setting.in_flight
        assert all(busy <= setting.slots for busy in (each.busy for each in world.instances))
        if setting.groups:
            assert queue.in_flight == sum(queue.locked)
            assert sum(each.busy for each in world.instances) <= setting.groups
        answered = sum(queue.calls[name] for name in ("receive", "delete")) - queue.calls["throttled"]
        # A tenth of a second's calls may come at once, of each of the two actions.
        assert answered - calls <= 2 * (setting.calls * 1.1 + 2)
        calls = answered


@given(SETTINGS)
@settings(max_examples=examples(30))
def test_a_simulation_never_comes_to_a_stop(setting: Setting) -> None:
    # Time enough for the slowest: a run of ten, back-offs of a second, and one message in flight at a time.
    patient = setting._replace(warm_up=10.0, seconds=30.0, offered=min(setting.offered, 5.0))
    if patient.in_flight == 1 or patient.instances > 4 or patient.slots / patient.latency > 2000:
        patient = patient._replace(instances=1, slots=min(patient.slots, 20), latency=0.1)
    assert simulate(patient).rate > 0


def test_the_instances_of_a_full_queue_have_equal_shares_and_add_up() -> None:
    one, many = simulate(Setting(1)), simulate(Setting(20))
    assert math.isclose(many.rate, 20 * one.rate, rel_tol=0.02)
    assert many.least > 0.95
    assert many.most < 1.05


def test_beyond_the_limit_of_messages_in_flight_more_instances_add_nothing() -> None:
    found = simulate(Setting(12, in_flight=500))
    # Without the limit it would be twelve times 320.
    assert found.in_flight < 500.1
    assert found.rate < 500 / 0.2


def test_throttled_instances_of_a_fifo_queue_fill_their_calls_and_come_near_the_limit() -> None:
    found = simulate(Setting(16, groups=2000, calls=300.0))
    assert 0.85 * 3000 < found.rate < 1.02 * 3000
    assert found.throttled > 0
