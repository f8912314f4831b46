"""A gRPC server that answers on the thread that reads. It is for calls of one message each way.

`grpc.server` hands each call from the thread that reads to another one, and again for its message and for its answer.
On one core this costs more than most decisions, because each change of threads also changes who holds the interpreter.
Here a thread takes what has arrived, runs the handler of one call, and looks again. HTTP/2 and gRPC stay grpcio's own:
this module replaces the Python part of its server, and talks to its core as that part does.

`docs/adr/0029-a-check-stays-on-one-thread.md` says what this gains, and what it depends on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread  # noqa: TID251  (a server is made of threads)
from time import monotonic
from typing import Any, Protocol

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs leave it out
from grpc_health.v1 import health_pb2

from services.chassis.grpc_server import SERVER_OPTIONS
from services.chassis.status import DETAILS_KEY, status_of
from services.kernel.errors import NotFound, SpendgateError

_log = logging.getLogger("spendgate.grpc")

# The server refuses new calls while so many wait: far more than Envoy sends at once.
WAITING_MAX = 4_096
# How long calls may take to end after they were cancelled.
_CANCELLED_WITHIN_S = 5.0
# A client that leaves within this time of the last look is not seen. The ledger then releases its reservation.
_FRESH_S = 0.002
# One look reads at most one socket, and what it reads may complete nothing.
_EMPTY_LOOKS = 8
_NO_FLAGS = 0
# A moment that has passed: the queue then answers without waiting.
_AT_ONCE = 0.0
_NO_DETAILS: tuple[tuple[str, bytes], ...] = ()
_INTERNAL = (grpc.StatusCode.INTERNAL, "internal error: the log of the service has the details", _NO_DETAILS)
_FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls wait for their answer", _NO_DETAILS)
_UNKNOWN = (grpc.StatusCode.UNIMPLEMENTED, "there is no such method here", _NO_DETAILS)
_EMPTY = (grpc.StatusCode.INVALID_ARGUMENT, "the call has no message", _NO_DETAILS)
_SERVING: bytes = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING).SerializeToString()
_Status = tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]


class CallContext(Protocol):
    """What a handler may ask about its call."""

    def is_active(self) -> bool:
        """Whether somebody still waits for the answer."""
        ...

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """The metadata that the client sent."""
        ...


Handler = Callable[[bytes, CallContext], bytes]
"""Answers a message. It may raise: a `SpendgateError` becomes its status, and any other exception INTERNAL."""


def health(*services: str) -> Mapping[str, Handler]:
    """GRPC's own health check. All of the server's `services` serve while it runs; an empty name asks for all."""
    known = {"", *services}

    def check(message: bytes, _: CallContext) -> bytes:
        name = health_pb2.HealthCheckRequest.FromString(message).service
        if name not in known:
            raise NotFound(f"there is no service {name!r} here")
        return _SERVING

    return {"/grpc.health.v1.Health/Check": check}


class UnaryServer:
    """Answers the calls to one address. It is a part of a process."""

    def __init__(self, name: str, address: str, handlers: Mapping[str, Handler], *, grace_s: float) -> None:
        """Binds the address.

        Args:
            name: its name in the log.
            address: as gRPC writes it, e.g. "unix:quota.sock".
            handlers: by the full name of the method, e.g. "/package.Service/Method". One runs at a time, so none may
                wait for long.
            grace_s: how long calls in flight may take to finish when the server stops.

        Raises:
            RuntimeError: the address cannot be bound.
        """
        self.name = name
        self._grace_s = grace_s
        self._queue = cygrpc.CompletionQueue()
        self._core = cygrpc.Server(SERVER_OPTIONS, False)
        self._core.register_completion_queue(self._queue)
        if not self._core.add_http2_port(address.encode()):
            raise RuntimeError(f"cannot listen on {address}")
        self._ended = Event()
        by_name = {method.encode(): handler for method, handler in handlers.items()}
        self._reader = _Reader(self._core, self._queue, by_name)
        # It ends with the process, should a handler never return.
        self._thread = Thread(target=self._reader.run, name=name, daemon=True)

    def start(self) -> None:
        """Starts to answer."""
        self._core.start()
        self._reader.ask_for_call()
        self._thread.start()

    def stop(self) -> None:
        """Takes no new calls, and returns when the last one has ended."""
        self._core.shutdown(self._queue, lambda _: self._ended.set())
        if not self._ended.wait(self._grace_s):
            self._core.cancel_all_calls()
            self._ended.wait(_CANCELLED_WITHIN_S)
        self._core.destroy()
        self._queue.shutdown()
        self._thread.join(_CANCELLED_WITHIN_S)


class _Reader:
    """The work of the thread. An event's tag is the function that takes it."""

    def __init__(self, core: Any, queue: Any, handlers: Mapping[bytes, Handler]) -> None:
        self._core = core
        self._queue = queue
        self._handlers = handlers
        self._waiting = deque[_Call]()
        self._looked_s = 0.0

    def run(self) -> None:
        """Takes what has arrived, then answers one call, until the queue is shut down."""
        waiting, queue = self._waiting, self._queue
        while True:
            if waiting:
                self.look_again()
                self._answer(waiting.popleft())
                continue
            event = queue.poll()
            self._looked_s = monotonic()
            if event.completion_type == cygrpc.CompletionType.queue_shutdown:
                return
            self._take(event)
            # An event may hold the last reference to a call that has ended.
            del event

    def look_again(self) -> None:
        """Takes what has arrived without waiting for more, if the last look is not fresh."""
        if monotonic() - self._looked_s < _FRESH_S:
            return
        empty = 0
        while empty < _EMPTY_LOOKS:
            event = self._queue.poll(_AT_ONCE)
            if event.completion_type == cygrpc.CompletionType.operation_complete:
                empty = 0
                self._take(event)
            else:
                empty += 1
        self._looked_s = monotonic()

    def ask_for_call(self) -> None:
        """Asks grpcio's core for the next call. Without this it keeps calls back."""
        self._core.request_call(self._queue, self._queue, self._begin)

    def _take(self, event: Any) -> None:
        try:
            event.tag(event)
        except Exception:  # noqa: BLE001  (logged; the thread is for other calls, too)
            _log.exception("gRPC failed around a handler")

    def _begin(self, event: Any) -> None:
        """A call has come. Its message may still be on the way."""
        if not event.success:
            # The server stops.
            return
        self.ask_for_call()
        call = _Call(event.call, event.invocation_metadata, self)
        call.core.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), call.note_end)
        call.handler = self._handlers.get(event.call_details.method)
        if call.handler is None:
            call.refuse(_UNKNOWN)
        elif len(self._waiting) >= WAITING_MAX:
            call.refuse(_FULL)
        else:
            call.core.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), call.note_message)

    def wait_for(self, call: _Call) -> None:
        """Puts a call with its message at the end of those that wait."""
        self._waiting.append(call)

    def _answer(self, call: _Call) -> None:
        if call.cancelled or call.handler is None:
            return
        try:
            answer = call.handler(call.message, call)
        except SpendgateError as error:
            code, status = status_of(error)
            call.refuse((code, str(error), ((DETAILS_KEY, status.SerializeToString()),)))
        except Exception:  # noqa: BLE001  (logged, and answered without its text)
            _log.exception("a handler failed")
            call.refuse(_INTERNAL)
        else:
            call.answer(answer)


class _Call:
    """One call, from its head to its status."""

    __slots__ = ("_metadata", "_reader", "cancelled", "core", "handler", "message")

    def __init__(self, core: Any, metadata: Any, reader: _Reader) -> None:
        self.core = core
        self.handler: Handler | None = None
        self.message = b""
        self.cancelled = False
        self._metadata = metadata
        self._reader = reader

    def is_active(self) -> bool:
        """Whether somebody still waits. It sees a cancellation that came while the handler ran."""
        self._reader.look_again()
        return not self.cancelled

    def invocation_metadata(self) -> Any:
        """The metadata that the client sent."""
        return self._metadata

    def note_end(self, event: Any) -> None:
        """The client has left, or has its answer."""
        self.cancelled = event.batch_operations[0].cancelled()

    def note_message(self, event: Any) -> None:
        """The message is here."""
        message = event.batch_operations[0].message()
        if message is None:
            self.refuse(_EMPTY)
        else:
            self.message = message
            self._reader.wait_for(self)

    def answer(self, message: bytes) -> None:
        """Sends the answer and ends the call."""
        self._send(
            cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS),
            cygrpc.SendMessageOperation(message, _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(None, cygrpc.StatusCode.ok, b"", _NO_FLAGS),
        )

    def refuse(self, status: _Status) -> None:
        """Ends the call without an answer."""
        code, details, trailers = status
        number, _ = code.value
        self._send(
            cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(trailers or None, number, details.encode(), _NO_FLAGS),
        )

    def _send(self, *operations: Any) -> None:
        if not self.cancelled:
            self.core.start_server_batch(operations, _nothing)


def _nothing(_: object) -> None:
    """A batch has been sent. `note_end` follows."""
