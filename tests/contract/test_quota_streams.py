"""How quota gets its plan and prices, and what it does while router and ledger are away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from spendgate.quota.v1 import quota_service_pb2 as pb

from services.kernel.endpoint import Operation
from services.quota.adapters.plan_stream import read_plan
from tests.worlds.quota_process import (
    MODEL,
    QuotaProcess,
    call,
    configuration,
    eventually,
    get,
    planned_target,
    route_plan,
    spend_policy,
)

LAB, SPARE = planned_target("lab/tiny"), planned_target("spare/small")


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.quota.ApplyConfiguration(configuration(spend_policy("any", 100)))
        yield process


def status(quota: QuotaProcess) -> pb.QuotaStatus:
    return quota.quota.GetQuotaStatus(pb.GetQuotaStatusRequest()).quota_status


def test_nothing_passes_before_the_first_plan(quota: QuotaProcess) -> None:
    denied = quota.check(call()).denied_response
    assert denied.status.code == 503
    assert "policy_unavailable" in denied.body
    assert quota.check(get("/v1/models")).denied_response.status.code == 200


def test_a_plan_is_acknowledged_once_it_is_in_force(quota: QuotaProcess) -> None:
    quota.publish(route_plan("v1", {MODEL: [LAB]}))
    assert status(quota).plan_version == "v1"
    assert quota.check(call()).HasField("ok_response")


def test_the_prices_of_a_plan_are_there_before_it_is_in_force(quota: QuotaProcess) -> None:
    quota.publish(route_plan("v1", {MODEL: [LAB]}))
    quota.publish(route_plan("v2", {MODEL: [SPARE]}))
    asked = [quota.ledger.asked.get_nowait() for _ in range(quota.ledger.asked.qsize())]
    assert asked[-2:] == [["lab/tiny"], ["spare/small"]]
    assert quota.check(call()).HasField("ok_response")


def test_after_a_restart_calls_pass_without_router_and_ledger(quota: QuotaProcess) -> None:
    quota.publish(route_plan("v1", {MODEL: [LAB]}))
    before = quota.quota.ListVirtualKeys(pb.ListVirtualKeysRequest()).virtual_keys
    assert quota.check(call()).HasField("ok_response")
    quota.stop_neighbours()
    quota.restart()
    assert quota.check(call()).HasField("ok_response")
    assert quota.quota.ListVirtualKeys(pb.ListVirtualKeysRequest()).virtual_keys == before
    found = status(quota)
    assert (found.plan_version, found.price_version, found.open_reservations) == ("v1", "prices of 1", 2)


def test_a_stream_that_ends_is_opened_again(quota: QuotaProcess) -> None:
    quota.publish(route_plan("v1", {MODEL: [LAB]}))
    quota.router.plans.put(None)
    eventually(lambda: quota.router.connections == 2)
    quota.publish(route_plan("v2", {MODEL: [LAB]}))
    assert status(quota).plan_version == "v2"


def test_a_plan_that_cannot_be_read_is_not_acknowledged_and_the_old_one_stays(quota: QuotaProcess) -> None:
    quota.publish(route_plan("v1", {MODEL: [LAB]}))
    quota.router.plans.put(route_plan("v2", {MODEL: [planned_target("odd/one", "klingon")]}))
    # The stream breaks over it, and quota comes back with nothing acknowledged.
    eventually(lambda: quota.router.connections == 2)
    assert quota.router.taken.empty()
    assert status(quota).plan_version == "v1"
    assert quota.check(call()).HasField("ok_response")


def test_a_plan_of_a_release_without_durations_is_not_read() -> None:
    plan = route_plan("v1", {MODEL: []})
    plan.models[0].ClearField("first_byte_timeout")

    with pytest.raises(ValueError, match="has no time-out"):
        read_plan(plan)


def test_faces_of_an_earlier_release_are_for_chats_and_those_for_later_operations_are_left_out() -> None:
    earlier, later = planned_target("lab/tiny"), planned_target("spare/small")
    unheard: Any = 99
    later.faces[0].operation = unheard
    targets = read_plan(route_plan("v1", {MODEL: [earlier, later]})).targets

    assert [face.operation for face in targets["lab/tiny"].faces] == [Operation.CHAT]
    assert targets["spare/small"].faces == ()


def test_a_ledger_that_does_not_answer_keeps_no_plan_out(quota: QuotaProcess) -> None:
    quota.publish(route_plan("v1", {MODEL: [LAB]}))
    quota.ledger_server.stop(None).wait()
    quota.publish(route_plan("v2", {MODEL: [LAB], "other": [SPARE]}))
    assert quota.check(call()).HasField("ok_response")
    denied = quota.check(call(model="other")).denied_response
    assert "unpriced_model" in denied.body
