"""Doubt from the settlement that leaves it to the administrator who clears it: over a real server and a real store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.quota.v1 import admin_service_pb2 as admin_pb
from spendgate.quota.v1 import admin_service_pb2_grpc, doubt_service_pb2_grpc
from spendgate.quota.v1 import doubt_service_pb2 as doubts_pb
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.quota.v1 import reservation_service_pb2 as reservation_pb
from spendgate.type.v1 import audit_pb2
from spendgate.type.v1.resource_kind_pb2 import RESOURCE_KIND_DOUBT
from spendgate.type.v1.role_pb2 import ROLE_PLATFORM

from services.kernel.envoy_contract import ACTOR_HEADER, BUDGET_REMAINING_HEADER
from tests.worlds.quota_process import (
    MODEL,
    QuotaProcess,
    call,
    configuration,
    get,
    key_in,
    planned_target,
    route_plan,
    spend_policy,
    token_policy,
)

# Of `call`, at the price that the played ledger gives: 200 input tokens at most and 100 output tokens.
HELD = 400_000
LEAD = ((ACTOR_HEADER, "team-admin:data-science:lead"),)
STRANGER = ((ACTOR_HEADER, "team-admin:marketing:stranger"),)
UNBOUNDED = reservation_pb.Most(cost_nano_usd=-1, input_tokens=-1, output_tokens=-1)


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        yield process


def doubts(quota: QuotaProcess) -> doubt_service_pb2_grpc.DoubtServiceStub:
    return doubt_service_pb2_grpc.DoubtServiceStub(quota.admin_channel)


def code_of(ask: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as raised:
        ask()
    code: grpc.StatusCode = raised.value.code()
    return code


def admitted(quota: QuotaProcess) -> str:
    answer = quota.check(call())
    assert answer.HasField("ok_response"), answer.denied_response.body
    return str(answer.dynamic_metadata.fields["reservation"].string_value)


def settle(quota: QuotaProcess, reservation: str, cost: int, most: reservation_pb.Most | None = UNBOUNDED) -> None:
    told = reservation_pb.Settlement(
        reservation=reservation, cost_nano_usd=cost, input_tokens=50, output_tokens=10, reported=most is None, most=most
    )
    told.end_time.FromMilliseconds(quota.clock.now_ms())
    quota.reservations.SettleReservations(reservation_pb.SettleReservationsRequest(settlements=[told]))


def budget(quota: QuotaProcess, policy: str) -> tuple[int, int, int]:
    (found,) = quota.quota.ListBudgets(pb.ListBudgetsRequest(policy=policy)).budgets
    return found.settled, found.reserved, found.doubt


def listed(quota: QuotaProcess, *metadata: tuple[str, str], **asked: Any) -> list[doubts_pb.Doubt]:
    return list(doubts(quota).ListDoubts(doubts_pb.ListDoubtsRequest(**asked), metadata=metadata).doubts)


def test_a_call_cut_off_keeps_its_room_until_it_is_cleared(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("team", 0, nanos=1_000_000), token_policy("tokens", 900)))
    first = admitted(quota)
    settle(quota, first, 70_000)
    assert budget(quota, "team") == (70_000, 0, HELD - 70_000)
    assert budget(quota, "tokens") == (60, 0, 240)
    second = admitted(quota)
    settle(quota, second, 100_000, reservation_pb.Most(cost_nano_usd=150_000, input_tokens=200, output_tokens=-1))
    assert budget(quota, "team") == (170_000, 0, HELD - 70_000 + 50_000)

    quota.clock.advance(1_000)
    told = {each.reservation: each for each in listed(quota)}
    assert list(told) == sorted([first, second])
    assert (told[first].key, told[first].team, told[first].model) == ("ds-prod", "data-science", MODEL)
    assert told[first].since_time.ToMilliseconds() == quota.clock.now_ms() - 1_000
    spend, tokens = told[first].amounts
    assert (spend.policy, spend.limit_id, spend.limit_kind) == ("team", "spend/month/UTC", pb.LIMIT_KIND_SPEND)
    assert (spend.scope, spend.amount, tokens.amount) == ("team=data-science", HELD - 70_000, 240)
    assert spend.window_start_time.ToJsonString() == "2026-11-01T00:00:00Z"
    assert spend.end_time.ToJsonString() == "2026-12-01T00:00:00Z"

    request = doubts_pb.ClearDoubtsRequest(reservations=[first], policy="team", reason="the console shows nothing")
    cleared = doubts(quota).ClearDoubts(request)
    assert (cleared.calls, [(each.policy, each.amount) for each in cleared.amounts]) == (1, [("team", HELD - 70_000)])
    assert budget(quota, "team") == (170_000, 0, 50_000)
    assert budget(quota, "tokens")[2] == 240 + 240
    assert doubts(quota).ClearDoubts(request).calls == 0


def test_a_limit_full_of_doubt_says_so_and_what_to_do(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("full", 0, nanos=500_000)))
    settle(quota, admitted(quota), 10_000)

    refused = quota.check(call()).denied_response
    error = json.loads(refused.body)["error"]
    details = error["details"]
    assert refused.status.code == 429
    assert details["reason"] == "request_exceeds_remaining_budget"
    assert (details["used"], details["reserved"], details["doubt"]) == ("0.000010000", "0.000000000", "0.000390000")
    assert error["message"] == (
        "This request takes $0.000328000 or more, but budget full has $0.000100000 left: $0.000010000 of $0.0005 "
        "spent this month, and $0.000390000 in doubt; it resets on 2026-12-01T00:00:00Z. Lower max_tokens or "
        "shorten the prompt. Calls that were cut off may have taken more than was counted for them: that amount is in "
        "doubt. Let answers finish, and ask your platform team to look at it with `spendgate doubt list`."
    )
    headers = {option.header.key: option.header.value for option in refused.headers}
    assert headers[BUDGET_REMAINING_HEADER] == "0.000100000"
    assert "retry-after" not in headers

    (own,) = json.loads(quota.check(get("/v1/budget")).denied_response.body)["budgets"]
    assert (own["used_usd"], own["doubt_usd"], own["remaining_usd"]) == ("0.000010000", "0.000390000", "0.000100000")
    explained = quota.quota.Explain(pb.ExplainRequest(key="ds-prod", model=MODEL))
    assert explained.decision == pb.ExplainResponse.DECISION_DENY
    assert "`spendgate doubt list`" in explained.reason
    assert [(each.doubt, each.used_basis_points) for each in explained.limits] == [(390_000, 8_000)]
    (limit,) = quota.quota.GetEffectiveLimits(pb.GetEffectiveLimitsRequest(key="ds-prod")).limits
    assert limit.doubt == 390_000


def test_doubt_ends_with_a_measured_figure_that_comes_late(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("late", 1)))
    made = admitted(quota)
    settle(quota, made, 10_000)
    settle(quota, made, 10_000)
    assert budget(quota, "late") == (10_000, 0, HELD - 10_000)

    settle(quota, made, 12_000, most=None)
    assert budget(quota, "late") == (10_000, 0, 0)
    assert listed(quota) == []


def test_doubt_survives_a_restart_and_ends_with_its_window(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("month", 1), token_policy("day", 100_000)))
    settle(quota, admitted(quota), 10_000)
    quota.restart()
    assert budget(quota, "month") == (10_000, 0, HELD - 10_000)
    assert budget(quota, "day") == (60, 0, 240)

    quota.clock.advance(86_400_000)
    assert budget(quota, "day") == (0, 0, 0)
    assert [[each.policy for each in doubt.amounts] for doubt in listed(quota)] == [["month"]]
    assert doubts(quota).ClearDoubts(doubts_pb.ClearDoubtsRequest(policy="day", reason="none left")).calls == 0


def test_doubts_come_in_pages_and_by_policy_and_scope(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("paged", 1), token_policy("other", 100_000)))
    ids = [admitted(quota) for _ in range(3)]
    for made in ids:
        settle(quota, made, 10_000)

    answer = doubts(quota).ListDoubts(doubts_pb.ListDoubtsRequest(page_size=2))
    seen = [each.reservation for each in answer.doubts]
    rest = doubts(quota).ListDoubts(doubts_pb.ListDoubtsRequest(page_size=2, page_token=answer.next_page_token))
    assert seen + [each.reservation for each in rest.doubts] == sorted(ids)
    assert rest.next_page_token == ""
    only = listed(quota, policy="other", scope="team=data-science")
    assert {each.policy for doubt in only for each in doubt.amounts} == {"other"}
    assert listed(quota, policy="other", scope="team=b") == listed(quota, policy="none") == []
    assert code_of(lambda: listed(quota, page_token="?")) is grpc.StatusCode.INVALID_ARGUMENT


def test_all_that_is_older_than_a_moment_is_cleared(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("aged", 1)))
    settle(quota, admitted(quota), 10_000)
    quota.clock.advance(60_000)
    fresh = admitted(quota)
    settle(quota, fresh, 10_000)
    before = Timestamp()
    before.FromMilliseconds(quota.clock.now_ms())

    cleared = doubts(quota).ClearDoubts(doubts_pb.ClearDoubtsRequest(before_time=before, reason="invoice is in"))
    assert cleared.calls == 1
    assert [each.reservation for each in listed(quota)] == [fresh]


def test_who_clears_says_which_and_why_and_the_audit_log_has_it(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("told", 1)))
    settle(quota, admitted(quota), 10_000)
    for wrong in (
        doubts_pb.ClearDoubtsRequest(reason="all"),
        doubts_pb.ClearDoubtsRequest(policy="told"),
        doubts_pb.ClearDoubtsRequest(reservations=[str(at) for at in range(1_001)], reason="many"),
    ):
        assert code_of(partial(doubts(quota).ClearDoubts, wrong)) is grpc.StatusCode.INVALID_ARGUMENT
    assert budget(quota, "told")[2] == HELD - 10_000

    by = ((ACTOR_HEADER, "platform::ada"), ("x-request-id", "req-9"))
    doubts(quota).ClearDoubts(doubts_pb.ClearDoubtsRequest(policy="told", reason="checked"), metadata=by)
    entries = admin_service_pb2_grpc.AdminServiceStub(quota.admin_channel).ListAuditEntries(
        admin_pb.ListAuditEntriesRequest()
    )
    (entry,) = [each for each in entries.audit_entries if each.kind == RESOURCE_KIND_DOUBT]
    assert (entry.actor, entry.role, entry.name) == ("ada", ROLE_PLATFORM, "policy told")
    assert entry.action == audit_pb2.AuditEntry.ACTION_CLEAR
    assert (entry.reason, entry.request_id) == ("checked", "req-9")
    assert json.loads(entry.before) == {
        "calls": 1,
        "amounts": [
            {"policy": "told", "limit_id": "spend/month/UTC", "scope": "team=data-science", "amount": HELD - 10_000}
        ],
    }


def test_a_team_admin_sees_what_its_team_left(quota: QuotaProcess) -> None:
    theirs = key_in("marketing", "mk", "m" * 24, unlimited=True)
    sent = configuration(spend_policy("wide", 1), keys=[key_in("data-science"), theirs])
    sent.teams.add(name="marketing")
    quota.quota.ApplyConfiguration(sent)
    settle(quota, admitted(quota), 10_000)
    assert len(listed(quota, *LEAD)) == 1
    assert listed(quota, *STRANGER) == []


@pytest.mark.parametrize("field", ["cost_nano_usd", "input_tokens", "output_tokens"])
def test_the_most_of_a_call_is_no_less_than_nothing(quota: QuotaProcess, field: str) -> None:
    most = reservation_pb.Most(**{field: -2})
    assert code_of(lambda: settle(quota, "rsv_1", 0, most)) is grpc.StatusCode.INVALID_ARGUMENT
