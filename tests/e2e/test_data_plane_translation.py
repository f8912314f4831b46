"""Envoy translates between a client and a provider of the other dialect, and fails closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.kernel.dialect import Dialect
from tests.worlds.data_plane import PROVIDER_KEY, VIRTUAL_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer, sse
from tests.worlds.translators import TARGETS, events

pytestmark = pytest.mark.e2e

CHAT_PATH, MESSAGES_PATH = "/v1/chat/completions", "/v1/messages"
HELLO = [{"role": "user", "content": "hello"}]
CHAT = {"model": "asked", "messages": HELLO}
MESSAGES = {"model": "asked", "messages": HELLO, "max_tokens": 50}
USED = {"input_tokens": 7, "cache_read_input_tokens": 100, "output_tokens": 21}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": USED,
}
COMPLETION = {
    "id": "c-1",
    "object": "chat.completion",
    "model": "gpt",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 107, "completion_tokens": 21, "prompt_tokens_details": {"cached_tokens": 100}},
}
STREAM: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "usage": {**USED, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 21}},
    {"type": "message_stop"},
]


def named(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


EVENTS = [named(event) for event in STREAM]


@pytest.fixture(scope="module")
def shared() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        plane.add_provider("claude", translated_to=Dialect.ANTHROPIC, credential_header="x-api-key")
        plane.add_provider("gpt", dialect=Dialect.ANTHROPIC, translated_to=Dialect.OPENAI)
        plane.publish()
        plane.wait(lambda: "gpt.anthropic::" in plane.envoy_admin("/clusters"), "Envoy has the clusters")
        yield plane


@pytest.fixture
def plane(shared: DataPlane) -> DataPlane:
    shared.clear()
    shared.quota.decide = lambda _: through(shared, "claude")
    return shared


def target(name: str) -> dict[str, Any]:
    """What quota says of a target, besides what it says of every one."""
    provider = "anthropic" if name == "claude" else "openai"
    facts = {key: value for key, value in TARGETS[provider].items() if key != "model"}
    return {"path": MESSAGES_PATH if name == "claude" else CHAT_PATH, "translation": facts}


def through(plane: DataPlane, *names: str) -> Any:
    return plane.allow(*names, translated=True, targets=[target(name) if name != "main" else {} for name in names])


def test_a_chat_client_reaches_a_provider_of_messages(plane: DataPlane) -> None:
    plane.provider("claude").answer = lambda _: Answer(body=json.dumps(MESSAGE).encode())
    answer = plane.client.post(CHAT_PATH, json=CHAT | {"seed": 5}, headers={"anthropic-beta": "x"})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "hi"
    assert answer.json()["usage"]["prompt_tokens"] == 107
    assert answer.headers["x-spendgate-ignored"] == "seed"
    assert answer.headers["x-spendgate-model-served"] == "claude/up"
    (received,) = plane.provider("claude").received
    assert received.path == MESSAGES_PATH
    assert received.headers["x-api-key"] == f"Bearer {PROVIDER_KEY}-claude"
    assert received.headers["anthropic-version"] == "2023-06-01"
    assert "anthropic-beta" not in received.headers
    assert VIRTUAL_KEY not in str(received)
    sent = json.loads(received.body)
    assert sent["model"] == "claude-model"
    assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    (line,) = plane.calls()
    assert (line["usage"]["input_tokens"], line["usage"]["cached_tokens"], line["usage"]["output_tokens"]) == (
        107,
        100,
        21,
    )
    assert line["usage"]["meter"] == "whole"


def test_a_messages_client_reaches_a_provider_of_chat(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: through(plane, "gpt")
    plane.provider("gpt").answer = lambda _: Answer(body=json.dumps(COMPLETION).encode())
    answer = plane.client.post(MESSAGES_PATH, json=MESSAGES, headers={"anthropic-version": "2023-06-01"})
    assert answer.status_code == 200
    assert answer.json()["content"] == [{"type": "text", "text": "hi"}]
    (received,) = plane.provider("gpt").received
    assert received.path == CHAT_PATH
    assert "anthropic-version" not in received.headers
    assert json.loads(received.body)["max_completion_tokens"] == 50
    (line,) = plane.calls()
    assert (line["usage"]["input_tokens"], line["usage"]["cached_tokens"], line["usage"]["output_tokens"]) == (
        107,
        100,
        21,
    )


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_a_long_answer_comes_whole(plane: DataPlane, size: int) -> None:
    long = MESSAGE | {"content": [{"type": "text", "text": "y" * size}]}
    plane.provider("claude").answer = lambda _: Answer(body=json.dumps(long).encode())
    answer = plane.client.post(CHAT_PATH, json=CHAT)
    assert answer.status_code == 200
    assert len(answer.json()["choices"][0]["message"]["content"]) == size


def test_a_stream_arrives_event_by_event(plane: DataPlane) -> None:
    chunks: list[bytes | float] = []
    for event in EVENTS:
        chunks += [event.encode(), 0.05]
    head = {"content-type": "text/event-stream"}
    plane.provider("claude").answer = lambda _: Answer(headers=head, chunks=tuple(chunks))
    wanted = CHAT | {"stream": True, "stream_options": {"include_usage": True}}
    with plane.client.stream("POST", CHAT_PATH, json=wanted) as answer:
        pieces = list(answer.iter_raw())
    assert len(pieces) > 3
    *_, last, done = events(b"".join(pieces))
    assert (done, last["usage"]["prompt_tokens"]) == ("[DONE]", 107)
    (line,) = plane.calls()
    assert (line["usage"]["input_tokens"], line["usage"]["output_tokens"]) == (107, 21)
    assert line["usage"]["meter"] == "whole"


@pytest.mark.parametrize("cut", [False, True])
def test_a_stream_that_ends_early_ends_in_an_error(plane: DataPlane, cut: bool) -> None:
    head = {"content-type": "text/event-stream"}
    early = tuple(event.encode() for event in EVENTS[:3])
    plane.provider("claude").answer = lambda _: Answer(headers=head, chunks=(*early, 0.05), cut=cut)
    received = b""
    try:
        with plane.client.stream("POST", CHAT_PATH, json=CHAT | {"stream": True}) as answer:
            for piece in answer.iter_raw():
                received += piece
        aborted = False
    except httpx.HTTPError:
        aborted = True
    assert b"hi" in received
    assert b"[DONE]" not in received
    assert aborted or b'"error"' in received
    (line,) = plane.calls()
    assert line["usage"]["input_tokens"] == 107


@pytest.mark.parametrize("status", [400, 404, 429, 500, 529])
def test_an_error_keeps_its_status_and_gets_the_clients_envelope(plane: DataPlane, status: int) -> None:
    theirs = {"type": "error", "error": {"type": "overloaded_error", "message": f"busy, says {PROVIDER_KEY}-claude"}}
    body = json.dumps(theirs).encode()
    plane.provider("claude").answer = lambda _: Answer(status=status, body=body, headers={"retry-after": "7"})
    answer = plane.client.post(CHAT_PATH, json=CHAT)
    assert answer.status_code == status
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["error"]["message"].startswith("busy, says ")
    assert set(answer.json()) == {"error"}
    assert PROVIDER_KEY not in answer.text


def test_a_refused_credential_is_the_gateways_own_failure(plane: DataPlane) -> None:
    plane.provider("claude").answer = lambda _: Answer(status=401, body=b'{"type":"error"}')
    answer = plane.client.post(CHAT_PATH, json=CHAT)
    assert answer.status_code == 502
    assert "credential" in answer.json()["error"]["message"]


SECRET = "<html>SECRET</html>"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "foreign",
    [
        Answer(body=SECRET.encode(), headers={"content-type": "text/html"}),
        Answer(body=json.dumps({"SECRET": 1}).encode()),
        Answer(body=b"SECRET", headers={"content-encoding": "gzip"}),
        Answer(body=b""),
        Answer(body=SECRET.encode(), status=500, headers={"content-type": "text/html"}),
        sse("data: SECRET\n\n"),
    ],
)
def test_nothing_that_is_no_answer_of_the_dialect_reaches_a_client(
    plane: DataPlane, foreign: Answer, stream: bool
) -> None:
    plane.provider("claude").answer = lambda _: foreign
    answer = plane.client.post(CHAT_PATH, json=CHAT | {"stream": stream})
    assert "SECRET" not in answer.text
    assert '"error"' in answer.text
    assert "[DONE]" not in answer.text
    assert answer.status_code >= 500 or (stream and answer.headers["content-type"].startswith("text/event-stream"))


def test_a_chain_goes_on_to_a_target_of_the_clients_own_dialect_and_back(plane: DataPlane) -> None:
    body = CHAT | {"seed": 5}
    plane.provider("claude").answer = lambda _: Answer(status=500)
    plane.provider("main").answer = lambda _: Answer(body=json.dumps(COMPLETION).encode())
    plane.quota.decide = lambda _: through(plane, "claude", "main")
    answer = plane.client.post(CHAT_PATH, json=body)
    assert answer.json() == COMPLETION
    assert "x-spendgate-ignored" not in answer.headers
    (received,) = plane.provider("main").received
    assert json.loads(received.body) == body | {"model": "main-model"}
    assert received.path == CHAT_PATH
    assert not {"x-api-key", "anthropic-version"} & {name.lower() for name in received.headers}
    plane.provider("main").answer = lambda _: Answer(status=500)
    plane.provider("claude").answer = lambda _: Answer(body=json.dumps(MESSAGE).encode())
    plane.quota.decide = lambda _: through(plane, "main", "claude")
    answer = plane.client.post(CHAT_PATH, json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "hi"
    assert answer.headers["x-spendgate-attempts"] == "2"


def test_what_the_translator_cannot_carry_is_a_400_that_names_it(plane: DataPlane) -> None:
    answer = plane.client.post(CHAT_PATH, json=CHAT | {"logprobs": True})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "logprobs"
    assert answer.headers["x-should-retry"] == "false"
    assert plane.provider("claude").received == []
