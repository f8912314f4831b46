"""One call through the real Envoy, in each dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from services.kernel.dialect import Dialect
from tests.worlds.data_plane import EPOCH, PROVIDER_KEY, VIRTUAL_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.data_plane_services import deny

pytestmark = pytest.mark.e2e

CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}]}
COMPLETION = {
    "id": "x",
    "object": "chat.completion",
    "model": "main-model-0613",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 36,
        "completion_tokens": 7,
        "total_tokens": 43,
        "prompt_tokens_details": {"cached_tokens": 32},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}


@pytest.fixture(scope="module")
def started() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        plane.add_provider("claude", dialect=Dialect.ANTHROPIC, credential_header="x-api-key")
        plane.add_provider("gem", dialect=Dialect.GEMINI, credential_header="x-goog-api-key")
        plane.add_provider("open", secret_name="")
        plane.publish()
        plane.wait(lambda: "open.openai" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


@pytest.fixture
def plane(started: DataPlane) -> DataPlane:
    started.clear()
    return started


def answers(body: dict[str, Any]) -> Answer:
    return Answer(body=json.dumps(body).encode())


def test_a_call_reaches_the_target_that_quota_named_with_the_providers_credential(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: answers(COMPLETION)
    plane.quota.decide = lambda _: plane.allow(
        "main", targets=[{"host": "api.main.test", "path": "/base/v1/chat?api=1"}]
    )
    response = plane.client.post("/v1/chat/completions", json=CHAT)
    assert response.status_code == 200
    assert response.json() == COMPLETION
    (seen,) = plane.provider("main").received
    assert seen.path == "/base/v1/chat?api=1"
    assert seen.headers["host"] == "api.main.test"
    assert seen.headers["authorization"] == f"Bearer {PROVIDER_KEY}-main"
    assert seen.json == CHAT | {"model": "main-model"}
    assert int(seen.headers["content-length"]) == len(seen.body)


def test_the_spool_line_of_a_call_says_all_that_the_ledger_books(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: answers(COMPLETION)
    response = plane.client.post(
        "/v1/chat/completions",
        json=CHAT,
        headers={"x-request-id": "c" * 200, "x-stainless-retry-count": "1"},
    )
    (call,) = plane.calls()
    assert call["id"] == response.headers["x-request-id"]
    assert call["client_request_id"] == "c" * 128
    expected = {
        "v": 1, "status": 200, "cluster": "main.openai", "attempts": 1, "details": "via_upstream",
        "bytes_sent": len(response.content), "sdk_retry": "1", "dialect": "openai",
        "model_requested": "asked", "body_bytes": len(json.dumps(CHAT, separators=(",", ":"))),
        "usage": {
            "meter": "whole", "input_tokens": 36, "output_tokens": 7, "cached_tokens": 32, "reasoning_tokens": 3,
            "total_tokens": 43, "model": "main-model-0613", "finish": "stop",
        },
        "reservation": "rsv_1", "key_id": "key_1", "key": "app", "team": "blue", "environment": "prod",
        "model": "asked", "decision": "allow", "policy": "blue-prod",
        "chain": "main/up", "expected_input_tokens": 10, "expected_output_tokens": 20,
    }  # fmt: skip
    assert call | expected == call
    assert call["time"].endswith("Z")
    (attempt,) = plane.calls(kind="attempt")
    assert attempt | {"id": call["id"], "attempt": "1", "status": 200, "cluster": "main.openai"} == attempt
    assert call["id"] not in plane.refused_text()


def test_a_count_in_the_spool_keeps_all_its_digits(plane: DataPlane) -> None:
    counts = {"expected_input_tokens": 12_345_678, "expected_output_tokens": 0, "held_output_tokens": 987_654_321_012}
    plane.quota.decide = lambda _: plane.allow("main", **counts)
    plane.client.post("/v1/chat/completions", json=CHAT)
    (call,) = plane.calls()
    assert call | counts == call


def test_the_answer_says_what_was_served_and_what_is_left(plane: DataPlane) -> None:
    told = {"x-spendgate-policy": "blue-prod", "x-ratelimit-remaining-requests": "5"}
    plane.quota.decide = lambda _: plane.allow("main", downgraded="budget", answer_headers=told)
    plane.provider("main").answer = lambda _: Answer(
        headers={"x-ratelimit-remaining-requests": "9", "x-ratelimit-remaining-tokens": "9", "set-cookie": "a=b",
                 "openai-organization": "ours", "x-spendgate-policy": "forged", "x-request-id": "theirs"}
    )  # fmt: skip
    headers = plane.client.post("/v1/chat/completions", json=CHAT).headers
    assert headers["x-spendgate-model-served"] == "main/up"
    assert headers["x-spendgate-attempts"] == "1"
    assert headers["x-spendgate-downgraded"] == "budget"
    assert told.items() <= headers.items()
    assert len(headers["x-request-id"]) == 36
    assert headers["request-id"] == headers["x-request-id"]
    assert headers.get_list("x-ratelimit-remaining-requests") == ["5"]
    assert not {"x-ratelimit-remaining-tokens", "set-cookie", "openai-organization"} & set(headers)


def test_an_answer_of_envoy_itself_tells_what_is_left_too(plane: DataPlane) -> None:
    told = {"x-spendgate-policy": "blue-prod", "x-ratelimit-remaining-requests": "5"}
    plane.quota.decide = lambda _: plane.allow("main", answer_headers=told)
    plane.provider("main").hang_up = True
    response = plane.client.post("/v1/chat/completions", json=CHAT)
    assert response.status_code == 503
    assert told.items() <= response.headers.items()
    assert response.headers["request-id"] == response.headers["x-request-id"]
    assert response.headers["retry-after"] == "1"
    assert "x-should-retry" not in response.headers


def test_quota_sees_the_scan_the_epoch_and_the_headers_it_needs(plane: DataPlane) -> None:
    plane.client.post(
        "/v1/chat/completions",
        json=CHAT | {"stream": True, "max_tokens": 50},
        headers={"x-spendgate-run": "run-1", "x-spendgate-tags": "feature=search", "x-spendgate-team": "forged",
                 "x-spendgate-runs": "forged", "x-spendgate-tag": "forged",
                 "x-envoy-max-retries": "50", "x-envoy-upstream-rq-timeout-ms": "1", "accept-encoding": "gzip",
                 "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    )  # fmt: skip
    (check,) = plane.quota.checks
    headers = dict(check.attributes.request.http.headers)
    assert headers["authorization"] == f"Bearer {VIRTUAL_KEY}"
    assert headers["x-spendgate-run"] == "run-1"
    assert headers["x-spendgate-tags"] == "feature=search"
    assert headers["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert len(headers["x-request-id"]) == 36
    asked = dict(check.attributes.metadata_context.filter_metadata["spendgate.request"].items())
    assert asked["model"] == "asked"
    assert asked["stream"] is True
    assert asked["max_output_tokens"] == 50
    assert set(check.attributes.metadata_context.filter_metadata) == {"spendgate.request"}
    assert plane.quota.metadata[-1]["x-spendgate-epoch"] == EPOCH
    (seen,) = plane.provider("main").received
    assert not [name for name in seen.headers if name.startswith("x-spendgate")]
    assert "accept-encoding" not in seen.headers


def test_no_credential_of_the_client_reaches_a_provider(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("open")
    everywhere = {
        "authorization": f"Bearer {VIRTUAL_KEY}", "x-api-key": VIRTUAL_KEY, "api-key": VIRTUAL_KEY,
        "x-goog-api-key": VIRTUAL_KEY, "cookie": f"key={VIRTUAL_KEY}", "proxy-authorization": VIRTUAL_KEY,
        "openai-organization": "org-client", "x-forwarded-for": "10.0.0.1",
    }  # fmt: skip
    allow = plane.allow("open")
    del allow.ok_response.headers_to_remove[:]
    plane.quota.decide = lambda _: allow
    assert plane.client.post("/v1/chat/completions", json=CHAT, headers=everywhere).status_code == 200
    (seen,) = plane.provider("open").received
    assert not set(everywhere) & set(seen.headers)
    assert VIRTUAL_KEY not in str(seen)


def test_anthropics_dialect_is_metered_and_keeps_its_request_id_header(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("claude")
    usage = {
        "input_tokens": 4, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 12, "output_tokens": 7
    }  # fmt: skip
    plane.provider("claude").answer = lambda _: answers(
        {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
         "stop_reason": "end_turn", "usage": usage}
    )  # fmt: skip
    response = plane.client.post(
        "/v1/messages", json=CHAT | {"max_tokens": 9}, headers={"anthropic-version": "2023-06-01"}
    )  # fmt: skip
    assert response.headers["request-id"] == response.headers["x-request-id"]
    (seen,) = plane.provider("claude").received
    assert seen.headers["x-api-key"].endswith(f"{PROVIDER_KEY}-claude")
    assert "authorization" not in seen.headers
    assert seen.headers["anthropic-version"] == "2023-06-01"
    (call,) = plane.calls()
    assert call["dialect"] == "anthropic"
    told = {"input_tokens": 36, "output_tokens": 7, "cached_tokens": 20, "cache_write_tokens": 12}
    assert call["usage"] | told == call["usage"]


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_geminis_model_is_read_from_the_path_and_its_key_leaves_the_query(plane: DataPlane, version: str) -> None:
    plane.quota.decide = lambda _: plane.allow("gem", targets=[{"path": "/v1beta/models/gemini-x:generateContent"}])
    plane.provider("gem").answer = lambda _: answers(
        {"candidates": [], "modelVersion": "gemini-x",
         "usageMetadata": {"promptTokenCount": 36, "candidatesTokenCount": 7, "totalTokenCount": 43}}
    )  # fmt: skip
    response = plane.client.post(
        f"/{version}/models/lab%2Ftiny:generateContent?alt=json&key={VIRTUAL_KEY}",
        json={"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 5}},
    )
    assert response.status_code == 200
    (check,) = plane.quota.checks
    assert check.attributes.request.http.headers["x-goog-api-key"] == VIRTUAL_KEY
    assert VIRTUAL_KEY not in check.attributes.request.http.path
    asked = dict(check.attributes.metadata_context.filter_metadata["spendgate.request"].items())
    assert (asked["model"], asked["stream"], asked["max_output_tokens"]) == ("lab/tiny", False, 5)
    (seen,) = plane.provider("gem").received
    assert seen.path == "/v1beta/models/gemini-x:generateContent"
    (call,) = plane.calls()
    assert call["model_requested"] == "lab/tiny"
    assert call["usage"] | {"input_tokens": 36, "output_tokens": 7} == call["usage"]
    assert VIRTUAL_KEY not in plane.spool_text()


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/tiny", "/v1/models/lab/tiny", "/v1beta/models", "/v1beta/models/tiny"]
)
def test_the_list_of_models_is_quotas_own_answer_verbatim(plane: DataPlane, path: str) -> None:
    body = '{"object":"list","data":[{"id":"tiny"}]}'
    plane.quota.decide = lambda _: deny(200, body, {"content-type": "application/json", "x-extra": "yes"})
    response = plane.client.get(path)
    assert (response.status_code, response.text, response.headers["x-extra"]) == (200, body, "yes")
    assert response.headers["content-type"] == "application/json"
    assert plane.quota.checks[0].attributes.request.http.path == path
    assert plane.refused(response)["status"] == 200


def test_a_list_of_models_that_quota_lets_pass_goes_nowhere(plane: DataPlane) -> None:
    response = plane.client.get("/v1/models")
    assert response.status_code == 503
    assert plane.provider("main").received == []


def test_a_body_of_two_megabytes_passes_unharmed(plane: DataPlane) -> None:
    big = CHAT | {"messages": [{"role": "user", "content": "x" * 2_000_000}]}
    assert plane.client.post("/v1/chat/completions", json=big).status_code == 200
    (seen,) = plane.provider("main").received
    assert seen.json == big | {"model": "main-model"}


def test_the_output_bound_of_quota_replaces_the_clients(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", targets=[{"output_cap_field": "max_tokens", "output_cap": 16}])
    plane.client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 1000})
    (seen,) = plane.provider("main").received
    assert seen.json["max_tokens"] == 16


def test_envoys_own_admin_is_on_a_socket_that_only_its_user_can_open(plane: DataPlane) -> None:
    socket = plane.folder / "run" / "envoy-admin.sock"
    assert socket.stat().st_mode & 0o077 == 0
    assert f"{PROVIDER_KEY}-main" not in plane.envoy_admin("/config_dump?include_eds")
