"""What the ledger asks of quota's counters, over a real server and a real store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from spendgate.quota.v1 import counter_service_pb2 as pb
from spendgate.quota.v1 import quota_service_pb2 as quota_pb
from spendgate.type.v1 import dimension_pb2

from tests.worlds.quota_process import (
    MODEL,
    QuotaProcess,
    call,
    configuration,
    planned_target,
    route_plan,
    spend_policy,
)

NANO = 1_000_000_000
SCOPE = "team=data-science"


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        process.quota.ApplyConfiguration(configuration(spend_policy("ds", 3)))
        yield process


def listed(quota: QuotaProcess) -> list[pb.ListCountersResponse]:
    return list(quota.counters.ListCounters(pb.ListCountersRequest()))


def name_of(limit: pb.CountedLimit, scope: str = SCOPE) -> pb.CounterName:
    return pb.CounterName(
        policy=limit.policy,
        limit_id=limit.limit_id,
        scope=scope,
        window_start_time=limit.window_start_time,
        retain_until_time=limit.retain_until_time,
    )


def adjust(
    quota: QuotaProcess, before: int, after: int, *, reason: quota_pb.Adjustment.Reason.ValueType | None = None
) -> pb.AdjustCountersResponse:
    adjustment = pb.CounterAdjustment(
        counter=name_of(listed(quota)[0].limit),
        before=before,
        after=after,
        reason=quota_pb.Adjustment.REASON_DRIFT if reason is None else reason,
    )
    answer: pb.AdjustCountersResponse = quota.counters.AdjustCounters(
        pb.AdjustCountersRequest(adjustments=[adjustment])
    )
    return answer


def settled(quota: QuotaProcess) -> int:
    (budget,) = quota.quota.ListBudgets(quota_pb.ListBudgetsRequest()).budgets
    return int(budget.settled)


def test_limits_are_listed_with_what_they_count_and_their_counters(quota: QuotaProcess) -> None:
    quota.check(call())

    (answer,) = listed(quota)

    limit = answer.limit
    assert (limit.policy, limit.limit_id, limit.limit_kind) == ("ds", "spend/month/UTC", quota_pb.LIMIT_KIND_SPEND)
    assert [(part.dimension, part.value) for part in limit.parts] == [(dimension_pb2.DIMENSION_TEAM, "data-science")]
    assert limit.window_start_time.ToMilliseconds() < quota.clock.now_ms() < limit.window_end_time.ToMilliseconds()
    assert limit.retain_until_time == limit.window_end_time
    assert [(counter.scope, counter.settled) for counter in answer.counters] == [(SCOPE, 0)]


def test_many_counters_come_in_several_messages(quota: QuotaProcess) -> None:
    policy = spend_policy("each", 3)
    policy.each = dimension_pb2.DIMENSION_USER
    quota.quota.ApplyConfiguration(configuration(policy))
    limit = listed(quota)[0].limit
    sums = [
        pb.CounterSum(counter=name_of(limit, f"{SCOPE},user=u{number}"), settled=number) for number in range(1, 1_201)
    ]
    parts = [sums[at : at + 500] for at in range(0, len(sums), 500)]

    quota.counters.RestoreCounters(iter([pb.RestoreCountersRequest(sums=some) for some in parts]))

    answers = listed(quota)
    assert [len(answer.counters) for answer in answers] == [500, 500, 200]
    assert [answer.HasField("limit") for answer in answers] == [True, False, False]
    assert sum(counter.settled for answer in answers for counter in answer.counters) == sum(range(1, 1_201))


def test_an_adjustment_moves_the_counter_once_and_is_listed(quota: QuotaProcess) -> None:
    assert adjust(quota, 0, NANO).adjusted == 1
    assert adjust(quota, 0, NANO).adjusted == 0

    assert settled(quota) == NANO
    (listed_,) = quota.quota.ListAdjustments(quota_pb.ListAdjustmentsRequest()).adjustments
    assert (listed_.policy, listed_.limit_id, listed_.scope) == ("ds", "spend/month/UTC", SCOPE)
    assert (listed_.settled_before, listed_.settled_after) == (0, NANO)
    assert (listed_.reason, listed_.limit_kind) == (quota_pb.Adjustment.REASON_DRIFT, quota_pb.LIMIT_KIND_SPEND)
    assert listed_.adjust_time.ToMilliseconds() == quota.clock.now_ms()


def test_adjustments_are_paged_newest_first(quota: QuotaProcess) -> None:
    for amount in range(3):
        adjust(quota, amount, amount + 1)

    first = quota.quota.ListAdjustments(quota_pb.ListAdjustmentsRequest(page_size=2))
    second = quota.quota.ListAdjustments(quota_pb.ListAdjustmentsRequest(page_size=2, page_token=first.next_page_token))

    assert [each.settled_after for each in first.adjustments] == [3, 2]
    assert [each.settled_after for each in second.adjustments] == [1]
    assert second.next_page_token == ""
    with pytest.raises(grpc.RpcError, match="page_token"):
        quota.quota.ListAdjustments(quota_pb.ListAdjustmentsRequest(page_token="bm9uZQ=="))


def test_an_adjustment_tells_the_thresholds_that_it_passes(quota: QuotaProcess) -> None:
    policy = spend_policy("ds", 3)
    policy.thresholds.add(basis_points=8_000, notify=["lead"])
    quota.quota.ApplyConfiguration(configuration(policy))

    (crossing,) = adjust(quota, 0, 3 * NANO).crossings

    assert (crossing.policy, crossing.basis_points, crossing.settled) == ("ds", 8_000, 3 * NANO)


def test_the_state_tells_when_a_policy_changes_and_not_when_a_key_does(quota: QuotaProcess) -> None:
    def version() -> str:
        state = quota.counters.GetCounterState(pb.GetCounterStateRequest()).counter_state
        assert state.ready
        return str(state.limits_version)

    before = version()
    quota.quota.CreateVirtualKey(
        quota_pb.CreateVirtualKeyRequest(virtual_key=quota_pb.VirtualKey(name="another", unlimited=True))
    )
    assert version() == before
    quota.quota.ApplyConfiguration(configuration(spend_policy("ds", 4)))
    assert version() != before


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("adjustments[0].counter.limit_id", {"limit": "love/month"}),
        ("adjustments[0].reason", {"reason": quota_pb.Adjustment.REASON_UNSPECIFIED}),
        ("adjustments[0].after", {"after": -1}),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(quota: QuotaProcess, field: str, changed: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"after": 1, "reason": quota_pb.Adjustment.REASON_DRIFT, "limit": "spend/month/UTC"}
    fields |= changed
    counter = name_of(listed(quota)[0].limit)
    counter.limit_id = fields.pop("limit")

    with pytest.raises(grpc.RpcError) as refused:
        quota.counters.AdjustCounters(
            pb.AdjustCountersRequest(adjustments=[pb.CounterAdjustment(counter=counter, **fields)])
        )

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(refused.value.details()).startswith(field)


def test_a_sum_out_of_range_is_refused_and_nothing_is_restored(quota: QuotaProcess) -> None:
    limit = listed(quota)[0].limit
    parts = [
        pb.RestoreCountersRequest(sums=[pb.CounterSum(counter=name_of(limit), settled=amount)]) for amount in (7, -1)
    ]

    with pytest.raises(grpc.RpcError) as refused:
        quota.counters.RestoreCounters(iter(parts))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert settled(quota) == 0
