"""Every field of every request of quota with values that no client should send: none is our failure, as INTERNAL is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
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
MOST, LEAST = 2**63 - 1, -(2**63)
HOSTILE: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_ENUM: (99, -1, 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT32: (-1, -(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-1, LEAST, MOST),
    FieldDescriptor.CPPTYPE_BOOL: (True,),
    FieldDescriptor.CPPTYPE_STRING: ("", "\0", "\N{SNOWMAN}", "x" * 100_000, "ds", "spend/month/UTC"),
}
WELL_KNOWN: dict[str, tuple[Any, ...]] = {
    "google.protobuf.Timestamp": tuple(Timestamp(seconds=each) for each in (LEAST, -1, 253_402_300_799, MOST)),
    "google.protobuf.Duration": tuple(
        Duration(seconds=each, nanos=nanos) for each, nanos in ((LEAST, 0), (-1, 0), (0, 1), (MOST, 0))
    ),
}
REASON_DRIFT = quota_service_pb2.Adjustment.REASON_DRIFT
_DEEPEST = 6


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


def hostile(base: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Copies of `base` in which one field holds a value that makes no sense, each with the path of that field."""
    for field in base.DESCRIPTOR.fields:
        held = getattr(base, field.name)
        for path, value in values_of(field, held, depth):
            copy = type(base)()
            copy.CopyFrom(base)
            copy.ClearField(field.name)
            copy.MergeFrom(type(base)(**{field.name: value}))
            yield f".{field.name}{path}", copy


def values_of(field: FieldDescriptor, held: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Hostile values of a field, with the rest of its path. `held` is the value that makes sense."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield "", {"x" * 1_000: LEAST, "input": MOST}
        return
    if field.message_type is None:
        values = [("", value) for value in HOSTILE[field.cpp_type]]
    elif wrong := WELL_KNOWN.get(field.message_type.full_name):
        values = [("", value) for value in wrong]
    else:
        first = (held[0] if held else None) if field.is_repeated else held
        part = GetMessageClass(field.message_type)() if first is None else first
        values = list(hostile(part, depth + 1)) if depth < _DEEPEST else []
    for path, value in values:
        yield path, [value] if field.is_repeated else value


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
    ours = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}

    failed = [
        (path, str(message)[:200], code)
        for path, message in hostile(bases().get(method.name, request()))
        if (code := _code(partial(_asked, ask, message, method))) in ours
    ]

    assert failed == []


def _asked(ask: Any, message: Any, method: MethodDescriptor) -> None:
    answer = ask(iter([message]) if method.client_streaming else message, timeout=20)
    if method.server_streaming:
        list(answer)


def _code(ask: Any) -> grpc.StatusCode | None:
    try:
        ask()
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
        return code
    return None
