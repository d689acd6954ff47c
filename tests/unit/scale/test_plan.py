"""Plans: they carry what they promise, cost what the prices say, and name the next limit."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scripts.scale import prices
from scripts.scale.instance import Setting
from scripts.scale.limits import FIFO, FIFO_HIGH, HIGH_THROUGHPUT_ELSEWHERE, QUEUE_TYPES, STANDARD
from scripts.scale.plan import AUDITS, FIREHOSE, Need, billed_calls, calls_a_message, plan, record_bytes
from scripts.scale.simulation import simulate
from tests.examples import examples

NEEDS = st.builds(
    lambda **values: Need(**values),
    rate=st.floats(0.1, 2500.0),
    latency=st.floats(0.005, 20.0),
    size=st.floats(1, 1024**2),
    queue=st.sampled_from(QUEUE_TYPES),
    audit=st.sampled_from(AUDITS),
    tls=st.booleans(),
)


@given(NEEDS)
@settings(max_examples=examples(300))
def test_a_plan_carries_its_rate_with_one_instance_gone_and_its_first_limit_is_beyond_it(need: Need) -> None:
    assume(need.rate * need.latency < 100_000)
    found = plan(need)
    working = found.instances - 1
    assert working >= 1
    assert working * found.slots >= need.rate * need.latency
    assert found.cores <= working * found.machine.cpus
    assert found.memory_mib <= found.machine.memory * 1024
    assert all(bound.rate >= need.rate for bound in found.bounds if bound.hard)
    assert list(found.bounds) == sorted(found.bounds, key=lambda bound: bound.rate)
    assert all(math.isfinite(dollars) and dollars >= 0 for dollars in found.bill.values())


@given(st.floats(5, 800), st.floats(0.01, 1.5), st.integers(1, 30))
@settings(max_examples=examples(40))
def test_the_simulation_carries_what_a_plan_promises(rate: float, latency: float, seed: int) -> None:
    found = plan(Need(rate, latency, 1000))
    setting = Setting(found.instances - 1, found.slots, latency, rate, warm_up=5 + 5 * latency, seconds=10, seed=seed)
    done = simulate(setting)
    # Messages come at random: of five a second, some more or fewer in ten seconds.
    assert done.rate > rate - 4 * math.sqrt(rate / 10) - 0.02 * rate
    assert done.in_flight < 1.3 * rate * (latency + 0.3) + 5


@given(NEEDS, st.floats(1.0, 3.0))
@settings(max_examples=examples(200))
def test_more_messages_and_larger_ones_never_cost_less(need: Need, times: float) -> None:
    assume(3 * need.rate * need.latency < 100_000)
    once = plan(need).month
    assert plan(need._replace(rate=min(2900.0, need.rate * times))).month >= once * 0.97
    if need.audit != FIREHOSE:  # a body that doesn't fit a record has its digest there
        assert plan(need._replace(size=min(1024**2, need.size * times))).month >= once * 0.97


@pytest.mark.parametrize(
    ("need", "why"),
    [
        (Need(3001, 0.01, 100, queue=FIFO), "300 receives a second of a FIFO queue is reached at 3,000"),
        (Need(25_000, 0.01, 100, queue=FIFO_HIGH, region="eu-north-1"), "2,400 receives a second"),
        (Need(100, 0.2, 100, queue=FIFO, groups=10), "10 message groups"),
        (Need(10_000, 30, 100), "120,000 messages in flight"),
    ],
)
def test_what_one_queue_cant_carry_is_refused_by_the_limit_and_the_remedy(need: Need, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        plan(need)
    assert ": " in str(caught.value)


def test_a_fifo_queue_carries_less_than_its_limit_and_costs_more_than_a_standard_one() -> None:
    fifo, standard = (plan(Need(2000, 0.1, 100, queue=queue)) for queue in (FIFO, STANDARD))
    assert fifo.bill["SQS"] > standard.bill["SQS"]
    assert HIGH_THROUGHPUT_ELSEWHERE * 10 > 3000


def test_sqs_bills_a_receive_for_each_64_kib_and_a_full_one_of_small_messages_once() -> None:
    small, large = Need(10_000, 0.1, 100), Need(10_000, 0.1, 64 * 1024)
    assert billed_calls(small, 2) == calls_a_message(small, 2)
    # Each message of a receive is 64 KiB by itself, and a delete carries none.
    assert billed_calls(large, 2) == pytest.approx(1.1, abs=0.01)


def test_a_delivery_that_takes_long_is_extended_in_calls_of_ten() -> None:
    assert calls_a_message(Need(10_000, 40.0, 100), 2) - calls_a_message(Need(10_000, 0.1, 100), 2) == pytest.approx(
        0.2
    )


def test_a_quota_that_aws_raises_is_shown_below_the_rate_and_refuses_nothing() -> None:
    found = plan(Need(5_000, 0.1, 10_000, audit=FIREHOSE))
    assert found.bounds[0].name == "5 MiB a second of a Firehose stream"
    assert found.bounds[0].rate < 5_000


def test_steps_of_a_price_are_paid_one_after_another() -> None:
    tiers = ((10.0, 1.0), (20.0, 0.5), (math.inf, 0.1))
    assert [prices.tiered(units, tiers) for units in (0, 10, 15, 20, 120)] == [0, 10, 12.5, 15, 25]


def test_firehose_rounds_each_record_up_and_gets_the_digest_of_a_body_that_doesnt_fit() -> None:
    month = plan(Need(10, 0.1, 100, audit=FIREHOSE)).bill["Firehose"]
    assert month == pytest.approx(10 * prices.SECONDS * 5 * 1024 / 1e9 * 0.029)
    assert record_bytes(Need(10, 0.1, 1024**2, audit=FIREHOSE)) < 1000
