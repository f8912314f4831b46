"""A whole quota on its two sockets, with a router and a ledger that tests play."""

from __future__ import annotations

import queue
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import struct_pb2
from google.type import money_pb2
from spendgate.ledger.v1 import price_book_service_pb2 as prices_pb
from spendgate.ledger.v1 import price_book_service_pb2_grpc
from spendgate.quota.v1 import counter_service_pb2_grpc, quota_service_pb2_grpc, reservation_service_pb2_grpc
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.router.v1 import route_plan_service_pb2 as plan_pb
from spendgate.router.v1 import route_plan_service_pb2_grpc
from spendgate.router.v1.chain_pb2 import ChainSlot, WeightedTarget
from spendgate.type.v1 import attribution_pb2, dialect_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as auth_pb
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2_grpc

from services.chassis.enums import enum_numbers
from services.chassis.grpc_server import Registration, build_server
from services.chassis.runtime import Runtime
from services.chassis.trace_settings import TraceSettings
from services.chassis.well_known import duration
from services.kernel.clock import ManualClock
from services.kernel.envoy_contract import EPOCH_HEADER, REQUEST_NAMESPACE
from services.quota.settings import Settings
from services.quota.wiring import build

SECRET = "imported-0123456789abcdef"
ADMIN_TOKEN = "0123456789abcdef0123456789abcdef"
EPOCH = "local-1795464000000"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MODEL = "tiny"
_PATIENCE_S = 10.0


class PlayedRouter(route_plan_service_pb2_grpc.RoutePlanServiceServicer):
    """Sends the plans that it is given and notes what is acknowledged."""

    def __init__(self) -> None:
        self.plans: queue.Queue[plan_pb.RoutePlan | None] = queue.Queue()
        self.taken: queue.Queue[str] = queue.Queue()
        self.connections = 0

    def WatchRoutePlan(
        self, request_iterator: Iterator[plan_pb.WatchRoutePlanRequest], context: grpc.ServicerContext
    ) -> Iterator[plan_pb.WatchRoutePlanResponse]:
        self.connections += 1
        assert next(request_iterator).version_taken == ""
        while (plan := self.plans.get()) is not None:
            yield plan_pb.WatchRoutePlanResponse(plan=plan)
            self.taken.put(next(request_iterator).version_taken)

    def registration(self) -> Registration:
        return Registration(
            "spendgate.router.v1.RoutePlanService",
            lambda server: route_plan_service_pb2_grpc.add_RoutePlanServiceServicer_to_server(self, server),
        )


RATES = {"input": 1_000_000, "cached_input": 500_000, "output": 2_000_000, "reasoning": 2_000_000}


class PlayedLedger(price_book_service_pb2_grpc.PriceBookServiceServicer):
    """Gives every target the same price, and notes who is asked for."""

    def __init__(self) -> None:
        self.asked: queue.Queue[list[str]] = queue.Queue()
        self.unpriced: set[str] = set()

    def WatchPrices(
        self, request: prices_pb.WatchPricesRequest, context: grpc.ServicerContext
    ) -> Iterator[prices_pb.WatchPricesResponse]:
        names = [each.target for each in request.targets]
        self.asked.put(names)
        tier = prices_pb.PriceTier(rates=[prices_pb.Rate(meter=name, pico_usd=rate) for name, rate in RATES.items()])
        prices = [prices_pb.TargetPrice(target=name, tiers=[tier]) for name in names if name not in self.unpriced]
        yield prices_pb.WatchPricesResponse(version=f"prices of {len(names)}", prices=prices)
        while context.is_active():
            time.sleep(0.02)

    def registration(self) -> Registration:
        return Registration(
            "spendgate.ledger.v1.PriceBookService",
            lambda server: price_book_service_pb2_grpc.add_PriceBookServiceServicer_to_server(self, server),
        )


_UNHEARD: Any = 99
DIALECTS = enum_numbers(dialect_pb2.Dialect)


def planned_target(name: str, dialect: str = "openai", **changes: Any) -> plan_pb.PlannedTarget:
    provider, _, model = name.partition("/")
    path = "/v1beta/models/{model}:{verb}" if dialect == "gemini" else "/v1/chat/completions"
    face = plan_pb.PlannedTarget.Face(
        dialect=DIALECTS.get(dialect, _UNHEARD),
        cluster=f"{provider}.{dialect}",
        host=f"{provider}.example",
        path=path,
        output_cap_field=plan_pb.PlannedTarget.OUTPUT_CAP_FIELD_MAX_TOKENS
        if dialect == "openai"
        else plan_pb.PlannedTarget.OUTPUT_CAP_FIELD_UNSPECIFIED,
    )
    facts: dict[str, Any] = {"upstream_model": model, "max_output_tokens": 4_096, "context_window_tokens": 100_000}
    return plan_pb.PlannedTarget(name=name, faces=[face], **{**facts, **changes})


def route_plan(version: str, chains: Mapping[str, list[plan_pb.PlannedTarget]]) -> plan_pb.RoutePlan:
    """A plan with one tier for each model."""
    models = []
    for model, targets in chains.items():
        slots = [ChainSlot(targets=[WeightedTarget(target=target.name, weight=1)]) for target in targets]
        models.append(
            plan_pb.ModelPlan(model=model, tiers=[plan_pb.Tier(chain=slots)], first_byte_timeout=duration(30_000))
        )
    targets_by_name = {target.name: target for targets in chains.values() for target in targets}
    return plan_pb.RoutePlan(version=version, models=models, targets=targets_by_name.values())


class QuotaProcess:
    """Quota in this process, as `main` builds it, except for the clock and the paths of its sockets."""

    def __init__(self, traces: TraceSettings = TraceSettings()) -> None:  # noqa: B008  (immutable)
        self.traces = traces
        # A socket's path may have 108 bytes, which pytest's own folders exceed.
        self.folder = Path(tempfile.mkdtemp(prefix="q"))
        (self.folder / "admin-token").write_text(ADMIN_TOKEN + "\n", encoding="ascii")
        self.clock = ManualClock(1_795_464_000_000)
        self.router = PlayedRouter()
        self.ledger = PlayedLedger()
        self.router_server = build_server(self.address("router"), [self.router.registration()], workers=4)
        self.ledger_server = build_server(self.address("ledger"), [self.ledger.registration()], workers=8)
        self._neighbours = [self.router_server, self.ledger_server]
        self._channels: list[grpc.Channel] = []

    def address(self, name: str) -> str:
        return f"unix:{self.folder}/{name}.sock"

    def build(self) -> Runtime:
        settings = Settings(
            data_dir=self.folder,
            traces=self.traces,
            max_stream_ms=900_000,
            check_address=self.address("quota"),
            admin_address=self.address("admin"),
            router_address=self.address("router"),
            ledger_address=self.address("ledger"),
        )
        return build(settings, self.clock)

    def __enter__(self) -> Self:
        for neighbour in self._neighbours:
            neighbour.start()
        self.service = self.build()
        self.service.start()
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.stop()
        self.router.plans.put(None)
        for channel in self._channels:
            channel.close()
        for neighbour in self._neighbours:
            neighbour.stop(None).wait()
        shutil.rmtree(self.folder)

    def restart(self) -> None:
        self.service.stop()
        self.service = self.build()
        self.service.start()
        self._connect()

    def stop_neighbours(self) -> None:
        """From now on neither router nor ledger answers."""
        self.router.plans.put(None)
        for neighbour in self._neighbours:
            neighbour.stop(None).wait()

    def publish(self, plan: plan_pb.RoutePlan) -> None:
        """Returns when the plan is in force."""
        self.router.plans.put(plan)
        assert self.router.taken.get(timeout=_PATIENCE_S) == plan.version

    def check(self, request: auth_pb.CheckRequest, *, timeout_s: float = 10) -> Any:
        return self.authorization.Check(request, metadata=((EPOCH_HEADER, EPOCH),), timeout=timeout_s)

    def _connect(self) -> None:
        checks, admin = grpc.insecure_channel(self.address("quota")), grpc.insecure_channel(self.address("admin"))
        self._channels += [checks, admin]
        self.authorization = external_auth_pb2_grpc.AuthorizationStub(checks)
        self.raw_check: Callable[..., bytes] = checks.unary_unary("/envoy.service.auth.v3.Authorization/Check")
        self.quota = quota_service_pb2_grpc.QuotaServiceStub(admin)
        self.reservations = reservation_service_pb2_grpc.ReservationServiceStub(admin)
        self.counters = counter_service_pb2_grpc.CounterServiceStub(admin)
        self.admin_channel = admin


def key_in(team: str, name: str = "ds-prod", secret: str = SECRET, **changes: Any) -> pb.DeclaredKey:
    who = attribution_pb2.Attribution(team=team, environment="prod")
    return pb.DeclaredKey(virtual_key=pb.VirtualKey(name=name, attribution=who, **changes), secret=secret)


def spend_policy(name: str, dollars: int, nanos: int = 0) -> pb.QuotaPolicy:
    amount = money_pb2.Money(currency_code="USD", units=dollars, nanos=nanos)
    limit = pb.Limit(kind=pb.LIMIT_KIND_SPEND, amount=amount, per=pb.WINDOW_UNIT_MONTH, time_zone="UTC")
    return pb.QuotaPolicy(name=name, match=pb.Match(team="data-science"), limits=[limit])


def token_policy(name: str, count: int) -> pb.QuotaPolicy:
    limit = pb.Limit(kind=pb.LIMIT_KIND_TOKENS, count=count, per=pb.WINDOW_UNIT_DAY, time_zone="UTC")
    return pb.QuotaPolicy(name=name, match=pb.Match(team="data-science"), limits=[limit])


def configuration(*policies: pb.QuotaPolicy, keys: list[pb.DeclaredKey] | None = None) -> pb.ApplyConfigurationRequest:
    """One team and its key. Without a policy its keys say that they are unlimited."""
    request = pb.ApplyConfigurationRequest(
        organization="acme",
        teams=[pb.Team(name="data-science", members=["ada@example.com"])],
        policies=policies,
        keys=keys or [key_in("data-science")],
    )
    for declared in request.keys:
        declared.virtual_key.unlimited |= not policies
    return request


def call(
    *,
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
    secret: str = SECRET,
    request_id: str = "req-1",
    **scan: Any,
) -> auth_pb.CheckRequest:
    """Envoy's question about a call, by default of an OpenAI client. `scan` changes what the scan found."""
    request = auth_pb.CheckRequest()
    http = request.attributes.request.http
    http.method, http.path = "POST", path
    http.headers.update({"x-request-id": request_id, "authorization": f"Bearer {secret}"} | dict(headers or {}))
    told = {"dialect": "openai", "model": MODEL, "body_bytes": 200, "max_output_tokens": 100, **scan}
    struct = struct_pb2.Struct()
    struct.update({key: value for key, value in told.items() if value is not None})
    request.attributes.metadata_context.filter_metadata[REQUEST_NAMESPACE].CopyFrom(struct)
    return request


def get(path: str, headers: Mapping[str, str] | None = None, secret: str = SECRET) -> auth_pb.CheckRequest:
    """Envoy's question about a request without a body."""
    request = auth_pb.CheckRequest()
    http = request.attributes.request.http
    http.method, http.path = "GET", path
    http.headers.update({"x-request-id": "req-1", "authorization": f"Bearer {secret}"} | dict(headers or {}))
    return request


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until something holds that another thread brings about."""
    deadline = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)
