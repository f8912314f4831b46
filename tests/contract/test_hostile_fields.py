"""Every field of every request of quota and ledger with values that no client should send: none is our failure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.ledger.v1 import ledger_service_pb2, ledger_service_pb2_grpc
from spendgate.quota.v1 import (
    admin_service_pb2,
    counter_service_pb2,
    doubt_service_pb2,
    override_service_pb2,
    quota_service_pb2,
    reservation_service_pb2,
    simulation_service_pb2,
)
from spendgate.type.v1 import role_pb2

from services.chassis.well_known import usd
from tests.worlds.hostile_fields import OURS, code_of, hostile
from tests.worlds.ledger_process import running
from tests.worlds.quota_process import MODEL, QuotaProcess, configuration, planned_target, route_plan, spend_policy

FILES = (
    admin_service_pb2,
    counter_service_pb2,
    doubt_service_pb2,
    override_service_pb2,
    quota_service_pb2,
    reservation_service_pb2,
    simulation_service_pb2,
)
METHODS = [
    method for file in FILES for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
]
FAILURES = {*OURS, grpc.StatusCode.DEADLINE_EXCEEDED}
REASON_DRIFT = quota_service_pb2.Adjustment.REASON_DRIFT


def bases() -> dict[str, Any]:
    """By method: a request that quota accepts, so that a hostile field is not hidden by an earlier mistake."""
    later = Timestamp(seconds=1_795_464_060)
    applied = configuration(spend_policy("ds", 3))
    applied.policies[0].thresholds.add(basis_points=8_000, notify=["lead"])
    counter = counter_service_pb2.CounterName(
        policy="ds",
        limit_id="spend/month/UTC",
        scope="team=data-science",
        window_start_time=Timestamp(),
        retain_until_time=later,
    )
    return {
        "ApplyConfiguration": applied,
        "CreateVirtualKey": quota_service_pb2.CreateVirtualKeyRequest(
            virtual_key=quota_service_pb2.VirtualKey(name="new", unlimited=True, expire_time=later)
        ),
        "RotateVirtualKey": quota_service_pb2.RotateVirtualKeyRequest(name="ds-prod"),
        "Explain": quota_service_pb2.ExplainRequest(key="ds-prod", model=MODEL),
        "GetEffectiveLimits": quota_service_pb2.GetEffectiveLimitsRequest(key="ds-prod", model=MODEL),
        "CreateAdminToken": admin_service_pb2.CreateAdminTokenRequest(
            admin_token=admin_service_pb2.AdminToken(name="ada", role=role_pb2.ROLE_FINANCE, expire_time=later)
        ),
        "GrantOverride": override_service_pb2.GrantOverrideRequest(
            override=override_service_pb2.Override(policy="ds", amount=usd(10**9), expire_time=later, reason="why")
        ),
        "ClearDoubts": doubt_service_pb2.ClearDoubtsRequest(policy="ds", reason="why"),
        "SettleReservations": reservation_service_pb2.SettleReservationsRequest(
            settlements=[reservation_service_pb2.Settlement(reservation="rsv_1", end_time=later)]
        ),
        "AdjustCounters": counter_service_pb2.AdjustCountersRequest(
            adjustments=[counter_service_pb2.CounterAdjustment(counter=counter, after=1, reason=REASON_DRIFT)]
        ),
        "SimulatePolicies": simulation_service_pb2.SimulatePoliciesRequest(
            proposal=simulation_service_pb2.Proposal(policies=applied.policies)
        ),
    }


@pytest.fixture(scope="module")
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        process.quota.ApplyConfiguration(configuration(spend_policy("ds", 3)))
        yield process


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_no_value_of_a_field_is_a_failure_of_ours(quota: QuotaProcess, method: MethodDescriptor) -> None:
    request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    name = f"/{method.containing_service.full_name}/{method.name}"
    serialisers = {"request_serializer": request.SerializeToString, "response_deserializer": answer.FromString}
    channel = quota.admin_channel
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    ask = getattr(channel, kind)(name, **serialisers)

    failed = [
        (path, str(message)[:200], code)
        for path, message in hostile(bases().get(method.name, request()))
        if (code := code_of(partial(_asked, ask, message, method))) in FAILURES
    ]

    assert failed == []


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    with running(tmp_path_factory.mktemp("ledger")) as process, process.channel() as channel:
        yield channel


# What streams stays open as long as its client does.
OF_THE_LEDGER = [
    method
    for method in ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"].methods
    if not method.server_streaming
]


@pytest.mark.parametrize("method", OF_THE_LEDGER, ids=lambda method: method.name)
def test_nor_is_it_one_of_the_ledger(ledger: grpc.Channel, method: MethodDescriptor) -> None:
    ask = getattr(ledger_service_pb2_grpc.LedgerServiceStub(ledger), method.name)

    failed = [
        (path, str(message)[:200], code)
        for path, message in hostile(GetMessageClass(method.input_type)())
        if (code := code_of(partial(ask, message, timeout=20))) in FAILURES
    ]

    assert failed == []


def _asked(ask: Any, message: Any, method: MethodDescriptor) -> None:
    answer = ask(iter([message]) if method.client_streaming else message, timeout=20)
    if method.server_streaming:
        list(answer)
