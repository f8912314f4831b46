"""Every field of every request with values that no client should send: none of them is a failure of ours."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.ledger.v1 import ledger_service_pb2, price_book_service_pb2
from spendgate.quota.v1 import (
    admin_service_pb2,
    counter_service_pb2,
    doubt_service_pb2,
    override_service_pb2,
    quota_service_pb2,
    reservation_service_pb2,
    simulation_service_pb2,
)
from spendgate.router.v1 import route_plan_service_pb2, router_service_pb2
from spendgate.router.v1.chain_pb2 import ChainSlot, WeightedTarget
from spendgate.type.v1 import dialect_pb2, role_pb2

from services.chassis.grpc_server import open_channel
from services.chassis.well_known import duration, usd
from tests.worlds.hostile_fields import OURS, code_of, hostile
from tests.worlds.ledger_process import running
from tests.worlds.quota_process import MODEL, QuotaProcess, configuration, planned_target, route_plan, spend_policy
from tests.worlds.router_server import serving

OF_QUOTA = (
    admin_service_pb2,
    counter_service_pb2,
    doubt_service_pb2,
    override_service_pb2,
    quota_service_pb2,
    reservation_service_pb2,
    simulation_service_pb2,
)
OF_THE_LEDGER = (ledger_service_pb2, price_book_service_pb2)
OF_THE_ROUTER = (router_service_pb2, route_plan_service_pb2)
FAILURES = {*OURS, grpc.StatusCode.DEADLINE_EXCEEDED}
# These stream for as long as their client listens.
ENDLESS = {"TailCalls", "WatchPrices"}
TIMEOUT_S = 20.0
REASON_DRIFT = quota_service_pb2.Adjustment.REASON_DRIFT


def methods_of(files: tuple[Any, ...]) -> pytest.MarkDecorator:
    methods = [
        method for file in files for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
    ]
    return pytest.mark.parametrize("method", methods, ids=lambda method: method.full_name)


def bases() -> dict[str, Any]:
    """By method: a request that quota accepts, so that no earlier mistake hides a hostile field."""
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


def failures(channel: grpc.Channel, method: MethodDescriptor, base: Any = None) -> list[tuple[str, str, Any]]:
    """The hostile requests of this method that failed through our fault: path of the field, request, code."""
    request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    ask = getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=answer.FromString,
    )
    return [
        (path, str(message)[:200], code)
        for path, message in hostile(request() if base is None else base)
        if (code := code_of(partial(_asked, ask, message, method))) in FAILURES
    ]


def _asked(ask: Any, message: Any, method: MethodDescriptor) -> None:
    if method.name in ENDLESS:
        _opened(ask, message)
        return
    answer = ask(iter([message]) if method.client_streaming else message, timeout=TIMEOUT_S)
    if method.server_streaming:
        list(answer)


def _opened(ask: Any, message: Any) -> None:
    """Waits until a stream begins or fails, and leaves it."""
    deadline_s, never = time.monotonic() + TIMEOUT_S, threading.Event()
    while True:
        stream = ask(message, timeout=TIMEOUT_S)
        stream.initial_metadata()
        stream.cancel()
        code = stream.code()
        if code is not grpc.StatusCode.UNAVAILABLE:
            break
        # As many streams are open as there may be. The service has not noticed yet that we left the earlier ones.
        assert time.monotonic() < deadline_s, stream.details()
        never.wait(0.05)
    if code is not grpc.StatusCode.CANCELLED:
        raise stream


@pytest.fixture(scope="module")
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        process.quota.ApplyConfiguration(configuration(spend_policy("ds", 3)))
        yield process


@methods_of(OF_QUOTA)
def test_no_value_of_a_field_makes_quota_fail(quota: QuotaProcess, method: MethodDescriptor) -> None:
    assert failures(quota.admin_channel, method, bases().get(method.name)) == []


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    with running(tmp_path_factory.mktemp("ledger")) as process, process.channel() as channel:
        yield channel


def of_the_ledger() -> dict[str, Any]:
    """By method: a request that the ledger accepts."""
    rates = [price_book_service_pb2.Rate(meter=meter, pico_usd=1_000) for meter in ("input", "output")]
    price = price_book_service_pb2.TargetPrice(tiers=[price_book_service_pb2.PriceTier(rates=rates)])
    watched = price_book_service_pb2.WatchPricesRequest.PricedTarget(target="lab/tiny", upstream_model="tiny")
    return {
        "ApplyConfiguration": ledger_service_pb2.ApplyConfigurationRequest(
            prices=[ledger_service_pb2.PriceOverride(target="lab/tiny", price=price)],
            channels=[ledger_service_pb2.AlertChannel(name="ops", url="json://127.0.0.1:9")],
        ),
        "WatchPrices": price_book_service_pb2.WatchPricesRequest(targets=[watched]),
    }


@methods_of(OF_THE_LEDGER)
def test_no_value_of_a_field_makes_the_ledger_fail(ledger: grpc.Channel, method: MethodDescriptor) -> None:
    assert failures(ledger, method, of_the_ledger().get(method.name)) == []


def routed() -> router_service_pb2.ApplyConfigurationRequest:
    """A configuration that the router accepts."""
    slot = ChainSlot(targets=[WeightedTarget(target="lab/tiny", weight=1)])
    term = router_service_pb2.Condition.Term(latency_p95=duration(8_000), period=duration(60_000))
    fallback = router_service_pb2.Fallback(to=[slot], when=router_service_pb2.Condition(all=True, terms=[term]))
    return router_service_pb2.ApplyConfigurationRequest(
        providers=[
            router_service_pb2.Provider(
                name="lab",
                protocol=dialect_pb2.DIALECT_OPENAI,
                base_url="http://127.0.0.1:8081/v1",
                api_key=router_service_pb2.SecretReference(env="LAB_KEY"),
                headers=router_service_pb2.ProviderHeaders(allow=["x-title"]),
            )
        ],
        models=[
            router_service_pb2.Model(name="m", targets=[slot], fallbacks=[fallback], first_byte_timeout=duration(1_000))
        ],
    )


@methods_of(OF_THE_ROUTER)
def test_no_value_of_a_field_makes_the_router_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, method: MethodDescriptor
) -> None:
    async def scenario() -> list[tuple[str, str, Any]]:
        async with serving(tmp_path):
            with open_channel(f"unix:{tmp_path}/r.sock") as channel:
                base = routed() if method.name == "ApplyConfiguration" else None
                return await asyncio.to_thread(failures, channel, method, base)

    assert asyncio.run(scenario()) == []
    # A stream whose reader fails ends like any other, and only the log says why.
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
