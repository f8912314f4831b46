"""The admin listener through the real Envoy: which services are reachable, as gRPC and as REST."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from spendgate.ledger.v1 import ledger_service_pb2, ledger_service_pb2_grpc
from spendgate.quota.v1 import quota_service_pb2, quota_service_pb2_grpc
from spendgate.router.v1 import router_service_pb2, router_service_pb2_grpc
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2

from tests.worlds.data_plane import DataPlane
from tests.worlds.data_plane_services import deny

pytestmark = pytest.mark.e2e
TOKEN = {"authorization": "Bearer admin"}
ADMIN_REFUSAL = '{"code":16,"message":"admin token","details":[]}'


async def list_teams(request: quota_service_pb2.ListTeamsRequest, context: Any) -> quota_service_pb2.ListTeamsResponse:
    return quota_service_pb2.ListTeamsResponse(teams=[quota_service_pb2.Team(name=f"page-{request.page_size}")])


async def create_virtual_key(request: quota_service_pb2.CreateVirtualKeyRequest, context: Any) -> Any:
    status = status_pb2.Status(code=6, message="there is a key of that name")
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="ALREADY_EXISTS", domain="spendgate"))
    status.details.append(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(grpc.StatusCode.ALREADY_EXISTS, status.message)


async def router_status(
    request: router_service_pb2.GetRouterStatusRequest, context: Any
) -> router_service_pb2.GetRouterStatusResponse:
    return router_service_pb2.GetRouterStatusResponse(status=router_service_pb2.RouterStatus(version="7"))


async def tail_calls(
    request: ledger_service_pb2.TailCallsRequest, context: Any
) -> AsyncIterator[ledger_service_pb2.TailCallsResponse]:
    for name in ("one", "two"):
        yield ledger_service_pb2.TailCallsResponse(call=ledger_service_pb2.Call(id=name))


async def health(request: health_pb2.HealthCheckRequest, context: Any) -> Any:
    return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


async def settle(request: bytes, context: Any) -> bytes:
    raise AssertionError("internal services are not for the admin listener")


def handler(service: str, **methods: grpc.RpcMethodHandler[Any, Any]) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(service, methods)


def unary(function: Any, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(function, request.FromString, lambda reply: reply.SerializeToString())


QUOTA = handler(
    "spendgate.quota.v1.QuotaService",
    ListTeams=unary(list_teams, quota_service_pb2.ListTeamsRequest),
    CreateVirtualKey=unary(create_virtual_key, quota_service_pb2.CreateVirtualKeyRequest),
)
RESERVATIONS = handler(
    "spendgate.quota.v1.ReservationService", SettleReservations=grpc.unary_unary_rpc_method_handler(settle)
)
HEALTH = handler("grpc.health.v1.Health", Check=unary(health, health_pb2.HealthCheckRequest))
ROUTER = handler(
    "spendgate.router.v1.RouterService", GetRouterStatus=unary(router_status, router_service_pb2.GetRouterStatusRequest)
)
LEDGER = handler(
    "spendgate.ledger.v1.LedgerService",
    TailCalls=grpc.unary_stream_rpc_method_handler(
        tail_calls, ledger_service_pb2.TailCallsRequest.FromString, lambda reply: reply.SerializeToString()
    ),
)


def judge(check: external_auth_pb2.CheckRequest) -> external_auth_pb2.CheckResponse:
    """What quota does for the admin plane: asks for the admin token."""
    http = check.attributes.request.http
    if dict(check.attributes.context_extensions) != {"plane": "admin"}:
        return deny(500, "wrong plane", {})
    if http.headers.get("authorization") != TOKEN["authorization"]:
        return deny(401, ADMIN_REFUSAL, {"content-type": "application/json"})
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=0), ok_response=external_auth_pb2.OkHttpResponse()
    )


@pytest.fixture(scope="module")
def plane() -> Iterator[DataPlane]:
    with DataPlane(router_services=lambda server: server.add_generic_rpc_handlers((ROUTER,))) as plane:
        plane.run(
            plane.serve(
                "quota-admin.sock", lambda server: server.add_generic_rpc_handlers((QUOTA, RESERVATIONS, HEALTH))
            )
        )
        plane.run(plane.serve("ledger.sock", lambda server: server.add_generic_rpc_handlers((LEDGER,))))
        plane.quota.decide = judge
        yield plane


@pytest.fixture
def client(plane: DataPlane) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{plane.node.admin_port}", headers=TOKEN, trust_env=False) as client:
        yield client


@pytest.fixture
def channel(plane: DataPlane) -> Iterator[grpc.Channel]:
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{plane.node.admin_port}", options=options) as channel:
        yield channel


METADATA = tuple(TOKEN.items())


def test_the_three_services_answer_over_grpc(channel: grpc.Channel) -> None:
    quota = quota_service_pb2_grpc.QuotaServiceStub(channel)
    teams = quota.ListTeams(quota_service_pb2.ListTeamsRequest(page_size=3), metadata=METADATA).teams
    assert [team.name for team in teams] == ["page-3"]
    router = router_service_pb2_grpc.RouterServiceStub(channel)
    assert router.GetRouterStatus(router_service_pb2.GetRouterStatusRequest(), metadata=METADATA).status.version == "7"
    ledger = ledger_service_pb2_grpc.LedgerServiceStub(channel)
    tail = ledger.TailCalls(ledger_service_pb2.TailCallsRequest(), metadata=METADATA)
    assert [answer.call.id for answer in tail] == ["one", "two"]
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), metadata=METADATA).status == 1


def test_without_the_token_nothing_answers(channel: grpc.Channel, client: httpx.Client) -> None:
    with pytest.raises(grpc.RpcError) as error:
        quota_service_pb2_grpc.QuotaServiceStub(channel).ListTeams(quota_service_pb2.ListTeamsRequest())
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    response = client.get("/v1/teams", headers={"authorization": "Bearer other"})
    assert (response.status_code, response.text) == (401, ADMIN_REFUSAL)


@pytest.mark.parametrize(
    "method",
    [
        "/spendgate.quota.v1.ReservationService/SettleReservations",
        "/spendgate.router.v1.RoutePlanService/WatchRoutePlan",
        "/spendgate.ledger.v1.PriceBookService/WatchPrices",
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        "/envoy.service.auth.v3.Authorization/Check",
    ],
)
def test_what_the_services_say_to_each_other_is_not_reachable(channel: grpc.Channel, method: str) -> None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    with pytest.raises(grpc.RpcError) as error:
        call(b"", metadata=METADATA)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_services_answer_as_rest(client: httpx.Client) -> None:
    assert client.get("/v1/teams", params={"page_size": 9}).json()["teams"][0]["name"] == "page-9"
    assert client.get("/v1/router/status").json()["status"]["version"] == "7"


def test_an_unknown_query_parameter_is_refused(client: httpx.Client) -> None:
    assert client.get("/v1/teams", params={"pagesize": 9}).status_code == 400


def test_an_error_is_a_json_status_with_its_details(client: httpx.Client) -> None:
    response = client.post("/v1/virtualKeys", json={})
    assert response.status_code == 409
    body = response.json()
    assert (body["code"], body["message"]) == (6, "there is a key of that name")
    assert body["details"][0]["reason"] == "ALREADY_EXISTS"


def test_a_path_that_is_no_rest_call_is_a_404(client: httpx.Client) -> None:
    assert client.get("/v1/nothing").status_code == 404


def test_the_data_listener_serves_no_administration(plane: DataPlane) -> None:
    assert plane.client.get("/v1/teams").status_code == 404
