"""The admin services with prepared answers, behind one address, for tests of what clients make of them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from spendgate.ledger.v1 import ledger_service_pb2_grpc
from spendgate.quota.v1 import (
    admin_service_pb2_grpc,
    doubt_service_pb2_grpc,
    override_service_pb2_grpc,
    quota_service_pb2_grpc,
    simulation_service_pb2_grpc,
)
from spendgate.router.v1 import router_service_pb2_grpc

from services.chassis.grpc_server import Registration, build_server

TOKEN = "token-of-the-stand-in"


@dataclass
class StandIn:
    """What the services answer and what they were asked."""

    address: str
    answers: dict[str, Any] = field(default_factory=dict)
    """By method: a message, an error to raise, or several of them to be answered in turn or streamed."""
    requests: list[tuple[str, Any]] = field(default_factory=list)

    def take(self, method: str, request: Any) -> Any:
        """Answers one call."""
        self.requests.append((method, request))
        answer = self.answers[method]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextlib.contextmanager
def stand_in_services() -> Iterator[StandIn]:
    """Serves until the block ends."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{chosen.getsockname()[1]}"
    state = StandIn(address)
    registrations = [
        _registration("spendgate.quota.v1.QuotaService", quota_service_pb2_grpc, "QuotaService", state),
        _registration("spendgate.quota.v1.AdminService", admin_service_pb2_grpc, "AdminService", state),
        _registration("spendgate.quota.v1.OverrideService", override_service_pb2_grpc, "OverrideService", state),
        _registration("spendgate.quota.v1.DoubtService", doubt_service_pb2_grpc, "DoubtService", state),
        _registration("spendgate.quota.v1.SimulationService", simulation_service_pb2_grpc, "SimulationService", state),
        _registration("spendgate.router.v1.RouterService", router_service_pb2_grpc, "RouterService", state),
        _registration("spendgate.ledger.v1.LedgerService", ledger_service_pb2_grpc, "LedgerService", state),
    ]
    server = build_server(address, registrations, workers=4, reflect=False, interceptors=[_TokenCheck()])
    server.start()
    try:
        yield state
    finally:
        server.stop(None).wait()


class _TokenCheck(grpc.ServerInterceptor):
    """As the admin listener: no call without the token."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Lets a call pass or ends it."""
        if dict(handler_call_details.invocation_metadata).get("authorization") == f"Bearer {TOKEN}":
            return continuation(handler_call_details)

        def refuse(_request: object, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")

        return grpc.unary_unary_rpc_method_handler(refuse)


def _registration(name: str, module: Any, service: str, state: StandIn) -> Registration:
    servicer_type = getattr(module, f"{service}Servicer")
    answered = {
        method: _collecting(f"{service}.{method}", state)
        if method == "SimulatePolicies"
        else _answering(f"{service}.{method}", state, streams=method == "TailCalls")
        for method in dir(servicer_type)
        if method[0].isupper()
    }
    servicer = type(f"StandIn{service}", (servicer_type,), answered)()
    return Registration(name, lambda server: getattr(module, f"add_{service}Servicer_to_server")(servicer, server))


def _answering(method: str, state: StandIn, *, streams: bool) -> Any:
    def unary(_self: object, request: Any, _context: object) -> Any:
        return state.take(method, request)

    def streaming(_self: object, request: Any, _context: object) -> Iterator[Any]:
        yield from state.take(method, request)

    return streaming if streams else unary


def _collecting(method: str, state: StandIn) -> Any:
    def collecting(_self: object, requests: Iterator[Any], _context: object) -> Any:
        return state.take(method, list(requests))

    return collecting
