"""Whose body may come: the real Envoy shows quota the key of whoever sends a large one, and reads nothing before."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.kernel.dialect import Dialect
from tests.worlds.data_plane import VIRTUAL_KEY, DataPlane, read_all
from tests.worlds.data_plane_services import body_may_come, deny

pytestmark = pytest.mark.e2e

PATHS = {
    Dialect.OPENAI: "/v1/chat/completions",
    Dialect.ANTHROPIC: "/v1/messages",
    Dialect.GEMINI: "/v1beta/models/asked:generateContent",
}
EACH_DIALECT = pytest.mark.parametrize("dialect", list(Dialect))
NEW_KEYS = (f"{VIRTUAL_KEY}-{number}" for number in itertools.count())
SMALL_MAX = 32_768
LARGEST = 16 * 1024 * 1024
UNKNOWN = '{"error":{"message":"unknown key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}'


@pytest.fixture(scope="module")
def started() -> Iterator[DataPlane]:
    with DataPlane(max_body_bytes=LARGEST) as plane:
        yield plane


@pytest.fixture
def plane(started: DataPlane) -> DataPlane:
    started.clear()
    started.client.headers["authorization"] = f"Bearer {next(NEW_KEYS)}"
    return started


def shown(plane: DataPlane) -> str:
    """The key of the test's client. No other test uses it, because good keys are remembered."""
    return plane.client.headers["authorization"]


def key(plane: DataPlane) -> str:
    """The same as a line of a head."""
    return f"authorization: {shown(plane)}"


def head(path: str, *headers: str, size: int | None = LARGEST) -> bytes:
    """The head of a request that announces a body of `size` bytes, or chunks."""
    length = "transfer-encoding: chunked" if size is None else f"content-length: {size}"
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", length, *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chat(size: int) -> bytes:
    """A body of exactly this size."""
    empty = json.dumps({"model": "asked", "messages": [{"role": "user", "content": ""}]})
    return empty.replace('""', f'"{"x" * (size - len(empty))}"').encode()


def refuses_keys(plane: DataPlane) -> None:
    plane.quota.decide_key = lambda _: deny(401, UNKNOWN, {"content-type": "application/json"})


@EACH_DIALECT
@pytest.mark.parametrize("size", [LARGEST, None])
def test_a_large_body_with_a_bad_key_is_refused_before_a_byte_of_it_comes(
    plane: DataPlane, dialect: Dialect, size: int | None
) -> None:
    refuses_keys(plane)
    answer = read_all(plane, head(PATHS[dialect], key(plane), size=size))
    assert (answer.status_code, answer.text) == (401, UNKNOWN)
    assert plane.refused(answer)["details"] == "ext_authz_denied"
    assert plane.quota.checks == []
    (asked,) = plane.quota.key_checks
    assert asked.attributes.request.http.headers["authorization"] == shown(plane)
    assert not asked.attributes.metadata_context.filter_metadata


def test_who_shows_no_key_is_told_so_however_small_the_body(plane: DataPlane) -> None:
    refuses_keys(plane)
    answer = read_all(plane, head(PATHS[Dialect.OPENAI], size=10))
    assert answer.status_code == 401
    assert len(plane.quota.key_checks) == 1
    assert plane.quota.checks == []


@pytest.mark.parametrize(("size", "questions"), [(SMALL_MAX, 0), (SMALL_MAX + 1, 1), (3_000_000, 1)])
def test_only_large_bodies_cost_a_question(plane: DataPlane, size: int, questions: int) -> None:
    response = plane.client.post(
        PATHS[Dialect.OPENAI], content=chat(size), headers={"content-type": "application/json"}
    )
    assert response.status_code == 200
    assert (len(plane.quota.key_checks), len(plane.quota.checks)) == (questions, 1)
    (received,) = plane.provider("main").received
    assert len(received.json["messages"][0]["content"]) == len(json.loads(chat(size))["messages"][0]["content"])


def large_call(plane: DataPlane, **headers: str) -> int:
    headers |= {"content-type": "application/json"}
    return plane.client.post(PATHS[Dialect.OPENAI], content=chat(100_000), headers=headers).status_code


def test_a_key_that_was_good_a_moment_ago_is_not_asked_about_again(plane: DataPlane) -> None:
    assert [large_call(plane) for _ in range(3)] == [200] * 3
    assert (len(plane.quota.key_checks), len(plane.quota.checks)) == (1, 3)
    # As large as a body may be: it came on the route after the gate.
    assert is_served(plane, size=LARGEST - 65_536)
    assert len(plane.quota.key_checks) == 1


@pytest.mark.parametrize("other", ["authorization", "x-api-key"])
def test_who_shows_something_else_than_the_good_key_is_asked(plane: DataPlane, other: str) -> None:
    assert large_call(plane) == 200
    assert large_call(plane, **{other: f"Bearer {next(NEW_KEYS)}"}) == 200
    assert len(plane.quota.key_checks) == 2
    refuses_keys(plane)
    lines = [key(plane)] if other != "authorization" else []
    answer = read_all(plane, head(PATHS[Dialect.OPENAI], *lines, f"{other}: Bearer {next(NEW_KEYS)}"))
    assert (answer.status_code, answer.text) == (401, UNKNOWN)


def test_a_key_that_was_revoked_has_one_body_taken_in_and_no_call_served(plane: DataPlane) -> None:
    assert large_call(plane) == 200
    plane.quota.decide = lambda _: deny(401, UNKNOWN, {"content-type": "application/json"})
    refuses_keys(plane)
    assert large_call(plane) == 401
    assert len(plane.quota.key_checks) == 1
    answer = read_all(plane, head(PATHS[Dialect.OPENAI], key(plane)))
    assert answer.status_code == 401
    assert (len(plane.quota.key_checks), len(plane.quota.checks)) == (2, 2)
    assert len(plane.provider("main").received) == 1


def test_only_a_call_that_quota_admitted_makes_a_key_good(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: deny(429, UNKNOWN, {"content-type": "application/json"})
    assert [large_call(plane), large_call(plane)] == [429, 429]
    assert len(plane.quota.key_checks) == 2


def test_a_body_in_chunks_is_asked_about_and_served(plane: DataPlane) -> None:
    response = plane.client.post(
        PATHS[Dialect.OPENAI], content=iter([chat(2_000)]), headers={"content-type": "application/json"}
    )
    assert response.status_code == 200
    assert (len(plane.quota.key_checks), len(plane.quota.checks)) == (1, 1)


@pytest.mark.parametrize(("size", "questions"), [(2_000, 0), (3_000_000, 1)])
def test_http2_is_held_to_the_same(plane: DataPlane, tmp_path: Path, size: int, questions: int) -> None:
    (tmp_path / "body").write_bytes(chat(size))
    command = [
        "curl",
        "--silent",
        "--http2-prior-knowledge",
        "--header",
        key(plane),
        "--data-binary",
        f"@{tmp_path}/body",
    ]
    command += ["--header", "content-type: application/json", "--write-out", "%{http_code}", "--output", "/dev/null"]
    url = f"http://127.0.0.1:{plane.node.data_port}{PATHS[Dialect.OPENAI]}"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    assert done.stdout == "200"
    assert (len(plane.quota.key_checks), len(plane.quota.checks)) == (questions, 1)


def test_over_http2_too_a_bad_key_is_refused_before_the_body_comes(plane: DataPlane) -> None:
    refuses_keys(plane)
    fields = {":method": "POST", ":scheme": "http", ":path": PATHS[Dialect.OPENAI], ":authority": "x"}
    fields |= {"authorization": shown(plane), "content-type": "application/json"}
    # RFC 7541, 6.2.2: each name and value as it is, after its length.
    block = b"".join(b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in field) for field in fields.items())
    with socket.create_connection(("127.0.0.1", plane.node.data_port), timeout=5) as client:
        # RFC 9113: the preface, empty SETTINGS, and HEADERS of stream 1 that end the head but not the stream.
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block))
        frames = client.makefile("rb")
        answer = b""
        while not answer.endswith(b"}"):
            header = frames.read(9)
            payload = frames.read(int.from_bytes(header[:3], "big"))
            if header[3] == 0:
                answer += payload
    assert answer.decode() == UNKNOWN


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, 4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def test_a_client_that_waits_for_a_sign_gets_the_refusal_without_sending_its_body(plane: DataPlane) -> None:
    refuses_keys(plane)
    answer = b""
    with socket.create_connection(("127.0.0.1", plane.node.data_port), timeout=5) as client:
        client.sendall(head(PATHS[Dialect.OPENAI], key(plane), "expect: 100-continue"))
        with contextlib.suppress(ConnectionError):
            while more := client.recv(65_536):
                answer += more
    assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401"))


def test_while_quota_looks_at_keys_next_to_nothing_of_the_bodies_is_kept(plane: DataPlane) -> None:
    senders, each_bytes = 20, 4_000_000
    plane.quota.delay_s = 2
    refuses_keys(plane)
    before = allocated(plane)
    with contextlib.ExitStack() as open_sockets:
        for _ in range(senders):
            client = open_sockets.enter_context(socket.create_connection(("127.0.0.1", plane.node.data_port)))
            client.sendall(head(PATHS[Dialect.OPENAI], key(plane)))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(each_bytes // 65_536):
                    client.send(b" " * 65_536)
        plane.wait(lambda: len(plane.quota.key_checks) == senders, "quota is asked about all of them")
        assert allocated(plane) - before < senders * 400_000


def allocated(plane: DataPlane) -> int:
    return int(json.loads(plane.envoy_admin("/memory"))["allocated"])


@EACH_DIALECT
def test_one_key_cannot_fill_a_worker_with_bodies(plane: DataPlane, dialect: Dialect) -> None:
    address = ("127.0.0.1", plane.node.data_port)
    holders = iter(["one"] * 7 + ["other"])
    plane.quota.decide_key = lambda _: body_may_come(next(holders, "one"))
    with contextlib.ExitStack() as open_sockets:
        for count in range(1, 7):
            open_sockets.enter_context(socket.create_connection(address)).sendall(head(PATHS[dialect], key(plane)))
            plane.wait(lambda count=count: len(plane.quota.key_checks) == count, "the body may come")  # type: ignore[misc]
        answer = read_all(plane, head(PATHS[dialect], key(plane)))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "as many large requests as it can" in answer.json()["error"]["message"]
        assert is_served(plane, size=50_000)
    plane.wait(
        lambda: "downstream_rq_active: 0" in plane.envoy_admin("/stats?filter=http.data.downstream_rq_active"),
        "all left",
    )
    assert is_served(plane, size=LARGEST - 65_536), "who finds no room looks first for what those left behind"


def is_served(plane: DataPlane, size: int) -> bool:
    content, headers = chat(size), {"content-type": "application/json"}
    return plane.client.post(PATHS[Dialect.OPENAI], content=content, headers=headers).status_code == 200


def test_the_room_of_a_body_comes_back_when_its_answer_begins(plane: DataPlane) -> None:
    for _ in range(8):
        assert is_served(plane, size=LARGEST - 65_536)


@pytest.mark.parametrize("size", [200, 50_000])
@pytest.mark.parametrize("script", ["small_bodies", "large_bodies"])
def test_a_script_that_fails_lets_nothing_through_that_it_stands_for(script: str, size: int) -> None:
    with DataPlane(broken_script=script) as plane:
        content = chat(size)
        response = plane.client.post(
            PATHS[Dialect.OPENAI], content=content, headers={"content-type": "application/json"}
        )
        is_its_own = script == "small_bodies" or size > SMALL_MAX
        assert response.status_code == (503 if is_its_own else 200)
        assert bool(plane.provider("main").received) != is_its_own
