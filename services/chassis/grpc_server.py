"""gRPC servers of all our services: health, reflection, and errors turned into status.

Handlers raise `SpendgateError`, and the interceptors here answer with its status. Any other exception is our fault: it
is logged with its traceback and answered as INTERNAL without details.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.chassis.event_loop import EventLoop
from services.chassis.neighbour_health import NeighbourHealth
from services.chassis.status import DETAILS_KEY, status_of
from services.chassis.workers import Workers
from services.kernel.errors import SpendgateError

_log = logging.getLogger("spendgate.grpc")

# Requests are configurations at most, and answers are pages.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# By default gRPC would send the text of an exception to the caller.
_INTERNAL = "internal error: the log of the service has the details"
_FAILED = "a handler failed"
SERVER_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    # Envoy and our own clients ping idle connections.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
)


@dataclass(frozen=True, slots=True)
class Registration:
    """One service of a server."""

    name: str
    """Full name, e.g. "spendgate.quota.v1.QuotaService"."""
    register: Callable[[Any], None]
    """Adds the servicer to a server."""


class Servicer(Protocol):
    """Implements one service, in `transport/<name of the service>.py`."""

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        ...


def build_server(
    address: str,
    registrations: Sequence[Registration],
    *,
    workers: int,
    reflect: bool = True,
    neighbours: Mapping[str, grpc.Channel] | None = None,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
) -> grpc.Server:
    """Builds a threaded server bound to `address`, not yet started.

    `neighbours` maps the full names of services in other processes to their channels. Reflection describes those
    services too, and health passes questions about them on.

    Raises:
        RuntimeError: the address cannot be bound.
    """
    server = grpc.server(
        Workers(workers),
        interceptors=[*interceptors, ErrorsToStatus()],
        options=SERVER_OPTIONS,
    )
    health_servicer = NeighbourHealth(neighbours or {})
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    _register(server, registrations, reflect=reflect, also=tuple(neighbours or ()))
    for name in ("", *(registration.name for registration in registrations)):
        health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    _bind(server, address)
    return server


class ThreadedServer:
    """A server of `build_server`, as a part of a process."""

    def __init__(self, name: str, server: grpc.Server, *, grace_s: float) -> None:
        """`grace_s`: how long calls in flight may take to finish when the server stops."""
        self.name = name
        self._server = server
        self._grace_s = grace_s

    def start(self) -> None:
        """Starts to answer."""
        self._server.start()

    def stop(self) -> None:
        """Returns when the last call has ended."""
        self._server.stop(self._grace_s).wait()


class AioServer:
    """A server of `build_aio_server`, as a part of a process. Its event loop runs before it starts."""

    def __init__(
        self, name: str, events: EventLoop, address: str, registrations: Sequence[Registration], *, grace_s: float
    ) -> None:
        """`grace_s`: how long calls in flight may take to finish when the server stops."""
        self.name = name
        self._events = events
        self._address = address
        self._registrations = registrations
        self._grace_s = grace_s
        self._server: grpc.aio.Server | None = None

    def start(self) -> None:
        """Returns once the server answers.

        Raises:
            RuntimeError: the address cannot be bound.
        """
        self._events.run(self._start())

    def stop(self) -> None:
        """Returns when the last call has ended."""
        if self._server is not None:
            self._events.run(self._server.stop(self._grace_s))

    async def _start(self) -> None:
        self._server = await build_aio_server(self._address, self._registrations)
        await self._server.start()


async def build_aio_server(address: str, registrations: Sequence[Registration]) -> grpc.aio.Server:
    """Builds a server bound to `address` on the running event loop, not yet started.

    Raises:
        RuntimeError: the address cannot be bound.
    """
    server = grpc.aio.server(interceptors=[AsyncErrorsToStatus()], options=SERVER_OPTIONS)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    _register(server, registrations, reflect=True)
    for name in ("", *(registration.name for registration in registrations)):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    _bind(server, address)
    return server


CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A peer that restarts is back within a second. gRPC would wait for minutes by default.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Sockets are local. A proxy from the environment must never see them.
    ("grpc.enable_http_proxy", 0),
]


def open_channel(address: str) -> grpc.Channel:
    """Opens a channel to one of our own services."""
    return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)


def open_aio_channel(address: str) -> grpc.aio.Channel:
    """Opens a channel to one of our own services on the running event loop."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)


def _register(server: Any, registrations: Sequence[Registration], *, reflect: bool, also: Sequence[str] = ()) -> None:
    for registration in registrations:
        registration.register(server)
    if reflect:
        names = [registration.name for registration in registrations]
        reflection.enable_server_reflection([*names, *also, health.SERVICE_NAME, reflection.SERVICE_NAME], server)


def _bind(server: Any, address: str) -> None:
    if not server.add_insecure_port(address):
        raise RuntimeError(f"cannot listen on {address}")


class ErrorsToStatus(grpc.ServerInterceptor):
    """Turns errors of threaded handlers into status."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the handler."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                _answering(handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                _answering(handler.stream_unary), handler.request_deserializer, handler.response_serializer
            )
        if handler.unary_stream:
            stream = handler.unary_stream

            def streaming(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
                try:
                    yield from stream(request, context)
                except SpendgateError as error:
                    _abort(context, error)
                except Exception:  # noqa: BLE001  (logged, and answered without its text)
                    _log.exception(_FAILED)
                    context.abort(grpc.StatusCode.INTERNAL, _INTERNAL)

            return grpc.unary_stream_rpc_method_handler(
                streaming, handler.request_deserializer, handler.response_serializer
            )
        return handler


class AsyncErrorsToStatus(grpc.aio.ServerInterceptor):
    """Turns errors of asynchronous handlers into status."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the handler."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler.unary_unary:
            return handler
        inner: Callable[[Any, Any], Any] = handler.unary_unary

        async def unary(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                return await inner(request, context)
            except SpendgateError as error:
                code, status = status_of(error)
                context.set_trailing_metadata(((DETAILS_KEY, status.SerializeToString()),))
                await context.abort(code, str(error))
            except Exception:  # noqa: BLE001  (logged, and answered without its text)
                _log.exception(_FAILED)
                await context.abort(grpc.StatusCode.INTERNAL, _INTERNAL)

        return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)


def _answering(inner: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    """Wraps `inner`, which takes one message or an iterator of them, so that its errors become status."""

    def unary(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return inner(request, context)
        except SpendgateError as error:
            _abort(context, error)
        except Exception:  # noqa: BLE001  (logged, and answered without its text)
            _log.exception(_FAILED)
            context.abort(grpc.StatusCode.INTERNAL, _INTERNAL)

    return unary


def _abort(context: grpc.ServicerContext, error: SpendgateError) -> None:
    code, status = status_of(error)
    context.set_trailing_metadata(((DETAILS_KEY, status.SerializeToString()),))
    context.abort(code, str(error))


__all__ = [
    "CHANNEL_OPTIONS",
    "SERVER_OPTIONS",
    "AioServer",
    "AsyncErrorsToStatus",
    "ErrorsToStatus",
    "Registration",
    "Servicer",
    "ThreadedServer",
    "build_aio_server",
    "build_server",
    "open_aio_channel",
    "open_channel",
]
