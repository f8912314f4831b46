"""Headers by allow list, both ways: what hostile clients and providers send, and how much of it arrives."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from services.kernel.dialect import Dialect
from tests.e2e.hostile_headers import FROM_CLIENT, FROM_PROVIDER
from tests.worlds.data_plane import PROVIDER_KEY, VIRTUAL_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.http_server import Received

pytestmark = pytest.mark.e2e

CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}
GEMINI = {"contents": [{"parts": [{"text": "hello"}]}]}
CALLS: dict[str, tuple[str, Any]] = {
    "main": ("/v1/chat/completions", CHAT),
    "claude": ("/v1/messages", CHAT),
    "gem": ("/v1beta/models/asked:generateContent", GEMINI),
}
OF_THE_GATEWAY = {"date", "x-request-id", "request-id", "x-spendgate-model-served", "x-spendgate-attempts"}


@pytest.fixture(scope="module")
def started() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        plane.add_provider("claude", dialect=Dialect.ANTHROPIC, credential_header="x-api-key")
        plane.add_provider("gem", dialect=Dialect.GEMINI, credential_header="x-goog-api-key")
        plane.add_provider("second")
        plane.add_provider("open", secret_name="")
        plane.add_provider("extra", allowed_headers=("x-title", "x-vendor-hint"))
        plane.publish()
        plane.wait(lambda: "second.openai" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


@pytest.fixture
def plane(started: DataPlane) -> DataPlane:
    started.clear()
    return started


def call(plane: DataPlane, *chain: str, headers: dict[str, str] | None = None, query: str = "") -> httpx.Response:
    plane.quota.decide = lambda _: plane.allow(*chain)
    path, body = CALLS.get(chain[0], CALLS["main"])
    return plane.client.post(path + query, json=body, headers=headers)


def sent_to(plane: DataPlane, name: str) -> Received:
    (seen,) = plane.provider(name).received
    return seen


@pytest.mark.parametrize("name", CALLS)
def test_of_eighty_hostile_headers_a_provider_gets_none(plane: DataPlane, name: str) -> None:
    assert len(FROM_CLIENT) >= 80
    credentials = dict.fromkeys(("x-api-key", "api-key", "x-goog-api-key"), VIRTUAL_KEY)
    wanted = {
        "anthropic-version": "2023-06-01", "anthropic-beta": "some-beta", "x-stainless-retry-count": "1",
        "content-type": "application/json; charset=utf-8", "accept": "application/x-protobuf", "user-agent": "me/1",
    }  # fmt: skip
    assert call(plane, name, headers=FROM_CLIENT | credentials | wanted).status_code == 200
    seen = dict(sent_to(plane, name).headers)
    key = f"Bearer {PROVIDER_KEY}-{name}"
    request_id = seen.pop("x-request-id")
    assert len(request_id) == 36
    versions = {"anthropic-version": "2023-06-01", "anthropic-beta": "some-beta"} if name == "claude" else {}
    assert seen == versions | {
        "host": f"{name}.test",
        "accept": "application/json",
        "user-agent": "spendgate",
        "content-type": "application/json",
        "content-length": str(len(sent_to(plane, name).body)),
        "x-stainless-retry-count": "1",
        "x-envoy-attempt-count": "1",
        {"main": "authorization", "claude": "x-api-key", "gem": "x-goog-api-key"}[name]: key,
    }


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", [200, 400])
def test_of_eighty_hostile_headers_a_client_gets_none(plane: DataPlane, name: str, status: int) -> None:
    assert len(FROM_PROVIDER) >= 80
    wanted = {
        "cache-control": "no-store",
        "retry-after": "3",
        "openai-processing-ms": "7",
        "x-gemini-service-tier": "x",
    }
    plane.provider(name).answer = lambda _: Answer(status=status, headers=FROM_PROVIDER | wanted)
    response = call(plane, name)
    assert response.status_code == status
    passed = set(response.headers) - OF_THE_GATEWAY
    own = {"main": {"openai-processing-ms"}, "gem": {"x-gemini-service-tier"}}.get(name, set())
    # An error is held until its credentials are out of it, so its length is not known before.
    framing = "content-length" if status == 200 else "transfer-encoding"
    assert passed == own | {"content-type", framing, "cache-control", "retry-after"}
    assert len(response.headers["x-request-id"]) == len(response.headers["request-id"]) == 36
    assert response.headers["x-spendgate-model-served"] == f"{name}/up"


@pytest.mark.parametrize("name", CALLS)
def test_nothing_of_a_clients_query_reaches_a_provider(plane: DataPlane, name: str) -> None:
    query = f"?key={VIRTUAL_KEY}&fields=candidates&$fields=x&alt=proto&beta=true&api-version=1&$alt=json"
    call(plane, name, query=query)
    assert sent_to(plane, name).path == {"gem": "/v1beta/models/g:x"}.get(name, CALLS[name][0])


def test_a_provider_may_add_headers_and_the_next_one_does_not_get_them(plane: DataPlane) -> None:
    hints = {"x-title": "shop", "x-vendor-hint": "near", "x-other": "no"}
    plane.provider("extra").answer = lambda _: Answer(headers={"x-vendor-hint": "far", "x-other": "no"})
    response = call(plane, "extra", headers=hints)
    seen = sent_to(plane, "extra").headers
    assert (seen["x-title"], seen["x-vendor-hint"], "x-other" in seen) == ("shop", "near", False)
    assert (response.headers["x-vendor-hint"], "x-other" in response.headers) == ("far", False)

    plane.clear()
    plane.provider("extra").answer = lambda _: Answer(status=500)
    assert call(plane, "extra", "second", headers=hints).status_code == 200
    assert not set(hints) & set(sent_to(plane, "second").headers)


def test_a_header_that_only_the_second_provider_takes_reaches_it(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: Answer(status=500)
    assert call(plane, "main", "extra", headers={"x-title": "shop", "x-other": "no"}).status_code == 200
    assert "x-title" not in sent_to(plane, "main").headers
    assert sent_to(plane, "extra").headers["x-title"] == "shop"
    assert "x-other" not in sent_to(plane, "extra").headers


def test_what_was_dropped_is_on_the_line_but_what_everybody_sends(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: Answer(status=500, headers={"x-odd": "1", "server": "s"})
    plane.provider("second").answer = lambda _: Answer(headers={"x-strange": "1", "via": "v", "x-ratelimit-x": "1"})
    call(plane, "main", "second", headers={"x-portkey-config": "c", "x-stainless-os": "Linux", "accept-language": "de"})
    (line,) = plane.calls()
    assert line["dropped"] == "main>x-portkey-config,main<x-odd,second<x-strange"


def test_an_ordinary_call_drops_nothing_worth_telling(plane: DataPlane) -> None:
    call(plane, "main")
    (line,) = plane.calls()
    assert "dropped" not in line


def test_what_is_reported_of_dropped_headers_is_bounded(plane: DataPlane) -> None:
    many = {f"x-{at}-{'n' * 50}": "1" for at in range(60)}
    plane.provider("main").answer = lambda _: Answer(headers=many)
    assert call(plane, "main", headers=many).status_code == 200
    (line,) = plane.calls()
    assert len(line["dropped"]) <= 1024


def test_a_long_name_of_a_dropped_header_is_not_told(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: Answer(headers={"x-" + "n" * 80: "1", "x-odd": "1"})
    assert call(plane, "main").status_code == 200
    (line,) = plane.calls()
    assert line["dropped"] == "main<x-odd"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 101, 600])
@pytest.mark.parametrize("name", CALLS)
def test_a_redirect_is_not_followed_and_not_shown(plane: DataPlane, name: str, status: int) -> None:
    body = b"" if status == 101 else b"{}"
    redirect = Answer(
        status=status, body=body, headers={"location": "http://127.0.0.1:1/v1", "refresh": "0; url=http://evil"}
    )
    plane.provider(name).answer = lambda _: redirect
    response = call(plane, name)
    assert (response.status_code, response.headers["x-should-retry"]) == (502, "false")
    assert not {"location", "refresh"} & set(response.headers)
    error = response.json()["error"]
    assert f"The provider {name} answered with status {status}" in error["message"]
    kind = {"main": ("code", "upstream_unavailable"), "claude": ("type", "api_error"), "gem": ("status", "UNAVAILABLE")}
    assert error[kind[name][0]] == kind[name][1]
    (line,) = plane.calls()
    assert (line["status"], line.get("usage_status")) == (502, None)


def test_after_a_redirect_the_next_target_serves(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: Answer(status=307, headers={"location": "http://127.0.0.1:1/"})
    response = call(plane, "main", "second")
    assert (response.status_code, response.headers["x-spendgate-model-served"]) == (200, "second/up")
    assert "x-should-retry" not in response.headers


def test_hints_before_an_answer_go_away(plane: DataPlane) -> None:
    hints = b"HTTP/1.1 103 X\r\nlink: <http://evil>\r\nset-cookie: a=b\r\n\r\n"
    plane.provider("main").answer = lambda _: Answer(interim=hints)
    response = call(plane, "main")
    assert (response.status_code, response.json()) == (200, {})
    assert not {"link", "set-cookie"} & set(response.headers)


SECRET = f"{PROVIDER_KEY}-main"


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429, 500, 503, 529])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Incorrect API key provided: {SECRET}.", "Incorrect API key provided: ***."),
        (f"key {SECRET[:14]}... is wrong", "key ***... is wrong"),
        (f"key ...{SECRET[-9:]} is wrong", "key ...*** is wrong"),
        (f"<h1>Authorization: Bearer {SECRET}</h1>", "<h1>Authorization: Bearer ***</h1>"),
        ("upstream said sk-proj-0123456789abcdefghij no", "upstream said *** no"),
        ("the model claude-sonnet-4-5-20250929 is busy, req_011CSHoEeqs5C35K2UUqR7Fy", ""),
    ],
)
def test_an_error_passes_without_the_credential_that_it_quotes(
    plane: DataPlane, status: int, text: str, shown: str
) -> None:
    body = json.dumps({"error": {"message": text}}).encode()
    plane.provider("main").answer = lambda _: Answer(status=status, body=body)
    response = call(plane, "main")
    assert (response.status_code, response.json()) == (status, {"error": {"message": shown or text}})


def test_a_credential_that_arrives_in_pieces_is_masked(plane: DataPlane) -> None:
    pieces = tuple(bytes([byte]) for byte in f"key {SECRET} is wrong".encode())
    plane.provider("main").answer = lambda _: Answer(status=500, chunks=pieces, headers={"content-type": "text/plain"})
    assert call(plane, "main").text == "key *** is wrong"


def test_the_credential_of_an_earlier_attempt_is_not_looked_for_at_the_next(plane: DataPlane) -> None:
    # Each provider can quote only its own.
    plane.provider("main").answer = lambda _: Answer(status=500)
    plane.provider("second").answer = lambda _: Answer(status=500, body=f"{PROVIDER_KEY}-second".encode())
    assert call(plane, "main", "second").text == "***"


def test_after_rotations_the_old_and_the_new_credential_are_masked(plane: DataPlane) -> None:
    # None has the shape of a key, so only who remembers them can mask them.
    first, *later = (f"credential-no-{number}-of-{name}" for number, name in enumerate(("hill", "lake", "moor")))
    configured = plane.secrets["main"]
    try:
        _rotate(plane, first)
        for credential in later:
            _rotate(plane, credential)
        quoting = f"{first}, {later[0]} or {later[1]}, but not credential-no-4"
        plane.provider("main").answer = lambda _: Answer(status=500, body=quoting.encode())
        assert call(plane, "main").text == "***, *** or ***, but not credential-no-4"
    finally:
        _rotate(plane, configured.removeprefix("Bearer "))


def _rotate(plane: DataPlane, credential: str) -> None:
    plane.secrets["main"] = f"Bearer {credential}"
    plane.publish()
    plane.wait(lambda: _presented(plane) == plane.secrets["main"], "the new credential is in use")


def _presented(plane: DataPlane) -> str:
    plane.provider("main").answer = lambda _: Answer()
    plane.provider("main").received.clear()
    call(plane, "main")
    return sent_to(plane, "main").headers["authorization"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [20_000, 3_000_000])
@pytest.mark.parametrize("status", [400, 500])
def test_a_long_error_is_replaced(plane: DataPlane, status: int, size: int, chunked: bool) -> None:
    body = (SECRET + " ").encode() * (size // len(SECRET))
    chunks = tuple(body[at : at + 7_000] for at in range(0, len(body), 7_000)) if chunked else ()
    plane.provider("main").answer = lambda _: Answer(status=status, body=body, chunks=chunks)
    response = call(plane, "main")
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["code"], "too long" in error["message"]) == ("upstream_error", True)
    assert PROVIDER_KEY not in response.text


def test_a_compressed_error_is_replaced(plane: DataPlane) -> None:
    body = gzip.compress(f'{{"error":{{"message":"{SECRET}"}}}}'.encode())
    plane.provider("main").answer = lambda _: Answer(status=400, body=body, headers={"content-encoding": "gzip"})
    response = call(plane, "main")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "upstream_error")
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize("status", [400, 401, 500, 307])
def test_an_error_without_a_body_is_an_answer(plane: DataPlane, status: int) -> None:
    plane.provider("main").answer = lambda _: Answer(status=status, body=b"")
    response = call(plane, "main")
    assert response.status_code == (502 if status in {401, 307} else status)
    assert bool(response.content) == (status in {401, 307})


@pytest.mark.parametrize("status", [401, 307])
def test_a_long_refusal_of_the_credential_is_replaced_too(plane: DataPlane, status: int) -> None:
    plane.provider("main").answer = lambda _: Answer(status=status, body=SECRET.encode() * 100_000)
    response = call(plane, "main")
    assert response.status_code >= 500
    assert PROVIDER_KEY not in response.text


def test_an_answer_passes_byte_for_byte_whatever_it_holds(plane: DataPlane) -> None:
    body = json.dumps({"choices": [{"message": {"content": "sk-proj-0123456789abcdefghij"}}]}).encode()
    plane.provider("main").answer = lambda _: Answer(body=body)
    assert call(plane, "main").content == body


def test_when_the_script_fails_neither_request_nor_answer_passes(plane: DataPlane) -> None:
    whole = plane.scripts
    answered = "local function adjust(handle)"
    assert answered in whole.target
    broken = whole.target.replace(answered, f"{answered}\n  error('broken')")
    with DataPlane() as other:
        other.scripts = replace(whole, target=broken)
        other.publish()
        hostile = Answer(body=SECRET.encode(), headers=FROM_PROVIDER)
        other.provider("main").answer = lambda _: hostile
        other.wait(lambda: call(other, "main").status_code == 502, "the broken script is in use")
        response = call(other, "main")
    assert set(response.headers) - OF_THE_GATEWAY == {"content-type", "content-length"}
    assert PROVIDER_KEY not in response.text


IMPORTED = "a-secret-of-team-x"
"""Nearly as short as an imported secret may be, and without a known form."""


@pytest.mark.parametrize("key", [VIRTUAL_KEY, "spg_test_0", "spa_0123456789", IMPORTED])
def test_a_key_in_the_wrong_place_is_in_no_log(plane: DataPlane, key: str) -> None:
    own = {"authorization": f"Bearer {key}"}
    places: list[tuple[str, str, dict[str, str]]] = [
        ("GET", f"/v1/chat/completions/{key}", {}),
        ("GET", f"/v1/{key}/models", {}),
        ("GET", f"/v1/%73{key[1:]}", {}),
        ("GET", f"/v1/nothing?key={key}&x={key}", {}),
        ("GET", f"/v1/nothing;{key}", {}),
        ("GET", "/v1/nothing", {"user-agent": key}),
        ("GET", "/v1/nothing", {"x-request-id": key}),
        ("POST", "/v1/chat/completions", {"user-agent": key, "x-request-id": key, "content-type": "text/plain"}),
        ("POST", f"/v1beta/models/{key}:generateContent", {"x-goog-api-key": key}),
    ]
    for method, path, headers in places:
        response = plane.client.request(method, path, headers=own | headers, content=b"{}")
        line = plane.refused(response)
        assert key not in json.dumps(line), (method, path, headers)
    spoken = plane.client.post("/v1/chat/completions", json=CHAT, headers=own | {"x-request-id": f"id-{key}"})
    assert spoken.status_code == 200
    assert "client_request_id" not in plane.calls()[0]
    assert key not in plane.spool_text() + plane.envoy_log()


def test_what_holds_no_key_is_in_the_log(plane: DataPlane) -> None:
    agent = {"user-agent": "OpenAI/Python 2.8.1 google-genai-sdk/1.2"}
    line = plane.refused(plane.client.get("/v1/audio/transcriptions?x=1", headers=agent))
    assert (line["method"], line["path"], line["user_agent"]) == (
        "GET", "/v1/audio/transcriptions", agent["user-agent"]
    )  # fmt: skip
    line = plane.refused(plane.client.post("/v1beta/models/gemini-2.5-flash-preview:countTokens"))
    assert line["path"] == "/v1beta/models/..."
    line = plane.refused(plane.client.get("/" + "v1/" * 100))
    assert line["path"] == "(withheld: it may hold a key)"


def test_a_model_that_is_a_key_is_refused_without_asking(plane: DataPlane) -> None:
    response = plane.client.post("/v1/chat/completions", json=CHAT | {"model": VIRTUAL_KEY})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "model")
    assert VIRTUAL_KEY not in response.text
    assert plane.quota.checks == []
