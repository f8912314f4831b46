"""Envoy translates between a client of Responses and a provider of chats or of messages, and fails closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from tests.worlds.data_plane import PROVIDER_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer, sse
from tests.worlds.translators import TARGETS, events

pytestmark = pytest.mark.e2e

RESPONSES_PATH, CHAT_PATH, MESSAGES_PATH = "/v1/responses", "/v1/chat/completions", "/v1/messages"
ASKED = {"model": "asked", "input": "hello"}
COMPLETION = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 5,
    "model": "gpt",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 107, "completion_tokens": 21, "prompt_tokens_details": {"cached_tokens": 100}},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "cache_read_input_tokens": 100, "output_tokens": 21},
}


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return f"data: {json.dumps({'id': 'c-1', 'model': 'gpt', 'choices': choices, **more})}\n\n"


CHUNKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "h"}),
    chunk({"content": "i"}),
    chunk({}, "stop"),
    chunk(None, usage=COMPLETION["usage"]),
    "data: [DONE]\n\n",
]


@pytest.fixture(scope="module")
def shared() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        asked = {"operation": Operation.RESPOND}
        plane.add_provider("gpt", translated_to=Dialect.OPENAI, **asked)
        plane.add_provider("claude", translated_to=Dialect.ANTHROPIC, credential_header="x-api-key", **asked)
        plane.publish()
        plane.wait(lambda: "gpt.openai::" in plane.envoy_admin("/clusters"), "Envoy has the clusters")
        yield plane


@pytest.fixture
def plane(shared: DataPlane) -> DataPlane:
    shared.clear()
    shared.quota.decide = lambda _: through(shared, "gpt")
    return shared


def target(name: str) -> dict[str, Any]:
    """What quota says of a target, besides what it says of every one."""
    if name == "main":
        return {"path": RESPONSES_PATH}
    provider = "anthropic" if name == "claude" else "openai"
    facts = {key: value for key, value in TARGETS[provider].items() if key != "model"}
    path = MESSAGES_PATH if name == "claude" else CHAT_PATH
    return {"path": path, "translation": facts}


def through(plane: DataPlane, *names: str) -> Any:
    return plane.allow(*names, translated=True, targets=[target(name) for name in names])


@pytest.mark.parametrize("provider", ["gpt", "claude"])
def test_a_client_of_responses_reaches_other_providers(plane: DataPlane, provider: str) -> None:
    plane.quota.decide = lambda _: through(plane, provider)
    theirs = {"gpt": COMPLETION, "claude": MESSAGE}[provider]
    plane.provider(provider).answer = lambda _: Answer(body=json.dumps(theirs).encode())
    answer = plane.client.post(RESPONSES_PATH, json=ASKED | {"prompt_cache_key": "x", "metadata": {"a": "b"}})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["object"], found["status"], found["metadata"]) == ("response", "completed", {"a": "b"})
    assert found["output"][0]["content"][0]["text"] == "hi"
    assert (found["usage"]["input_tokens"], found["usage"]["input_tokens_details"]["cached_tokens"]) == (107, 100)
    assert answer.headers["x-spendgate-ignored"] == "prompt_cache_key"
    assert answer.headers["x-spendgate-model-served"] == f"{provider}/up"
    (received,) = plane.provider(provider).received
    assert received.path == target(provider)["path"]
    assert json.loads(received.body)["model"] == f"{provider}-model"
    assert PROVIDER_KEY not in answer.text
    (line,) = plane.calls()
    assert (line["usage"]["input_tokens"], line["usage"]["cached_tokens"], line["usage"]["output_tokens"]) == (
        107,
        100,
        21,
    )
    assert line["usage"]["meter"] == "whole"


def test_a_stream_arrives_event_by_event(plane: DataPlane) -> None:
    pieces: list[bytes | float] = []
    for each in CHUNKS:
        pieces += [each.encode(), 0.05]
    head = {"content-type": "text/event-stream"}
    plane.provider("gpt").answer = lambda _: Answer(headers=head, chunks=tuple(pieces))
    with plane.client.stream("POST", RESPONSES_PATH, json=ASKED | {"stream": True}) as answer:
        came = list(answer.iter_raw())
    assert len(came) > 3
    *_, last = events(b"".join(came))
    assert last["type"] == "response.completed"
    assert last["response"]["output"][0]["content"][0]["text"] == "hi"
    assert last["response"]["usage"]["input_tokens"] == 107
    assert json.loads(plane.provider("gpt").received[0].body)["stream_options"] == {"include_usage": True}
    (line,) = plane.calls()
    assert (line["usage"]["input_tokens"], line["usage"]["output_tokens"], line["usage"]["meter"]) == (107, 21, "whole")


@pytest.mark.parametrize("cut", [False, True])
def test_a_stream_that_ends_early_ends_in_an_error(plane: DataPlane, cut: bool) -> None:
    head = {"content-type": "text/event-stream"}
    early = tuple(each.encode() for each in CHUNKS[:3])
    plane.provider("gpt").answer = lambda _: Answer(headers=head, chunks=(*early, 0.05), cut=cut)
    received = b""
    try:
        with plane.client.stream("POST", RESPONSES_PATH, json=ASKED | {"stream": True}) as answer:
            for piece in answer.iter_raw():
                received += piece
        aborted = False
    except httpx.HTTPError:
        aborted = True
    assert b'"delta":"h"' in received
    assert b"response.completed" not in received
    assert aborted or b"event: error\n" in received


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_an_error_of_chats_passes_and_one_of_messages_gets_its_envelope(plane: DataPlane, status: int) -> None:
    said = {"message": f"busy, says {PROVIDER_KEY}-gpt", "type": "server_error", "code": "x", "param": None}
    plane.provider("gpt").answer = lambda _: Answer(status=status, body=json.dumps({"error": said}).encode())
    answer = plane.client.post(RESPONSES_PATH, json=ASKED)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "x")
    assert PROVIDER_KEY not in answer.text
    theirs = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    plane.provider("claude").answer = lambda _: Answer(status=status, body=json.dumps(theirs).encode())
    plane.quota.decide = lambda _: through(plane, "claude")
    answer = plane.client.post(RESPONSES_PATH, json=ASKED)
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, "busy")
    assert set(answer.json()) == {"error"}


SECRET = "<html>SECRET</html>"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "foreign",
    [
        Answer(body=SECRET.encode(), headers={"content-type": "text/html"}),
        Answer(body=json.dumps({"SECRET": 1}).encode()),
        Answer(body=b"SECRET", headers={"content-encoding": "gzip"}),
        Answer(body=b""),
        sse("data: SECRET\n\n"),
        sse(chunk({"content": "x"}), "data: {SECRET\n\n"),
    ],
)
def test_nothing_that_is_no_answer_of_chat_reaches_a_client(plane: DataPlane, foreign: Answer, stream: bool) -> None:
    plane.provider("gpt").answer = lambda _: foreign
    answer = plane.client.post(RESPONSES_PATH, json=ASKED | {"stream": stream})
    assert "SECRET" not in answer.text
    assert '"error":' in answer.text
    assert "response.completed" not in answer.text
    assert answer.status_code >= 500 or (stream and answer.headers["content-type"].startswith("text/event-stream"))


NATIVE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "model": "m",
    "status": "completed",
    "output": [],
    "usage": None,
}


def test_a_chain_goes_on_from_responses_to_chats_to_messages(plane: DataPlane) -> None:
    body = ASKED | {"prompt_cache_key": "x"}
    for name in ("main", "gpt"):
        plane.provider(name).answer = lambda _: Answer(status=500)
    plane.provider("claude").answer = lambda _: Answer(body=json.dumps(MESSAGE).encode())
    plane.quota.decide = lambda _: through(plane, "main", "gpt", "claude")
    answer = plane.client.post(RESPONSES_PATH, json=body)
    assert answer.json()["output"][0]["content"][0]["text"] == "hi"
    assert answer.headers["x-spendgate-attempts"] == "3"
    assert [plane.provider(name).received[0].path for name in ("main", "gpt", "claude")] == [
        RESPONSES_PATH,
        CHAT_PATH,
        MESSAGES_PATH,
    ]
    # And back: the next attempt starts from the client's own request.
    plane.provider("main").answer = lambda _: Answer(body=json.dumps(NATIVE).encode())
    plane.quota.decide = lambda _: through(plane, "gpt", "main")
    answer = plane.client.post(RESPONSES_PATH, json=body)
    assert answer.json() == NATIVE
    assert "x-spendgate-ignored" not in answer.headers
    assert json.loads(plane.provider("main").received[-1].body) == body | {"model": "main-model"}


def test_a_stream_that_fails_before_its_content_falls_back(plane: DataPlane) -> None:
    plane.provider("gpt").answer = lambda _: sse(CHUNKS[0], 'data: {"error": {"message": "busy"}}\n\n')
    native = {"type": "response.completed", "response": NATIVE}
    plane.provider("main").answer = lambda _: sse(f"event: response.completed\ndata: {json.dumps(native)}\n\n")
    plane.quota.decide = lambda _: through(plane, "gpt", "main")
    answer = plane.client.post(RESPONSES_PATH, json=ASKED | {"stream": True})
    assert events(answer.content) == [native]
    assert answer.headers["x-spendgate-attempts"] == "2"


def test_what_the_translator_cannot_carry_is_a_400_that_names_it(plane: DataPlane) -> None:
    answer = plane.client.post(RESPONSES_PATH, json=ASKED | {"top_logprobs": 2})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "top_logprobs"
    assert answer.headers["x-should-retry"] == "false"
    assert plane.provider("gpt").received == []
