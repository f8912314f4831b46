"""What clients read when the gateway itself says no: always the envelope of their own dialect."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.kernel.dialect import Dialect
from tests.worlds.data_plane import VIRTUAL_KEY, DataPlane, read_all
from tests.worlds.data_plane_services import deny

pytestmark = pytest.mark.e2e

CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}]}
ASKS: dict[Dialect, Any] = dict.fromkeys(Dialect, CHAT) | {
    Dialect.GEMINI: {"contents": [{"parts": [{"text": "hello"}]}]}
}
GEMINI = "/v1beta/models/asked:generateContent"
PATHS = {Dialect.OPENAI: "/v1/chat/completions", Dialect.ANTHROPIC: "/v1/messages", Dialect.GEMINI: GEMINI}
EACH_DIALECT = pytest.mark.parametrize("dialect", list(Dialect))


@pytest.fixture(scope="module")
def started() -> Iterator[DataPlane]:
    with DataPlane(
        headers_timeout_ms=400, body_timeout_ms=600, check_timeout_ms=500, max_body_bytes=3_000_000
    ) as plane:
        yield plane


@pytest.fixture
def plane(started: DataPlane) -> DataPlane:
    started.clear()
    return started


def expect(response: httpx.Response, dialect: Dialect, status: int, /, **expected: str) -> dict[str, Any]:
    """Checks the envelope; `expected` holds `code` (OpenAI), `type` (Anthropic) and `status` (Gemini)."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert len(response.headers["x-request-id"]) == 36
    body: dict[str, Any] = response.json()
    error: dict[str, Any] = body["error"]
    if dialect is Dialect.ANTHROPIC:
        assert (body["type"], error["type"]) == ("error", expected["type"])
        assert body["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    elif dialect is Dialect.GEMINI:
        assert (error["code"], error["status"]) == (status, expected["status"])
    else:
        assert error["code"] == expected["code"]
        assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
        assert "param" in error
    assert error["message"]
    return error


@EACH_DIALECT
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"model":"a","model":"b","contents":[],"contents":1}', "twice"),
        (b'{"mod\\u0065l":"a"}', "escapes"),
        (b'{"model":"a","messages":[', "ends"),
        (b'{"model":"a","messages":[}', "value"),
        (b"[]", "not a JSON object"),
        (b"", "not a JSON object"),
        (b'{"model":"\xff","messages":[]}', "UTF-8"),
        (b'{"model":"a","messages":[],"max_to\xc0\xabens":1}', "UTF-8"),
        (b'{"model":"a","messages":[' + b"0," * 600_000 + b"0]}", "more than"),
    ],
)
def test_a_body_that_could_be_misread_is_refused_before_quota_is_asked(
    plane: DataPlane, dialect: Dialect, body: bytes, says: str
) -> None:
    response = plane.client.post(PATHS[dialect], content=body, headers={"content-type": "application/json"})
    error = expect(
        response, dialect, 400, code="invalid_request", type="invalid_request_error", status="INVALID_ARGUMENT"
    )
    assert says in error["message"]
    assert plane.quota.checks == []


@EACH_DIALECT
@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"},
        {"content-type": "text/plain"},
        {"content-type": "application/jsonp"},
        {"content-type": "application/json; charset=utf-7"},
    ],
)
def test_a_body_that_is_not_plain_json_is_refused(plane: DataPlane, dialect: Dialect, headers: dict[str, str]) -> None:
    response = plane.client.post(
        PATHS[dialect], content=json.dumps(ASKS[dialect]), headers={"content-type": "application/json"} | headers
    )
    expect(response, dialect, 400, code="invalid_request", type="invalid_request_error", status="INVALID_ARGUMENT")
    assert plane.quota.checks == []


def test_a_model_in_the_path_that_is_no_utf8_is_refused(plane: DataPlane) -> None:
    response = plane.client.post("/v1beta/models/%ff:generateContent", json={"contents": []})
    expect(response, Dialect.GEMINI, 400, status="INVALID_ARGUMENT")
    assert plane.quota.checks == []


def test_a_refusal_names_the_field_and_goes_to_the_log_of_refusals(plane: DataPlane) -> None:
    response = plane.client.post(PATHS[Dialect.OPENAI], json=CHAT | {"stream": "yes"})
    assert response.json()["error"]["param"] == "stream"
    refused = plane.refused(response)
    assert (refused["kind"], refused["status"], refused["path"]) == ("refused", 400, "/v1/chat/completions")


@pytest.mark.parametrize(
    ("method", "path", "status", "dialect"),
    [
        ("GET", "/", 404, Dialect.OPENAI),
        ("POST", "/v1/chat/completions/", 404, Dialect.OPENAI),
        ("POST", "/v1/messages/count_words", 404, Dialect.ANTHROPIC),
        ("POST", "/v1beta/models/m:countWords", 404, Dialect.GEMINI),
        ("GET", "/v1/embeddings", 405, Dialect.OPENAI),
        ("PUT", "/v1alpha/models/m:embedContent", 405, Dialect.GEMINI),
        ("GET", "/v1/chat/completions", 405, Dialect.OPENAI),
        ("DELETE", "/v1/messages", 405, Dialect.ANTHROPIC),
        ("PUT", GEMINI, 405, Dialect.GEMINI),
        ("POST", "/v1/models", 404, Dialect.OPENAI),
    ],
)
def test_what_is_no_endpoint_is_refused_without_asking_quota(
    plane: DataPlane, method: str, path: str, status: int, dialect: Dialect
) -> None:
    response = plane.client.request(method, path)
    code = "not_found" if status == 404 else "method_not_allowed"
    kind = "not_found_error" if status == 404 else "invalid_request_error"
    expect(response, dialect, status, code=code, type=kind, status="NOT_FOUND" if status == 404 else "UNIMPLEMENTED")
    assert plane.quota.checks == []


@pytest.mark.parametrize(
    ("method", "path", "advice"),
    [
        ("GET", "/v1/responses/resp_1?include=x", "the account that all keys share"),
        ("POST", "/v1/responses/resp_1/cancel", "the account that all keys share"),
        ("POST", "/v1/images/generations", "No answer there tells what a limit could count"),
        ("POST", "/chat/completions", "base URL end in /v1."),
        ("POST", "/v1/v1/messages", "leave it out"),
        ("POST", "/v1beta/v1beta/models/m", "leave it out"),
        ("POST", "/models/m:countTokens", "/v1beta"),
        ("POST", "/v1/files", "Calls go to"),
    ],
)
def test_what_is_no_endpoint_is_named_with_what_to_use_instead(
    plane: DataPlane, method: str, path: str, advice: str
) -> None:
    response = plane.client.request(method, path)
    message = response.json()["error"]["message"]
    assert f" {method} {path.partition('?')[0]} " in message
    assert advice in message
    for exists in ("/v1/chat/completions (openai)", "/v1/messages (anthropic)", "(gemini)", "/v1/models"):
        assert exists in message
    assert response.headers["x-should-retry"] == "false"


def test_a_key_in_the_path_of_no_endpoint_is_not_repeated(plane: DataPlane) -> None:
    answer = plane.client.get(f"/v1/files/{VIRTUAL_KEY}")
    assert answer.status_code == 404
    assert VIRTUAL_KEY not in answer.text


@EACH_DIALECT
def test_an_answer_that_waiting_cannot_change_says_so(plane: DataPlane, dialect: Dialect) -> None:
    for path, content in ((PATHS[dialect], b"{"), (f"{PATHS[dialect]}/more", b"{}")):
        refused = plane.client.post(path, content=content, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.headers["x-should-retry"]) in {(400, "false"), (404, "false")}


def test_a_head_request_is_refused_without_a_body(plane: DataPlane) -> None:
    response = plane.client.head("/v1/chat/completions")
    assert (response.status_code, response.content) == (405, b"")


@EACH_DIALECT
def test_quotas_refusal_passes_verbatim(plane: DataPlane, dialect: Dialect) -> None:
    body = '{"error":{"message":"spent","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}'
    plane.quota.decide = lambda _: deny(429, body, {"x-should-retry": "false", "content-type": "application/json"})
    response = plane.client.post(PATHS[dialect], json=ASKS[dialect])
    assert (response.status_code, response.text) == (429, body)
    assert response.headers["x-should-retry"] == "false"
    assert plane.refused(response)["details"] == "ext_authz_denied"


@EACH_DIALECT
def test_a_body_that_is_too_large_is_refused(plane: DataPlane, dialect: Dialect) -> None:
    head = (
        f"POST {PATHS[dialect]} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        "content-length: 30000000\r\n\r\n"
    )
    answer = read_all(plane, head.encode() + b"x" * 5_000_000)
    assert answer.status_code == 413
    kind = "request_too_large"
    expect(answer, dialect, 413, code="request_too_large", type=kind, status="INVALID_ARGUMENT")
    assert plane.quota.checks == []


@EACH_DIALECT
def test_headers_that_are_too_large_are_refused(plane: DataPlane, dialect: Dialect) -> None:
    head = f"POST {PATHS[dialect]} HTTP/1.1\r\nhost: x\r\nx-long: {'x' * 70_000}\r\ncontent-length: 0\r\n\r\n"
    answer = read_all(plane, head.encode())
    assert answer.status_code == 431
    assert "error" in answer.json()


def test_a_body_that_comes_too_slowly_is_refused(plane: DataPlane) -> None:
    head = "POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    answer = read_all(plane, head.encode())
    expect(answer, Dialect.ANTHROPIC, 408, type="timeout_error")
    assert plane.quota.checks == []


def test_a_head_that_comes_too_slowly_is_refused(plane: DataPlane) -> None:
    answer = read_all(plane, b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n")
    assert answer.status_code == 408
    assert "error" in answer.json()


def test_what_is_not_http_is_refused_in_json(plane: DataPlane) -> None:
    answer = read_all(plane, b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: abc\r\n\r\n")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request"


@EACH_DIALECT
def test_a_quota_that_hangs_is_a_503_after_the_timeout_and_a_line_in_the_spool(
    plane: DataPlane, dialect: Dialect
) -> None:
    plane.quota.delay_s = 5
    before = time.monotonic()
    response = plane.client.post(PATHS[dialect], json=ASKS[dialect])
    assert 0.4 < time.monotonic() - before < 2
    expect(response, dialect, 503, code="policy_unavailable", type="api_error", status="UNAVAILABLE")
    assert response.headers["retry-after"] == "1"
    (call,) = plane.calls()
    assert (call["id"], call["status"]) == (response.headers["x-request-id"], 503)
    assert call["details"] == "ext_authz_error"
    assert "reservation" not in call
    assert call["id"] not in plane.refused_text()


def test_a_client_that_leaves_during_the_check_leaves_a_line_in_the_spool(plane: DataPlane) -> None:
    plane.quota.delay_s = 0.4
    cancelled = plane.quota.cancelled
    body = json.dumps(CHAT).encode()
    with socket.create_connection(("127.0.0.1", plane.node.data_port)) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )
        plane.wait(lambda: len(plane.quota.checks) == 1, "quota is asked")
    (call,) = plane.calls()
    assert call["status"] == 0
    assert "reservation" not in call
    assert call["id"] == plane.quota.checks[0].attributes.request.http.headers["x-request-id"]
    plane.wait(lambda: plane.quota.cancelled == cancelled + 1, "the Check is cancelled")


def test_lines_stay_lines_whatever_clients_send(plane: DataPlane) -> None:
    nasty = '"}\\n{"kind":"call","reservation":"forged"}'
    plane.client.post(
        "/v1/chat/completions",
        json=CHAT | {"model": 'a"b\\c ünï'},
        headers={"x-request-id": nasty, "user-agent": nasty, "x-stainless-retry-count": '"}{'},
    )
    (call,) = plane.calls()
    assert call["client_request_id"] == nasty
    assert call["model_requested"] == 'a"b\\c ünï'
    raw = f"GET /{nasty.replace(' ', '')}?key={VIRTUAL_KEY} HTTP/1.1\r\nhost: x\r\nuser-agent: a\xff\xfeb\r\n\r\n"
    answer = read_all(plane, raw.encode("latin-1"))
    assert answer.status_code == 404
    assert plane.refused(answer)["status"] == 404
    assert VIRTUAL_KEY not in plane.refused_text()


def test_bytes_that_are_no_text_do_not_break_a_line(plane: DataPlane) -> None:
    body = json.dumps(CHAT).encode()
    answer = read_all(
        plane,
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        b"x-request-id: \xff\xfe\xc3\r\ncontent-length: " + str(len(body)).encode() + b"\r\n\r\n" + body,
    )
    assert answer.status_code in {200, 503}
    assert len(plane.calls()) == 1


@pytest.mark.parametrize("dialect", [Dialect.OPENAI, Dialect.ANTHROPIC])
@pytest.mark.parametrize("script", ["request_info", "target"])
def test_a_script_that_fails_lets_nothing_through(dialect: Dialect, script: str) -> None:
    with DataPlane(broken_script=script) as plane:
        response = plane.client.post(PATHS[dialect], json=ASKS[dialect])
        assert response.status_code == 503
        assert plane.provider("main").received == []
        assert "error" in response.json()


def test_a_meter_that_fails_lets_the_answer_through() -> None:
    with DataPlane(broken_script="meter") as plane:
        plane.quota.decide = lambda _: plane.allow("main", strip_usage=True)
        assert plane.client.post(PATHS[Dialect.OPENAI], json=CHAT).status_code == 200
