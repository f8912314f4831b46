"""The admin API and the ledger's API of quota, over a real server and a real store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from google.type import dayofweek_pb2, money_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.quota.v1 import reservation_service_pb2 as reservation_pb
from spendgate.type.v1 import attribution_pb2, configuration_pb2, dialect_pb2, dimension_pb2
from spendgate.type.v1.resource_kind_pb2 import RESOURCE_KIND_POLICY

from services.chassis.line_text import read_line_text
from services.chassis.well_known import duration, usd
from services.kernel.money import NANO_PER_USD
from services.kernel.names import first_reservation_id
from tests.worlds.quota_process import (
    EPOCH,
    MODEL,
    SECRET,
    QuotaProcess,
    call,
    configuration,
    key_in,
    planned_target,
    route_plan,
    spend_policy,
)

MILLION = 1_000_000


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        yield process


def refused(ask: Callable[[], Any]) -> tuple[grpc.StatusCode, list[tuple[str, str]]]:
    """The code of the error and its field violations."""
    with pytest.raises(grpc.RpcError) as raised:
        ask()
    error: Any = raised.value
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    found = error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(details).details:
        detail.Unpack(found)
    return error.code(), [(each.field, each.description) for each in found.field_violations]


def reserve(quota: QuotaProcess, **changes: Any) -> str:
    response = quota.check(call(**changes))
    return str(response.dynamic_metadata.fields["reservation"].string_value)


def settlement(quota: QuotaProcess, reservation: str, cost_nano_usd: int) -> reservation_pb.Settlement:
    settled = reservation_pb.Settlement(
        reservation=reservation, cost_nano_usd=cost_nano_usd, input_tokens=10, output_tokens=5, reported=True
    )
    settled.end_time.FromMilliseconds(quota.clock.now_ms())
    return settled


def test_a_configuration_takes_effect_and_sending_it_twice_changes_nothing(quota: QuotaProcess) -> None:
    wanted = configuration(spend_policy("twice", 3))
    dry = configuration(spend_policy("twice", 3))
    dry.validate_only = True
    would = quota.quota.ApplyConfiguration(dry).changes
    changes = quota.quota.ApplyConfiguration(wanted).changes
    assert would == changes
    created = configuration_pb2.Change.ACTION_CREATE
    assert (created, RESOURCE_KIND_POLICY, "twice") in {(change.action, change.kind, change.name) for change in changes}
    assert not quota.quota.ApplyConfiguration(wanted).changes
    assert SECRET not in str(changes)


def test_what_was_applied_is_listed_as_it_was_sent(quota: QuotaProcess) -> None:
    policy = pb.QuotaPolicy(
        name="whole",
        match=pb.Match(team="data-science", environment="prod"),
        each=dimension_pb2.DIMENSION_USER,
        limits=[
            pb.Limit(
                kind=pb.LIMIT_KIND_SPEND,
                amount=money_pb2.Money(currency_code="USD", units=2_000, nanos=1),
                per=pb.WINDOW_UNIT_WEEK,
                time_zone="America/New_York",
                week_start=dayofweek_pb2.SUNDAY,
                bound=pb.Limit.BOUND_SOFT,
            ),
            pb.Limit(
                kind=pb.LIMIT_KIND_REQUESTS,
                count=60,
                per=pb.WINDOW_UNIT_ROLLING,
                time_zone="UTC",
                rolling_period=duration(90 * 60_000),
                bound=pb.Limit.BOUND_HARD,
            ),
        ],
        thresholds=[
            pb.Threshold(basis_points=8_000, notify=["team-lead", "finance"], action=pb.Threshold.ACTION_NOTIFY),
            pb.Threshold(basis_points=9_000, action=pb.Threshold.ACTION_DENY),
        ],
        default=True,
        mode=pb.QuotaPolicy.MODE_SHADOW,
        exhausted_status=402,
        allows_unpriced=True,
        store_failure_allowance=usd(20 * NANO_PER_USD),
        estimates_unmeasured=True,
        refuses_unknown_members=True,
    )
    enforced = spend_policy("enforced", 1)
    enforced.limits[0].time_zone = "UTC"
    quota.quota.ApplyConfiguration(configuration(enforced, policy))
    _, listed = quota.quota.ListQuotaPolicies(pb.ListQuotaPoliciesRequest()).quota_policies
    listed.ClearField("status")
    assert listed == policy
    assert [team.name for team in quota.quota.ListTeams(pb.ListTeamsRequest()).teams] == ["data-science"]


def test_lists_come_in_pages(quota: QuotaProcess) -> None:
    keys = [key_in("data-science", name=f"key-{number}", secret=f"{SECRET}-{number}") for number in range(5)]
    quota.quota.ApplyConfiguration(configuration(keys=keys))
    names: list[str] = []
    token = ""
    for _ in range(3):
        page = quota.quota.ListVirtualKeys(pb.ListVirtualKeysRequest(page_size=2, page_token=token))
        names += [key.name for key in page.virtual_keys]
        token = page.next_page_token
    assert names == [f"key-{number}" for number in range(5)]
    assert token == ""


def test_a_page_that_cannot_be_is_refused(quota: QuotaProcess) -> None:
    for asked, field in (
        (pb.ListTeamsRequest(page_size=-1), "page_size"),
        (pb.ListTeamsRequest(page_token="\N{SNOWMAN}"), "page_token"),
        (pb.ListTeamsRequest(page_token="_w=="), "page_token"),
    ):
        assert refused(partial(quota.quota.ListTeams, asked))[1][0][0] == field


def test_a_key_is_made_rotated_and_stopped(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    who = attribution_pb2.Attribution(team="data-science", user="ada@example.com")
    made = quota.quota.CreateVirtualKey(
        pb.CreateVirtualKeyRequest(
            virtual_key=pb.VirtualKey(name="made", attribution=who, unlimited=True), secret_kind=pb.SECRET_KIND_TEST
        )
    )
    assert made.secret.startswith("spg_test_")
    assert made.virtual_key.state == pb.VirtualKey.STATE_ACTIVE
    assert made.virtual_key.attribution.user == "ada@example.com"
    assert quota.check(call(secret=made.secret)).HasField("ok_response")

    rotated = quota.quota.RotateVirtualKey(pb.RotateVirtualKeyRequest(name="made"))
    assert quota.check(call(secret=made.secret)).denied_response.status.code == 401
    assert quota.check(call(secret=rotated.secret)).HasField("ok_response")

    stopped = quota.quota.DisableVirtualKey(pb.DisableVirtualKeyRequest(name="made")).virtual_key
    assert stopped.state == pb.VirtualKey.STATE_DISABLED
    denied = json.loads(quota.check(call(secret=rotated.secret)).denied_response.body)
    assert denied["error"]["details"]["reason"] == "disabled_key"
    again = quota.quota.EnableVirtualKey(pb.EnableVirtualKeyRequest(name="made")).virtual_key
    assert again.state == pb.VirtualKey.STATE_ACTIVE
    assert quota.check(call(secret=rotated.secret)).HasField("ok_response")

    listed = quota.quota.ListVirtualKeys(pb.ListVirtualKeysRequest())
    for secret in (made.secret, rotated.secret, SECRET):
        assert secret not in json_format.MessageToJson(listed)


def test_a_key_that_cannot_be_made_is_refused(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    taken = pb.CreateVirtualKeyRequest(virtual_key=pb.VirtualKey(name="ds-prod"))
    assert refused(lambda: quota.quota.CreateVirtualKey(taken))[0] is grpc.StatusCode.ALREADY_EXISTS
    odd = pb.CreateVirtualKeyRequest(
        virtual_key=pb.VirtualKey(name="odd"), secret_kind=cast("pb.SecretKind.ValueType", 99)
    )
    assert refused(lambda: quota.quota.CreateVirtualKey(odd))[1][0][0] == "secret_kind"
    missing = "nobody"
    for ask in (
        partial(quota.quota.RotateVirtualKey, pb.RotateVirtualKeyRequest(name=missing)),
        partial(quota.quota.DisableVirtualKey, pb.DisableVirtualKeyRequest(name=missing)),
        partial(quota.quota.EnableVirtualKey, pb.EnableVirtualKeyRequest(name=missing)),
    ):
        assert refused(ask)[0] is grpc.StatusCode.NOT_FOUND


def test_the_old_secret_works_through_its_grace_period_and_no_longer(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    quota.quota.RotateVirtualKey(pb.RotateVirtualKeyRequest(name="ds-prod", grace_period=Duration(seconds=60)))
    quota.clock.advance(59_999)
    assert quota.check(call()).HasField("ok_response")
    quota.clock.advance(1)
    assert quota.check(call()).denied_response.status.code == 401


def test_an_expired_key_says_so(quota: QuotaProcess) -> None:
    key = key_in("data-science")
    key.virtual_key.expire_time.FromMilliseconds(quota.clock.now_ms() - 1)
    quota.quota.ApplyConfiguration(configuration(keys=[key]))
    (listed,) = [
        each for each in quota.quota.ListVirtualKeys(pb.ListVirtualKeysRequest()).virtual_keys if each.name == "ds-prod"
    ]
    assert listed.state == pb.VirtualKey.STATE_EXPIRED
    denied = json.loads(quota.check(call()).denied_response.body)
    assert denied["error"]["code"] == "expired_api_key"


def test_a_budget_shows_what_is_settled_and_what_is_held(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("shown", 1)))
    first, _second = reserve(quota), reserve(quota)
    asked = reservation_pb.SettleReservationsRequest(settlements=[settlement(quota, first, 123)])
    assert quota.reservations.SettleReservations(asked).settled == [first]
    (budget,) = quota.quota.ListBudgets(pb.ListBudgetsRequest(policy="shown")).budgets
    assert (budget.limit, budget.settled, budget.reserved) == (1_000 * MILLION, 123, 400_000)
    assert (budget.scope, budget.limit_kind) == ("team=data-science", pb.LIMIT_KIND_SPEND)
    assert refused(lambda: quota.quota.ListBudgets(pb.ListBudgetsRequest(policy="none")))[0] is (
        grpc.StatusCode.NOT_FOUND
    )


def test_settling_twice_changes_nothing(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("once", 4)))
    reservation = reserve(quota)
    asked = reservation_pb.SettleReservationsRequest(settlements=[settlement(quota, reservation, 500)])
    quota.reservations.SettleReservations(asked)
    again = quota.reservations.SettleReservations(asked)
    assert (list(again.settled), list(again.already_ended)) == ([], [reservation])
    (budget,) = quota.quota.ListBudgets(pb.ListBudgetsRequest(policy="once")).budgets
    assert (budget.settled, budget.reserved) == (500, 0)


def test_a_crossed_threshold_is_reported_with_its_figures(quota: QuotaProcess) -> None:
    policy = spend_policy("crossed", 1)
    policy.thresholds.add(basis_points=8_000, notify=["finance"])
    quota.quota.ApplyConfiguration(configuration(policy))
    asked = reservation_pb.SettleReservationsRequest(settlements=[settlement(quota, reserve(quota), 800 * MILLION)])
    crossing, overrun = quota.reservations.SettleReservations(asked).crossings
    assert (crossing.policy, crossing.limit, crossing.basis_points) == ("crossed", "spend per month", 8_000)
    assert (crossing.settled, crossing.bound) == (800 * MILLION, 1_000 * MILLION)
    assert list(crossing.notify) == ["finance"]
    assert crossing.kind == reservation_pb.CROSSING_KIND_THRESHOLD
    assert (overrun.kind, overrun.basis_points) == (reservation_pb.CROSSING_KIND_OVERRUN, 0)
    assert (overrun.excess, list(overrun.notify)) == (800 * MILLION - 400_000, ["finance"])
    known = reservation_pb.SettleReservationsRequest(crossings_after=overrun.sequence)
    assert not quota.reservations.SettleReservations(known).crossings


def test_a_call_without_a_price_is_reported_under_its_own_kind(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("unpriced", 1)))
    reservation = reserve(quota)
    asked = reservation_pb.SettleReservationsRequest(settlements=[settlement(quota, reservation, -1)])
    *_, crossing = quota.reservations.SettleReservations(asked).crossings
    assert (crossing.kind, crossing.policy) == (reservation_pb.CROSSING_KIND_UNPRICED, "unpriced")
    assert crossing.reservation == reservation


def test_a_request_that_never_left_is_released_by_the_id_of_envoy(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("released", 1)))
    reserve(quota, request_id="req-lost")
    asked = reservation_pb.ReleaseReservationsRequest(request_ids=["req-lost", "req-unknown"])
    assert quota.reservations.ReleaseReservations(asked).released == 1
    assert quota.reservations.ReleaseReservations(asked).released == 0


def test_open_reservations_are_paged_and_released_by_their_ids(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("open", 1)))
    before = first_reservation_id(quota.clock.now_ms() + 1)
    made = []
    for _ in range(3):
        quota.clock.advance(1)
        made.append(reserve(quota))

    def listed(after: str, page_size: int) -> list[str]:
        asked = reservation_pb.ListOpenReservationsRequest(after=after, page_size=page_size)
        return list(quota.reservations.ListOpenReservations(asked).reservations)

    assert (listed(before, 2), listed(made[1], 2), listed(made[2], 2)) == (made[:2], made[2:], [])
    assert refused(lambda: listed("", -1))[1][0][0] == "page_size"
    asked = reservation_pb.ReleaseReservationsRequest(reservations=[made[1], "rsv_unknown"])
    assert quota.reservations.ReleaseReservations(asked).released == 1
    assert listed(before, 0) == [made[0], made[2]]
    many = reservation_pb.ReleaseReservationsRequest(reservations=made[:1] * 1_001)
    assert refused(lambda: quota.reservations.ReleaseReservations(many))[1][0][0] == "reservations"


def test_a_reservation_is_overdue_once_no_record_of_it_can_come(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("overdue", 1)))
    told = quota.check(call()).dynamic_metadata
    reservation = str(told["reservation"])
    admitted = cast("dict[str, Any]", read_line_text(str(told["admitted"])))
    asked = reservation_pb.ListOverdueReservationsRequest(page_size=1000)
    asked.booked_through_time.FromMilliseconds(quota.clock.now_ms())
    listed = quota.reservations.ListOverdueReservations(asked).reservations
    assert reservation not in {each.reservation for each in listed}
    asked.booked_through_time.FromMilliseconds(quota.clock.now_ms() + 900_001)
    (overdue,) = [
        each
        for each in quota.reservations.ListOverdueReservations(asked).reservations
        if each.reservation == reservation
    ]
    assert (overdue.epoch, overdue.dialect, overdue.model_requested) == (EPOCH, dialect_pb2.DIALECT_OPENAI, MODEL)
    assert overdue.expected_input_tokens == admitted["expected_input_tokens"] > 0
    assert overdue.attribution.key == "ds-prod"


def test_explain_says_what_would_happen_and_why(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("explained", 1)))
    answer = quota.quota.Explain(pb.ExplainRequest(key="ds-prod", model=MODEL))
    assert (answer.decision, answer.target) == (pb.ExplainResponse.DECISION_ALLOW, "lab/tiny")
    assert [(limit.policy, limit.binding) for limit in answer.limits] == [("explained", True)]
    quota.quota.ApplyConfiguration(configuration(spend_policy("explained", 0)))
    assert quota.quota.Explain(pb.ExplainRequest(key="ds-prod", model=MODEL)).decision == (
        pb.ExplainResponse.DECISION_DENY
    )
    negative = pb.ExplainRequest(key="ds-prod", model=MODEL, input_tokens=-1)
    assert refused(lambda: quota.quota.Explain(negative))[1][0][0] == "input_tokens"


def test_the_status_tells_what_the_process_believes(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("status", 1)))
    before = quota.quota.GetQuotaStatus(pb.GetQuotaStatusRequest()).quota_status
    reserve(quota)
    status = quota.quota.GetQuotaStatus(pb.GetQuotaStatusRequest()).quota_status
    assert (status.plan_version, status.price_version, status.policies) == ("plan-1", "prices of 1", 1)
    assert status.open_reservations == before.open_reservations + 1


def test_health_and_reflection_are_on(quota: QuotaProcess) -> None:
    health = health_pb2_grpc.HealthStub(quota.admin_channel)
    for service in ("spendgate.quota.v1.QuotaService", "spendgate.quota.v1.ReservationService"):
        assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
    reflection = reflection_pb2_grpc.ServerReflectionStub(quota.admin_channel)
    (answer,) = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {service.name for service in answer.list_services_response.service}
    assert "spendgate.quota.v1.QuotaService" in names
