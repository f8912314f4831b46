"""The admin API of a whole gateway: over gRPC with health and reflection, as REST, with the token, and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from spendgate.ledger.v1 import ledger_service_pb2, ledger_service_pb2_grpc
from spendgate.quota.v1 import quota_service_pb2, quota_service_pb2_grpc
from spendgate.router.v1 import router_service_pb2, router_service_pb2_grpc

from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.redis_stores import eventually

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {"tiny": {"targets": ["openai/tiny"]}, "lab/tiny:8b": {"targets": ["openai/tiny"]}},
    "prices": {"openai/tiny": {"input": 1, "output": 10}},
    "teams": {"ds": {}},
    "policies": [{"name": "ds", "match": {"team": "ds"}, "limits": [{"spend": 7, "per": "month"}]}],
    "keys": [{"name": "app", "team": "ds"}],
}
ADMIN_SERVICES = tuple(f"spendgate.{name.lower()}.v1.{name}Service" for name in ("Quota", "Router", "Ledger"))
INTERNAL = (
    "/spendgate.quota.v1.ReservationService/SettleReservations",
    "/spendgate.quota.v1.ReservationService/ReleaseReservations",
    "/spendgate.quota.v1.ReservationService/ListOverdueReservations",
    "/spendgate.quota.v1.ReservationService/ListOpenReservations",
    "/spendgate.router.v1.RoutePlanService/WatchRoutePlan",
    "/spendgate.quota.v1.RecipientService/ListRecipients",
    "/spendgate.ledger.v1.PriceBookService/WatchPrices",
    "/spendgate.ledger.v1.SwitchService/ReportSwitches",
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs",
    "/envoy.service.auth.v3.Authorization/Check",
)
REST = (
    *("teams", "quotaPolicies", "virtualKeys", "budgets", "quota/status", "adminTokens", "auditEntries", "overrides"),
    *("providers", "modelRoutes", "router/status", "router/auditEntries"),
    *("usage:query?group_by=USAGE_DIMENSION_TEAM", "calls", "alerts", "ledger/status", "ledger/auditEntries"),
)


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("admin"), CONFIGURATION, vendors) as running:
        yield running


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> str:
    path = gateway.data_dir / "admin-token"
    assert path.stat().st_mode & 0o777 == 0o600
    return f"Bearer {path.read_text().strip()}"


@pytest.fixture(scope="module")
def channel(gateway: Gateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.admin, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield channel


def test_the_three_services_answer_over_grpc(channel: grpc.Channel, token: str) -> None:
    metadata = (("authorization", token),)
    teams = quota_service_pb2_grpc.QuotaServiceStub(channel).ListTeams(
        quota_service_pb2.ListTeamsRequest(), metadata=metadata
    )
    assert [team.name for team in teams.teams] == ["ds"]
    router = router_service_pb2_grpc.RouterServiceStub(channel)
    providers = router.ListProviders(router_service_pb2.ListProvidersRequest(), metadata=metadata).providers
    assert {"openai", "anthropic", "gemini"} <= {provider.name for provider in providers}
    ledger = ledger_service_pb2_grpc.LedgerServiceStub(channel)
    status = ledger.GetLedgerStatus(ledger_service_pb2.GetLedgerStatusRequest(), metadata=metadata).status
    assert status.unreadable_lines == 0


def test_reflection_describes_all_services_over_the_admin_listener(channel: grpc.Channel, token: str) -> None:
    metadata = (("authorization", token),)
    names = {service.name for service in _reflect(channel, metadata, list_services="").list_services_response.service}
    assert set(ADMIN_SERVICES) <= names
    for name in ADMIN_SERVICES:
        described = _reflect(channel, metadata, file_containing_symbol=name)
        assert described.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize("name", ["", *ADMIN_SERVICES])
def test_health_of_each_service_is_reported_over_the_admin_listener(
    channel: grpc.Channel, token: str, name: str
) -> None:
    assert _health(channel, token, name) == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("name", ["router", "ledger"])
def test_a_service_that_hangs_is_not_serving(gateway: Gateway, channel: grpc.Channel, token: str, name: str) -> None:
    service = f"spendgate.{name}.v1.{name.capitalize()}Service"
    process = gateway.pids()[name]
    os.kill(process, signal.SIGSTOP)
    try:
        # The signal is taken by one thread after the other: one of them may still answer a moment after it was sent.
        eventually(lambda: _is_stopped(process))
        assert _health(channel, token, service) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert _health(channel, token, "") == health_pb2.HealthCheckResponse.SERVING
    finally:
        os.kill(process, signal.SIGCONT)
    assert _health(channel, token, service) == health_pb2.HealthCheckResponse.SERVING


def _is_stopped(process: int) -> bool:
    """Whether no thread of it runs. See proc(5), `stat`: the state follows the name, which is in brackets."""
    threads = [stat.read_text() for stat in Path(f"/proc/{process}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in threads)


def test_without_the_token_there_is_neither_grpc_nor_rest(gateway: Gateway, channel: grpc.Channel, token: str) -> None:
    for metadata in ((), (("authorization", token[:-1]),), (("authorization", f"Bearer {gateway.secret('app')}"),)):
        with pytest.raises(grpc.RpcError) as refused:
            quota_service_pb2_grpc.QuotaServiceStub(channel).ListTeams(
                quota_service_pb2.ListTeamsRequest(), metadata=metadata
            )
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError):
            _reflect(channel, metadata, list_services="")
        with pytest.raises(grpc.RpcError):
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), metadata=metadata)
    for path in REST:
        answer = httpx.get(f"http://{gateway.admin}/v1/{path}")
        assert answer.status_code == 401, path
        assert answer.headers["content-type"] == "application/json", (path, answer.headers, answer.text)
        assert answer.json()["code"] == 16, path


@pytest.mark.parametrize("method", INTERNAL)
def test_what_the_services_say_to_each_other_is_not_reachable(channel: grpc.Channel, token: str, method: str) -> None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    with pytest.raises(grpc.RpcError) as refused:
        call(b"", metadata=(("authorization", token),))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", REST)
def test_every_list_and_status_is_there_as_rest(gateway: Gateway, token: str, path: str) -> None:
    answer = httpx.get(f"http://{gateway.admin}/v1/{path}", headers={"authorization": token})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json(), dict)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("teams/ds", "team"),
        ("quotaPolicies/ds", "quotaPolicy"),
        ("providers/openai", "provider"),
        ("modelRoutes/tiny", "model"),
    ],
)
def test_one_resource_is_there_as_rest(gateway: Gateway, token: str, path: str, field: str) -> None:
    name = path.partition("/")[2]
    with httpx.Client(base_url=f"http://{gateway.admin}/v1", headers={"authorization": token}) as rest:
        assert rest.get(path).json()[field]["name"] == name
        missing = rest.get(f"{path}x")
        assert (missing.status_code, missing.json()["code"]) == (404, 5)
        assert f"did you mean '{name}'?" in missing.json()["message"]


def test_the_name_of_a_model_stands_in_a_path_as_it_is(gateway: Gateway, token: str) -> None:
    answer = httpx.get(f"http://{gateway.admin}/v1/modelRoutes/lab/tiny:8b", headers={"authorization": token})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["name"] == "lab/tiny:8b"


def test_a_key_is_made_stopped_and_refused_over_rest(gateway: Gateway, token: str) -> None:
    with httpx.Client(base_url=f"http://{gateway.admin}/v1", headers={"authorization": token}) as rest:
        made = rest.post("/virtualKeys", json={"virtualKey": {"name": "rest", "attribution": {"team": "ds"}}})
        assert made.status_code == 200, made.text
        secret = made.json()["secret"]
        assert gateway.http(secret, headers={"authorization": f"Bearer {secret}"}).get("/v1/models").status_code == 200
        again = rest.post("/virtualKeys", json={"virtualKey": {"name": "rest"}})
        assert (again.status_code, again.json()["code"]) == (409, 6)
        stopped = rest.post("/virtualKeys/rest:disable", json={"reason": "over"})
        assert (stopped.status_code, stopped.json()["virtualKey"]["state"]) == (200, "STATE_DISABLED"), stopped.text
        shown = rest.get("/virtualKeys/rest")
        assert (shown.status_code, shown.json()) == (200, stopped.json())
        refused = gateway.http(headers={"authorization": f"Bearer {secret}"}).get("/v1/models")
        assert refused.status_code in {401, 403}
        assert rest.post("/virtualKeys/rest:enable", json={}).json()["virtualKey"]["state"] == "STATE_ACTIVE"
        rotated = rest.post("/virtualKeys/rest:rotate", json={"gracePeriod": "60s"})
        assert rotated.status_code == 200, rotated.text
        for works in (secret, rotated.json()["secret"]):
            answer = gateway.http(headers={"authorization": f"Bearer {works}"}).get("/v1/models")
            assert answer.status_code == 200, answer.text
        assert rest.post("/virtualKeys/rest:rotate", json={"gracePeriod": "-60s"}).json()["code"] == 3
        assert rest.post("/virtualKeys", json={"virtualKey": {"name": "x"}, "secretKind": "GOLD"}).status_code == 400


def test_the_data_plane_serves_no_administration(gateway: Gateway, token: str) -> None:
    for path in REST:
        assert httpx.get(f"{gateway.url}/v1/{path}", headers={"authorization": token}).status_code == 404


def _health(channel: grpc.Channel, token: str, service: str) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType:
    request = health_pb2.HealthCheckRequest(service=service)
    answer = health_pb2_grpc.HealthStub(channel).Check(request, metadata=(("authorization", token),), timeout=10)
    return answer.status


def _reflect(channel: grpc.Channel, metadata: Any, **request: str) -> Any:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (answer,) = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(**request)]), metadata=metadata, timeout=10
    )
    return answer
