"""The connection to a running gateway through its admin listener. Errors say what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

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

from services.chassis.grpc_server import CHANNEL_OPTIONS, MAX_MESSAGE_BYTES
from services.cli.gateway_address import TOKEN_VARIABLE, GatewayAddress
from services.cli.problems import Refused
from services.cli.repeating import Repeating, was_never_sent

TIMEOUT_S = 20.0
# gRPC's text when a connection ends without an answer: no Envoy listens there, or it is another kind of server.
_CLOSED = "socket closed"
# Part of the gateway's message about a token that has expired.
_IS_EXPIRED = " expired on "


class Gateway:
    """Stubs of the services. Connects at the first call. Use it as a context manager."""

    def __init__(self, address: GatewayAddress) -> None:
        self.address = address
        addresses = {name: address.sockets.get(name, address.admin) for name in ("quota", "router", "ledger")}
        self._channels = {target: _open(target, address) for target in set(addresses.values())}
        # The outer one repeats calls, so each try has a deadline of its own.
        layers = (Repeating(), _Authorization(address.token))
        authorized: dict[str, Any] = {
            name: grpc.intercept_channel(self._channels[target], *layers) for name, target in addresses.items()
        }
        self.quota = quota_service_pb2_grpc.QuotaServiceStub(authorized["quota"])
        self.administration = admin_service_pb2_grpc.AdminServiceStub(authorized["quota"])
        self.overrides = override_service_pb2_grpc.OverrideServiceStub(authorized["quota"])
        self.doubts = doubt_service_pb2_grpc.DoubtServiceStub(authorized["quota"])
        self.simulation = simulation_service_pb2_grpc.SimulationServiceStub(authorized["quota"])
        self.router = router_service_pb2_grpc.RouterServiceStub(authorized["router"])
        self.ledger = ledger_service_pb2_grpc.LedgerServiceStub(authorized["ledger"])

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes what it opened."""
        for channel in self._channels.values():
            channel.close()


def _open(target: str, address: GatewayAddress) -> grpc.Channel:
    options = [*CHANNEL_OPTIONS, ("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]
    if address.certificate is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(address.certificate), options=options)


class _Authorization(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor
):
    """Adds the admin token to each call, and a deadline to calls that end on their own."""

    def __init__(self, token: str) -> None:
        self._metadata = ("authorization", f"Bearer {token}")

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """For one answer."""
        return continuation(self._authorized(client_call_details, client_call_details.timeout or TIMEOUT_S), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """For a stream of answers, without a deadline."""
        return continuation(self._authorized(client_call_details, client_call_details.timeout), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """For one answer to a stream of requests."""
        return continuation(self._authorized(client_call_details, client_call_details.timeout), request_iterator)

    def _authorized(self, details: Any, timeout: float | None) -> _CallDetails:
        return _CallDetails(
            details.method,
            timeout,
            (*(details.metadata or ()), self._metadata),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


@dataclass(frozen=True, slots=True)
class _CallDetails(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


@contextlib.contextmanager
def explained(address: GatewayAddress) -> Iterator[None]:
    """Turns gRPC errors into errors that a person can act on.

    Raises:
        Refused: in place of every `grpc.RpcError`.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise Refused(explain_rpc_error(error, address.admin)) from error


def explain_rpc_error(error: grpc.RpcError, admin: str) -> str:
    """Returns a sentence for each way in which a call can fail."""
    code, details = _code(error), _details(error)
    if code is grpc.StatusCode.UNAVAILABLE and (was_never_sent(details) or _CLOSED in details.lower()):
        return f"no gateway answers at {admin}: start one with `spendgate up`, or name it with --admin HOST:PORT"
    if code is grpc.StatusCode.UNAUTHENTICATED:
        unknown = (
            f"the gateway at {admin} does not take this admin token: name its data directory with --data-dir, "
            f"or set {TOKEN_VARIABLE}"
        )
        return details if _IS_EXPIRED in details else unknown
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the gateway at {admin} did not answer in time: `spendgate doctor` says what is wrong"
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"a service of the gateway at {admin} is not available ({details}): it restarts by itself, try again"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"the gateway at {admin} does not know this call: it is of another release, or --admin is not its admin"
    return details or f"the gateway at {admin} failed with {code}"


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    return error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN


def _details(error: grpc.RpcError) -> str:
    return (error.details() or "") if isinstance(error, grpc.Call) else str(error)
