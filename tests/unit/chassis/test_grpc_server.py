from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.router.v1 import router_service_pb2_grpc as rpc

from services.chassis.grpc_server import (
    Registration,
    build_aio_server,
    build_server,
    open_aio_channel,
    open_channel,
)
from services.chassis.status import DETAILS_KEY
from services.kernel.errors import InvalidInput

_SERVICE = "spendgate.router.v1.RouterService"
_ADDRESS = "unix:test.sock"


class Refusing(rpc.RouterServiceServicer):
    def ApplyConfiguration(self, request: Any, context: Any) -> NoReturn:
        raise InvalidInput("models[0].name", "write a name")

    def ListModels(self, request: Any, context: Any) -> NoReturn:
        raise ZeroDivisionError("a detail that is nobody's business")

    def ListProviders(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError

    def GetProvider(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError

    def TestProvider(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError

    def GetModel(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError

    def ListAuditEntries(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError

    def DrainTarget(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError

    def UndrainTarget(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError

    def GetRouteStatus(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError

    def GetRouterStatus(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError


class RefusingAsync(Refusing):
    async def ApplyConfiguration(self, request: Any, context: Any) -> NoReturn:  # type: ignore[override]
        raise InvalidInput("models[0].name", "write a name")


@pytest.fixture
def in_folder(tmp_path: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield
    os.chdir(before)


@pytest.fixture
def channel(in_folder: None) -> Iterator[grpc.Channel]:
    registration = Registration(_SERVICE, lambda server: rpc.add_RouterServiceServicer_to_server(Refusing(), server))
    server = build_server(_ADDRESS, [registration], workers=2)
    server.start()
    with open_channel(_ADDRESS) as channel:
        yield channel
    server.stop(grace=None).wait()


def test_health_answers_for_the_server_and_for_each_service(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", _SERVICE):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_a_neighbour_is_what_it_says_itself_while_it_answers(channel: grpc.Channel) -> None:
    nobody = open_channel("unix:nobody.sock")
    front = build_server("unix:front.sock", [], workers=2, neighbours={_SERVICE: channel, "absent": nobody})
    front.start()
    with open_channel("unix:front.sock") as asked:
        stub = health_pb2_grpc.HealthStub(asked)
        statuses = [
            stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status for name in (_SERVICE, "absent")
        ]
        assert statuses == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
        with pytest.raises(grpc.RpcError) as caught:
            next(iter(stub.Watch(health_pb2.HealthCheckRequest(service=_SERVICE), timeout=5)))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        own = next(iter(stub.Watch(health_pb2.HealthCheckRequest(), timeout=5)))
        assert own.status == health_pb2.HealthCheckResponse.SERVING
    front.stop(grace=None).wait()
    nobody.close()


def test_an_error_of_ours_becomes_its_status_with_details(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        rpc.RouterServiceStub(channel).ApplyConfiguration(pb.ApplyConfigurationRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "models[0].name: write a name"
    assert DETAILS_KEY in str(caught.value.trailing_metadata())


def test_a_failure_of_ours_keeps_its_details_to_itself(channel: grpc.Channel, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        rpc.RouterServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "nobody's business" not in str(caught.value.details())
    assert "nobody's business" in caplog.text


def test_a_bound_address_is_refused(in_folder: None) -> None:
    with pytest.raises(RuntimeError):
        build_server("unix:/nowhere/at/all.sock", [], workers=1)


def test_asynchronous_servers_answer_alike(in_folder: None) -> None:
    async def ask() -> grpc.aio.AioRpcError:
        registration = Registration(
            _SERVICE, lambda server: rpc.add_RouterServiceServicer_to_server(RefusingAsync(), server)
        )
        server = await build_aio_server(_ADDRESS, [registration])
        await server.start()
        async with open_aio_channel(_ADDRESS) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await rpc.RouterServiceStub(channel).ApplyConfiguration(pb.ApplyConfigurationRequest(), timeout=5)
        await server.stop(None)
        return caught.value

    error = asyncio.run(ask())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert DETAILS_KEY in str(error.trailing_metadata())
