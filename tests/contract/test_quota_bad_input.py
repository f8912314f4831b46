"""Values that no request may have: unknown enum numbers, impossible spans and moments. Each is refused by its path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type import money_pb2
from spendgate.quota.v1 import admin_service_pb2 as admin_pb
from spendgate.quota.v1 import admin_service_pb2_grpc, doubt_service_pb2_grpc, override_service_pb2_grpc
from spendgate.quota.v1 import counter_service_pb2 as counters_pb
from spendgate.quota.v1 import doubt_service_pb2 as doubts_pb
from spendgate.quota.v1 import override_service_pb2 as override_pb
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.quota.v1 import reservation_service_pb2 as reservation_pb
from spendgate.type.v1 import role_pb2

from tests.contract.test_quota_api import refused
from tests.worlds.quota_process import (
    MODEL,
    QuotaProcess,
    call,
    configuration,
    planned_target,
    route_plan,
    spend_policy,
)

UNKNOWN: Any = 99
"""A number that no enum of ours has: a client of a later release may send it."""


@pytest.fixture(scope="module")
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        yield process


def daily_limit(**changes: Any) -> pb.Limit:
    return pb.Limit(kind=pb.LIMIT_KIND_REQUESTS, count=1, per=pb.WINDOW_UNIT_DAY, **changes)


def rolling_limit(period: Duration | None) -> pb.Limit:
    return pb.Limit(kind=pb.LIMIT_KIND_REQUESTS, count=1, per=pb.WINDOW_UNIT_ROLLING, rolling_period=period)


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (pb.Limit(kind=pb.LIMIT_KIND_REQUESTS, count=1), "policies[0].limits[0].per"),
        (pb.Limit(per=pb.WINDOW_UNIT_DAY, count=1), "policies[0].limits[0].kind"),
        (
            pb.Limit(kind=pb.LIMIT_KIND_REQUESTS, per=pb.WINDOW_UNIT_DAY, amount=money_pb2.Money(units=1)),
            "policies[0].limits[0].amount",
        ),
        (
            pb.Limit(
                kind=pb.LIMIT_KIND_SPEND, per=pb.WINDOW_UNIT_DAY, amount=money_pb2.Money(currency_code="EUR", units=1)
            ),
            "policies[0].limits[0].amount",
        ),
        (
            pb.Limit(kind=pb.LIMIT_KIND_SPEND, per=pb.WINDOW_UNIT_DAY, amount=money_pb2.Money(units=-1)),
            "policies[0].limits[0].amount",
        ),
        (
            pb.Limit(kind=pb.LIMIT_KIND_REQUESTS, count=1, per=pb.WINDOW_UNIT_DAY, time_zone="Mars/Olympus"),
            "policies[0].limits[0].time_zone",
        ),
        (pb.Limit(kind=UNKNOWN, per=pb.WINDOW_UNIT_DAY, count=1), "policies[0].limits[0].kind"),
        (pb.Limit(kind=pb.LIMIT_KIND_REQUESTS, per=UNKNOWN, count=1), "policies[0].limits[0].per"),
        (daily_limit(bound=UNKNOWN), "policies[0].limits[0].bound"),
        (daily_limit(week_start=8), "policies[0].limits[0].week_start"),
        (daily_limit(week_start=-1), "policies[0].limits[0].week_start"),
        # A rolling window needs a length that is positive, in whole minutes, and not too long; no other window has one.
        (rolling_limit(None), "policies[0].limits[0].rolling_period"),
        (rolling_limit(Duration(seconds=-60)), "policies[0].limits[0].rolling_period"),
        (rolling_limit(Duration(seconds=120, nanos=-60_000_000)), "policies[0].limits[0].rolling_period"),
        (rolling_limit(Duration(seconds=61)), "policies[0].limits[0].rolling_period"),
        (rolling_limit(Duration(seconds=60, nanos=1)), "policies[0].limits[0].rolling_period"),
        (rolling_limit(Duration(seconds=366 * 86_400 + 60)), "policies[0].limits[0].rolling_period"),
        (daily_limit(rolling_period=Duration(seconds=60)), "policies[0].limits[0].rolling_period"),
    ],
)
def test_a_wrong_limit_is_refused_by_the_path_of_its_field(quota: QuotaProcess, broken: pb.Limit, field: str) -> None:
    asked = configuration(pb.QuotaPolicy(name="broken", limits=[broken]))
    code, violations = refused(lambda: quota.quota.ApplyConfiguration(asked))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation[0] for violation in violations] == [field]


def test_a_wrong_dimension_is_refused_by_the_path_of_its_field(quota: QuotaProcess) -> None:
    policy = spend_policy("broken", 1)
    policy.each = UNKNOWN
    code, violations = refused(lambda: quota.quota.ApplyConfiguration(configuration(policy)))
    assert (code, violations[0][0]) == (grpc.StatusCode.INVALID_ARGUMENT, "policies[0].each")


@pytest.mark.parametrize(
    "grace",
    [
        Duration(seconds=-1),
        Duration(nanos=-1_000_000),
        Duration(seconds=1, nanos=1),
        Duration(seconds=604_801),
        Duration(seconds=2**63 - 1),
    ],
)
def test_a_grace_period_that_cannot_be_is_refused_and_the_old_secret_works(
    quota: QuotaProcess, grace: Duration
) -> None:
    quota.quota.ApplyConfiguration(configuration())
    asked = pb.RotateVirtualKeyRequest(name="ds-prod", grace_period=grace)
    code, violations = refused(lambda: quota.quota.RotateVirtualKey(asked))
    assert (code, violations[0][0]) == (grpc.StatusCode.INVALID_ARGUMENT, "grace_period")
    assert quota.check(call()).HasField("ok_response")


BEYOND = Timestamp(seconds=253_402_300_800)
"""The first second of the year 10000, which the message cannot have. Some clients do not check."""


def stubs(quota: QuotaProcess) -> dict[str, Any]:
    channel = quota.admin_channel
    return {
        "quota": quota.quota,
        "reservations": quota.reservations,
        "counters": quota.counters,
        "admin": admin_service_pb2_grpc.AdminServiceStub(channel),
        "overrides": override_service_pb2_grpc.OverrideServiceStub(channel),
        "doubts": doubt_service_pb2_grpc.DoubtServiceStub(channel),
    }


@pytest.mark.parametrize(
    ("service", "method", "request_", "field"),
    [
        (
            "quota",
            "CreateVirtualKey",
            pb.CreateVirtualKeyRequest(virtual_key=pb.VirtualKey(name="x", expire_time=BEYOND)),
            "virtual_key.expire_time",
        ),
        (
            "quota",
            "ApplyConfiguration",
            pb.ApplyConfigurationRequest(
                keys=[pb.DeclaredKey(virtual_key=pb.VirtualKey(name="x", expire_time=BEYOND))]
            ),
            "keys[0].virtual_key.expire_time",
        ),
        (
            "admin",
            "CreateAdminToken",
            admin_pb.CreateAdminTokenRequest(
                admin_token=admin_pb.AdminToken(name="x", role=role_pb2.ROLE_FINANCE, expire_time=BEYOND)
            ),
            "admin_token.expire_time",
        ),
        ("admin", "ListAuditEntries", admin_pb.ListAuditEntriesRequest(start_time=BEYOND), "start_time"),
        (
            "overrides",
            "GrantOverride",
            override_pb.GrantOverrideRequest(override=override_pb.Override(expire_time=BEYOND)),
            "override.expire_time",
        ),
        ("doubts", "ClearDoubts", doubts_pb.ClearDoubtsRequest(before_time=BEYOND, reason="x"), "before_time"),
        (
            "reservations",
            "ListOverdueReservations",
            reservation_pb.ListOverdueReservationsRequest(booked_through_time=BEYOND),
            "booked_through_time",
        ),
        (
            "reservations",
            "SettleReservations",
            reservation_pb.SettleReservationsRequest(settlements=[reservation_pb.Settlement(end_time=BEYOND)]),
            "settlements[0].end_time",
        ),
        (
            "counters",
            "AdjustCounters",
            counters_pb.AdjustCountersRequest(
                adjustments=[
                    counters_pb.CounterAdjustment(
                        counter=counters_pb.CounterName(limit_id="spend/month/UTC", window_start_time=BEYOND),
                        reason=pb.Adjustment.REASON_DRIFT,
                    )
                ]
            ),
            "adjustments[0].counter.window_start_time",
        ),
    ],
)
def test_a_moment_that_cannot_be_is_refused_by_the_path_of_its_field(
    quota: QuotaProcess, service: str, method: str, request_: Any, field: str
) -> None:
    code, violations = refused(lambda: getattr(stubs(quota)[service], method)(request_))
    assert (code, [violation[0] for violation in violations]) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


@pytest.mark.parametrize("role", [role_pb2.ROLE_UNSPECIFIED, UNKNOWN])
def test_a_token_without_a_known_role_is_not_made(quota: QuotaProcess, role: role_pb2.Role.ValueType) -> None:
    token = admin_pb.AdminToken(name="x", role=role, expire_time=Timestamp(seconds=1_795_470_000))
    asked = admin_pb.CreateAdminTokenRequest(admin_token=token)
    code, violations = refused(lambda: stubs(quota)["admin"].CreateAdminToken(asked))
    assert (code, violations[0][0]) == (grpc.StatusCode.INVALID_ARGUMENT, "admin_token.role")
    assert not stubs(quota)["admin"].ListAdminTokens(admin_pb.ListAdminTokensRequest()).admin_tokens
