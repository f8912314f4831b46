"""The server of Checks keeps gRPC's promises, although the thread that reads also answers."""

from __future__ import annotations

import gc
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis import unary_server
from services.chassis.status import DETAILS_KEY
from services.chassis.unary_server import CallContext, UnaryServer, health
from services.kernel.errors import InvalidInput

PATIENCE_S = 10
ECHO, FAIL, HOLD = "/test.Service/Echo", "/test.Service/Fail", "/test.Service/Hold"


class Server:
    """A server of a few methods, and a client of it."""

    def __init__(self, grace_s: float = 0) -> None:
        self.entered = threading.Semaphore(0)
        self.let = threading.Event()
        self.failure: Exception = RuntimeError("a secret of ours")
        self.held_active: list[bool] = []
        self._folder = Path(tempfile.mkdtemp(prefix="u"))
        self.address = f"unix:{self._folder}/u.sock"
        handlers = {ECHO: self._echo, FAIL: self._fail, HOLD: self._hold, **health("test.Service")}
        self.server = UnaryServer("a test", self.address, handlers, grace_s=grace_s)
        self.server.start()
        self.channel = grpc.insecure_channel(self.address)
        self._stopped = False

    def call(self, method: str = ECHO) -> Any:
        return self.channel.unary_unary(method)

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self.server.stop()

    def close(self) -> None:
        self.let.set()
        self.channel.close()
        self.stop()
        shutil.rmtree(self._folder)

    def _echo(self, message: bytes, context: CallContext) -> bytes:
        said = dict(context.invocation_metadata()).get("said", "")
        return message + (said if isinstance(said, bytes) else said.encode())

    def _fail(self, _: bytes, __: CallContext) -> bytes:
        raise self.failure

    def _hold(self, message: bytes, context: CallContext) -> bytes:
        self.entered.release()
        assert self.let.wait(PATIENCE_S)
        self.held_active.append(context.is_active())
        return message


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start_one(grace_s: float = 0) -> Server:
        started.append(Server(grace_s))
        return started[-1]

    yield start_one
    for server in started:
        server.close()


def refusal_of(call: Callable[[], object]) -> Any:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value


def test_each_of_many_calls_at_once_gets_its_own_answer(start: Callable[..., Server]) -> None:
    call = start().call()
    asked = [f"{number}:".encode() for number in range(2_000)]

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda text: call(text, metadata=(("said", "hello"),), timeout=PATIENCE_S), asked))

    assert answers == [text + b"hello" for text in asked]


def test_large_messages_pass_both_ways(start: Callable[..., Server]) -> None:
    large = bytes(2_000_000)
    assert start().call()(large, timeout=PATIENCE_S) == large


def test_too_large_a_message_is_refused_and_the_next_call_is_answered(start: Callable[..., Server]) -> None:
    call = start().call()
    assert refusal_of(lambda: call(bytes(17 * 1024 * 1024))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert call(b"next", timeout=PATIENCE_S) == b"next"


def test_an_error_of_ours_arrives_as_its_status_with_details(start: Callable[..., Server]) -> None:
    server = start()
    server.failure = InvalidInput("model", "is missing")

    error = refusal_of(lambda: server.call(FAIL)(b""))

    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "model" in error.details()
    assert len(status.details) == 2


def test_any_other_error_is_logged_and_its_text_stays_here(
    start: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = start()

    with caplog.at_level(logging.ERROR):
        error = refusal_of(lambda: server.call(FAIL)(b""))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    assert "a secret of ours" in caplog.text
    assert server.call()(b"next", timeout=PATIENCE_S) == b"next"


def test_an_unknown_method_is_refused(start: Callable[..., Server]) -> None:
    server = start()
    assert refusal_of(lambda: server.call("/test.Service/None")(b"")).code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_without_a_message_is_refused(start: Callable[..., Server]) -> None:
    call: Any = start().channel.stream_unary(ECHO)
    assert refusal_of(lambda: call(iter(()), timeout=PATIENCE_S)).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("leave", ["cancels", "runs out of time", "hangs up"])
def test_a_handler_sees_that_its_client_left_while_it_ran(start: Callable[..., Server], leave: str) -> None:
    server = start()
    channel = grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)])
    call: Any = channel.unary_unary(HOLD)
    asked = call.future(b"", timeout=0.2 if leave == "runs out of time" else None)
    assert server.entered.acquire(timeout=PATIENCE_S)
    left = threading.Event()
    asked.add_done_callback(lambda _: left.set())
    if leave == "cancels":
        asked.cancel()
    elif leave == "hangs up":
        channel.close()
    assert left.wait(PATIENCE_S)
    # Its departure takes a moment to arrive.
    threading.Timer(0.2, server.let.set).start()

    assert server.call()(b"next", timeout=PATIENCE_S) == b"next"
    assert server.held_active == [False]
    channel.close()


def test_a_handler_whose_client_waits_sees_it(start: Callable[..., Server]) -> None:
    server = start()
    server.let.set()
    assert server.call(HOLD)(b"here", timeout=PATIENCE_S) == b"here"
    assert server.held_active == [True]


def test_a_call_whose_client_left_while_it_waited_is_not_handled(start: Callable[..., Server]) -> None:
    server = start()
    held: Any = server.call(HOLD).future(b"")
    assert server.entered.acquire(timeout=PATIENCE_S)
    late = refusal_of(lambda: server.call(HOLD)(b"", timeout=0.2))
    server.let.set()
    held.result(PATIENCE_S)

    assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.call()(b"next", timeout=PATIENCE_S) == b"next"
    assert server.held_active == [True]


def test_beyond_a_limit_calls_are_refused_instead_of_kept_waiting(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unary_server, "WAITING_MAX", 5)
    server = start()
    held: Any = server.call(HOLD).future(b"")
    assert server.entered.acquire(timeout=PATIENCE_S)
    others: list[Any] = [server.call().future(b"") for _ in range(50)]
    # They have left the client, and lie in the server's socket.
    threading.Timer(0.3, server.let.set).start()
    held.result(PATIENCE_S)

    codes = [each.code() for each in others]
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes.count(grpc.StatusCode.OK) >= 5
    assert server.call()(b"next", timeout=PATIENCE_S) == b"next"


def test_a_stop_lets_the_call_in_flight_finish_and_takes_no_new_one(start: Callable[..., Server]) -> None:
    server = start(grace_s=PATIENCE_S)
    held: Any = server.call(HOLD).future(b"kept")
    assert server.entered.acquire(timeout=PATIENCE_S)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    threading.Timer(0.2, server.let.set).start()

    assert held.result(PATIENCE_S) == b"kept"
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    assert refusal_of(lambda: server.call()(b"", timeout=PATIENCE_S)).code() is grpc.StatusCode.UNAVAILABLE


def test_a_stop_cancels_a_call_that_outlasts_its_grace(start: Callable[..., Server]) -> None:
    server = start(grace_s=0.1)
    held: Any = server.call(HOLD).future(b"")
    assert server.entered.acquire(timeout=PATIENCE_S)
    stopping = threading.Thread(target=server.stop)
    stopping.start()

    assert refusal_of(lambda: held.result(PATIENCE_S)).code() in {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
    }
    server.let.set()
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()


def test_it_says_that_it_serves(start: Callable[..., Server]) -> None:
    stub: Any = health_pb2_grpc.HealthStub(start().channel)
    for name in ("", "test.Service"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    error = refusal_of(lambda: stub.Check(health_pb2.HealthCheckRequest(service="test.Other"), timeout=PATIENCE_S))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_an_address_in_use_is_an_error_at_the_start(start: Callable[..., Server]) -> None:
    taken = start().address
    with pytest.raises(RuntimeError, match="cannot listen"):
        UnaryServer("another", taken.replace("u.sock", "none/u.sock"), {}, grace_s=0)


def test_calls_that_have_ended_leave_nothing_behind(start: Callable[..., Server]) -> None:
    server = start()
    for number in range(300):
        server.call()(str(number).encode(), timeout=PATIENCE_S)
    refusal_of(lambda: server.call("/test.Service/None")(b""))
    server.call()(b"last", timeout=PATIENCE_S)

    gc.collect()
    alive = [each for each in gc.get_objects() if type(each).__module__ == unary_server.__name__]
    # The server, its readers, and at most a call that has just ended.
    assert len(alive) < 10
