"""Which alerts go to which channels, and what becomes of an attempt."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from services.kernel.envoy_contract import LeadReason
from services.kernel.settlement import CrossingKind
from services.ledger.domain.delivery import ATTEMPTS_MAX, AlertSource, Delivery, DeliveryState, plan
from services.ledger.domain.lead_switch import Direction, LeadSwitch, SwitchAlert
from services.ledger.domain.settlement import Alert, Crossing

NOW_MS = 1_000_000
CROSSING = Crossing(1, "pol", "spend per month", "team=t", 0, 8_000, ("finance",), NOW_MS, 80, 100)
SWITCH = LeadSwitch("s", 1, "m", 0, Direction.LEFT, LeadReason.ERRORS, ("a/b",), ("c/d",), "")


def crossed(number: int, basis_points: int, *notify: str, kind: CrossingKind = CrossingKind.THRESHOLD) -> Alert:
    return Alert(replace(CROSSING, sequence=number, basis_points=basis_points, notify=notify, kind=kind), None)


def planned(*alerts: Alert | SwitchAlert) -> dict[tuple[int, str], DeliveryState]:
    numbers = count()
    found = [one for _, _, some in plan(alerts, NOW_MS, lambda: f"msg_{next(numbers)}") for one in some]
    assert len({one.id for one in found}) == len(found)
    return {(one.alert, one.channel): one.state for one in found}


def test_each_channel_gets_an_alert_once() -> None:
    assert planned(crossed(1, 8_000, "finance", "lead", "finance")) == {
        (1, "finance"): DeliveryState.WAITING,
        (1, "lead"): DeliveryState.WAITING,
    }


def test_a_channel_gets_only_the_highest_threshold_that_was_passed_at_once() -> None:
    assert planned(crossed(1, 5_000, "lead", "finance"), crossed(2, 8_000, "finance"), crossed(3, 9_000, "boss")) == {
        (1, "lead"): DeliveryState.WAITING,
        (1, "finance"): DeliveryState.SUPERSEDED,
        (2, "finance"): DeliveryState.WAITING,
        (3, "boss"): DeliveryState.WAITING,
    }


def test_thresholds_of_other_budgets_and_other_events_supersede_nothing() -> None:
    other = crossed(2, 9_000, "finance")
    other = replace(other, crossing=replace(other.crossing, scope="team=u"))
    overrun = crossed(3, 0, "finance", kind=CrossingKind.OVERRUN)
    states = planned(crossed(1, 5_000, "finance"), other, overrun).values()
    assert set(states) == {DeliveryState.WAITING}


def test_an_alert_without_channels_is_planned_with_no_delivery() -> None:
    assert list(plan([crossed(7, 8_000)], NOW_MS, str)) == [(AlertSource.LIMIT, 7, ())]


def test_a_switch_goes_to_those_who_are_to_be_told() -> None:
    alert = SwitchAlert(4, SWITCH, ("lead",), None)
    assert planned(alert) == {(4, "lead"): DeliveryState.WAITING}


def test_failed_attempts_pause_ever_longer_and_end() -> None:
    delivery, pauses, now_ms = Delivery("msg", AlertSource.LIMIT, 1, "c", NOW_MS), [], NOW_MS
    while delivery.state is DeliveryState.WAITING:
        delivery = delivery.failed("status 500", now_ms)
        if delivery.state is DeliveryState.WAITING:
            pauses.append(delivery.due_ms - now_ms)
            now_ms = delivery.due_ms
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1_000
    # A night and more.
    assert sum(pauses) > 12 * 3_600_000
    assert (delivery.state, delivery.attempts, delivery.ended_ms) == (DeliveryState.FAILED, ATTEMPTS_MAX, now_ms)
    assert delivery.problem == "status 500"


def test_a_receiver_that_wants_nothing_more_is_not_asked_again() -> None:
    gone = Delivery("msg", AlertSource.LIMIT, 1, "c", NOW_MS).failed("status 410", NOW_MS, for_good=True)
    assert gone.state is DeliveryState.FAILED


@pytest.mark.parametrize("attempts", [0, 3])
def test_one_that_arrives_has_no_problem_any_more(attempts: int) -> None:
    waiting = Delivery("msg", AlertSource.LIMIT, 1, "c", NOW_MS, attempts=attempts, problem="status 500")
    arrived = waiting.arrived(NOW_MS + 5)
    assert (arrived.state, arrived.attempts, arrived.ended_ms, arrived.problem) == (
        DeliveryState.DELIVERED,
        attempts + 1,
        NOW_MS + 5,
        "",
    )


def test_a_retry_keeps_the_id_and_begins_anew() -> None:
    failed = Delivery("msg", AlertSource.LIMIT, 1, "c", NOW_MS).failed("gone", NOW_MS, for_good=True)
    again = failed.again(NOW_MS + 9)
    assert (again.id, again.state, again.attempts, again.due_ms, again.ended_ms) == (
        "msg",
        DeliveryState.WAITING,
        0,
        NOW_MS + 9,
        None,
    )
