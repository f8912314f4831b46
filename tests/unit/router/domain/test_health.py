from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.envoy_contract import LeadReason
from services.router.domain.attempt import Attempt, Outcome
from services.router.domain.health import MOST_PROBE_MS, Watch
from services.router.domain.model import Term
from tests.worlds.sick_target import START_MS, TARGET, SickTarget, attempt, errors, latency, ttft, watched

MOST_SWITCHES_AN_HOUR = 20


def failing(share: float) -> SickTarget:
    return SickTarget(
        Watch(watched(errors(2_000))), lambda draws, now_ms: attempt(now_ms, failed=draws.random() < share)
    )


def test_a_half_failing_target_is_left_within_ten_seconds_and_back_within_thirty_of_recovery() -> None:
    target = failing(0.5)
    target.per_second = 3
    target.run(10)
    assert target.watch.left is not None
    assert target.watch.left.reason is LeadReason.ERRORS
    (figure,) = target.watch.left.figures
    assert figure.bad * 2 >= figure.attempts // 2 >= 2
    target.run(60)
    target.make = lambda _, now_ms: attempt(now_ms)
    target.returned_at_ms.clear()
    target.run(30)
    assert target.watch.left is None


@pytest.mark.parametrize("term", [latency(2_000), ttft(2_000)])
def test_a_slow_target_is_left_before_its_first_attempt_ends(term: Term) -> None:
    watch = Watch(watched(term))
    started = range(START_MS, START_MS + 2_000, 200)
    for now_ms in range(START_MS, START_MS + 5_000, 250):
        for start_ms in started:
            took_ms = now_ms - start_ms
            if took_ms > 0:
                before = max(0, took_ms - 250)
                watch.observe(Attempt(TARGET, start_ms, took_ms, None, Outcome.OPEN, before, before), now_ms)
    assert watch.left is not None
    assert watch.left.reason is LeadReason.LATENCY
    assert watch.left.since_ms <= START_MS + 3_500


def test_an_attempt_that_lasts_is_counted_once_however_often_it_is_told() -> None:
    watch = Watch(watched(latency(1_000)))
    for took_ms in range(1_000, 60_000, 250):
        one = Attempt(TARGET, START_MS, took_ms, None, Outcome.OPEN, 0 if took_ms == 1_000 else took_ms - 250)
        watch.observe(one, START_MS + took_ms)
    watch.observe(replace(one, outcome=Outcome.SERVED, reported_ms=took_ms), START_MS + took_ms)
    assert watch.left is None


def test_little_traffic_switches_after_five_bad_attempts_in_a_row() -> None:
    watch = Watch(watched(errors(2_000)))
    for minute in range(5):
        assert watch.left is None
        now_ms = START_MS + minute * 60_000
        watch.observe(attempt(now_ms, failed=True), now_ms)
    assert watch.left is not None


@pytest.mark.parametrize("outcome", [Outcome.NEITHER, Outcome.OPEN])
def test_attempts_that_say_nothing_change_nothing(outcome: Outcome) -> None:
    watch = Watch(watched(errors(1), latency(10_000), ttft(10_000)))
    for at in range(1_000):
        watch.observe(replace(attempt(START_MS + at), outcome=outcome), START_MS + at)
    assert watch.left is None


def test_a_few_slow_answers_among_many_do_not_reach_the_percentile() -> None:
    watch = Watch(watched(latency(1_000, over_seconds=60)))
    for at in range(1_000):
        now_ms = START_MS + at * 50
        watch.observe(attempt(now_ms, 5_000 if at % 21 == 20 else 10), now_ms)
    assert watch.left is None
    for at in range(1_000, 2_000):
        now_ms = START_MS + at * 50
        watch.observe(attempt(now_ms, 5_000 if at % 15 == 0 else 10), now_ms)
        if watch.left is not None:
            return
    pytest.fail("one in fifteen is more than one in twenty")


def test_all_terms_must_hold_if_the_condition_says_all() -> None:
    both = watched(errors(2_000), latency(1_000), all_terms=True)
    only_errors, only_slow, slow_errors = Watch(both), Watch(both), Watch(both)
    for at in range(40):
        now_ms = START_MS + at * 100
        failed = at % 2 == 0
        only_errors.observe(attempt(now_ms, 10, failed=failed), now_ms)
        only_slow.observe(attempt(now_ms, 2_000), now_ms)
        slow_errors.observe(attempt(now_ms, 2_000 + at, failed=failed), now_ms + 5_000)
    assert only_errors.left is None
    assert only_slow.left is None
    assert slow_errors.left is not None


def test_failing_probes_come_less_often_and_a_good_one_brings_the_next_at_once() -> None:
    target = failing(1.0)
    target.per_second = 1
    target.run(5)
    intervals = []
    for _ in range(40):
        target.run(1)
        assert target.watch.left is not None
        intervals.append(target.watch.left.probe_every_ms)
    assert sorted(set(intervals)) == [2_000, 4_000, 8_000]
    assert intervals == sorted(intervals)
    now_ms = target.now_ms + 10_000
    target.watch.observe(attempt(now_ms), now_ms)
    assert target.watch.left is not None
    assert target.watch.left.probe_every_ms == 1_000


def test_no_number_of_good_probes_within_a_second_leads_back() -> None:
    target = failing(1.0)
    target.run(2)
    for at in range(500):
        now_ms = target.now_ms + 1_000 + at
        target.watch.observe(attempt(now_ms), now_ms)
    assert target.watch.left is not None


def test_attempts_from_before_a_switch_do_not_count_after_it() -> None:
    target = failing(1.0)
    target.run(2)
    assert target.watch.left is not None
    for second in range(1, 30):
        late = replace(attempt(target.now_ms), start_ms=target.watch.left.since_ms - 60_000 + second * 1_000)
        target.watch.observe(late, target.now_ms + second * 1_000)
    assert target.watch.left is not None


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.05, 0.6), bound=st.sampled_from([500, 1_000, 2_000, 5_000]), seed=st.integers(0, 10**6))
def test_a_target_around_its_bound_does_not_flap(share: float, bound: int, seed: int) -> None:
    target = failing(share)
    target.watch, target.draws = Watch(watched(errors(bound))), random.Random(seed)
    target.per_second = 5
    target.run(2 * 3_600)
    for start_ms in target.left_at_ms:
        within = [time_ms for time_ms in target.left_at_ms if start_ms <= time_ms < start_ms + 3_600_000]
        assert len(within) <= MOST_SWITCHES_AN_HOUR


HISTORIES = st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1), st.integers(1, 5_000)), max_size=8)


@settings(max_examples=25, deadline=None)
@given(history=HISTORIES, seed=st.integers(0, 10**6), all_terms=st.booleans())
def test_recovery_leads_back_from_any_history(
    history: list[tuple[int, float, int]], seed: int, all_terms: bool
) -> None:
    watch = Watch(watched(errors(2_000), latency(2_000), all_terms=all_terms))
    target = SickTarget(watch, lambda _, now_ms: attempt(now_ms), 5, random.Random(seed))
    for seconds, share, took_ms in history:
        target.make = lambda draws, now_ms, share=share, took_ms=took_ms: attempt(  # type: ignore[misc]
            now_ms, took_ms, failed=draws.random() < share
        )
        target.run(seconds)
    target.make = lambda _, now_ms: attempt(now_ms)
    # The most good probes that are ever needed, one a second, and the longest wait for the first of them.
    target.run(300 * 6 // 5 + MOST_PROBE_MS // 1_000 + 1)
    assert target.watch.left is None
    left = list(target.left_at_ms)
    target.run(600)
    assert target.left_at_ms == left
