"""Bounds of the real Envoy: its memory, its connections, and the time that a client may take to send its request."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from services.kernel.dialect import Dialect
from tests.worlds.data_plane import DataPlane, read_all

pytestmark = pytest.mark.e2e

CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}]}
PATHS = {
    Dialect.OPENAI: "/v1/chat/completions",
    Dialect.ANTHROPIC: "/v1/messages",
    Dialect.GEMINI: "/v1beta/models/asked:generateContent",
}
EACH_DIALECT = pytest.mark.parametrize("dialect", list(Dialect))
HEAP = "max_heap_size_bytes: 1073741824"
CONNECTIONS = "data.connection_limit: 12000"
CONNECTIONS_MAX = 3
KINDS = {
    Dialect.OPENAI: {503: "overloaded", 408: "request_timeout"},
    Dialect.ANTHROPIC: {503: "api_error", 408: "timeout_error"},
    Dialect.GEMINI: {503: "UNAVAILABLE", 408: "DEADLINE_EXCEEDED"},
}


def kind(dialect: Dialect, body: str) -> str:
    """The type of Envoy's own error in a client's dialect."""
    error = json.loads(body)["error"]
    return str(error[{Dialect.OPENAI: "code", Dialect.ANTHROPIC: "type", Dialect.GEMINI: "status"}[dialect]])


def has_room(plane: DataPlane) -> bool:
    """Whether a new connection gets an answer."""
    try:
        return httpx.get(f"http://127.0.0.1:{plane.node.data_port}/x", trust_env=False).status_code == 404
    except httpx.TransportError:
        return False


def sheds_load(plane: DataPlane, path: str) -> bool:
    """Makes a call. Returns whether Envoy refused it and has logged that it sheds load."""
    return plane.client.post(path, json=CHAT).status_code == 503 and '"details":"overload' in plane.refused_text()


@pytest.fixture(scope="module")
def full() -> Iterator[DataPlane]:
    """An Envoy whose heap is above its bound from the start."""
    with DataPlane(bootstrap={HEAP: "max_heap_size_bytes: 1048576"}) as plane:
        yield plane


@EACH_DIALECT
def test_a_gateway_without_memory_says_so_and_asks_nobody_else(full: DataPlane, dialect: Dialect) -> None:
    # Envoy lets calls through until it has looked at its heap. A 503 alone may come from a Check that was too slow.
    full.wait(lambda: sheds_load(full, PATHS[dialect]), "Envoy sheds load")
    full.clear()
    response = full.client.post(PATHS[dialect], json=CHAT)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert kind(dialect, response.text) == KINDS[dialect][503]
    assert full.quota.checks == []
    assert full.provider("main").received == []
    # Envoy sheds load before it gives a request its id.
    full.wait(lambda: '"details":"overload' in full.refused_text(), "the refusal is logged")
    assert full.spool_text() == ""


def test_one_connection_too_many_is_closed_and_the_others_go_on() -> None:
    with DataPlane(bootstrap={CONNECTIONS: f"data.connection_limit: {CONNECTIONS_MAX}"}) as plane:
        # The client keeps this connection open.
        assert plane.client.post(PATHS[Dialect.OPENAI], json=CHAT).status_code == 200
        with contextlib.ExitStack() as held:
            address = ("127.0.0.1", plane.node.data_port)
            for _ in range(CONNECTIONS_MAX - 1):
                held.enter_context(socket.create_connection(address, timeout=5))
            one_more = held.enter_context(socket.create_connection(address, timeout=5))
            with contextlib.suppress(ConnectionError):
                assert one_more.recv(1) == b""
            assert plane.client.post(PATHS[Dialect.OPENAI], json=CHAT).status_code == 200
            admin = f"http://127.0.0.1:{plane.node.admin_port}/x"
            for _ in range(2 * CONNECTIONS_MAX):
                assert httpx.get(admin, trust_env=False).status_code == 404
            another = held.enter_context(socket.create_connection(address, timeout=5))
            with contextlib.suppress(ConnectionError):
                assert another.recv(1) == b"", "connections of the admin plane make no room"
        plane.wait(lambda: has_room(plane), "there is room again")


@pytest.fixture(scope="module")
def impatient() -> Iterator[DataPlane]:
    with DataPlane(headers_timeout_ms=300, body_timeout_ms=400) as plane:
        yield plane


@EACH_DIALECT
def test_a_body_that_does_not_arrive_is_a_408_in_the_clients_dialect(impatient: DataPlane, dialect: Dialect) -> None:
    impatient.clear()
    head = f"POST {PATHS[dialect]} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
    answer = read_all(impatient, head.encode() + b'{"model":')
    assert answer.status_code == 408
    assert kind(dialect, answer.text) == KINDS[dialect][408]
    assert impatient.quota.checks == []
    assert impatient.refused(answer)["status"] == 408


def test_headers_that_do_not_arrive_are_a_408(impatient: DataPlane) -> None:
    impatient.clear()
    answer = read_all(impatient, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
    assert answer.status_code == 408
    assert json.loads(answer.text)["error"]["message"]
    assert impatient.quota.checks == []
