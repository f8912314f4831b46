"""Requests for vectors: what they may hold, what bounds them, what is written into them, and what answers say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds.lua_meter import meter
from tests.worlds.lua_scripts import load_module, new_runtime, plain, table, wire

LUA = new_runtime()
SCAN = load_module("scan", LUA)
REWRITE = load_module("rewrite", LUA)
OPENAI, ONE, MANY = "/v1/embeddings", "/v1beta/models/vec:embedContent", "/v1/models/vec:batchEmbedContents"
OPERATIONS = {OPENAI: "embeddings", ONE: "embeddings", MANY: "batch_embeddings"}
TEXT = {"parts": [{"text": "hello"}]}


def scan(body: Any, path: str) -> tuple[dict[str, Any], Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    request, spans, _ = SCAN.body(wire(text), "openai" if path == OPENAI else "gemini", path)
    found: dict[str, Any] = plain(request)
    return found, spans


def refused(body: Any, path: str) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    passed, problem = LUA.globals().pcall(SCAN.body, wire(text), "openai", path)
    assert not passed
    return str(plain(problem.message))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (OPENAI, {"model": "vec", "input": "hello", "dimensions": 256, "encoding_format": "base64", "user": "u"}),
        (OPENAI, {"model": "vec", "input": ["hello", "world"]}),
        (OPENAI, {"model": "vec", "input": [1, 2, 3]}),
        (OPENAI, {"model": "vec", "input": [[1, 2], [3]]}),
        (ONE, {"content": TEXT, "taskType": "RETRIEVAL_QUERY", "output_dimensionality": 8}),
        (MANY, {"requests": [{"model": "models/vec", "content": TEXT}] * 2}),
    ],
)
def test_a_body_is_bounded_by_its_bytes_and_writes_nothing(path: str, body: dict[str, Any]) -> None:
    found, _ = scan(body, path)

    assert found == {
        "dialect": "openai" if path == OPENAI else "gemini",
        "operation": OPERATIONS[path],
        "model": "vec",
        "body_bytes": len(json.dumps(body)),
        "max_output_tokens": 0,
        **({} if path == OPENAI else {"stream": False}),
    }


@settings(deadline=None)
@given(st.one_of(st.lists(st.integers(0, 300_000), max_size=50), st.lists(st.lists(st.integers(0, 9)), max_size=20)))
def test_no_list_of_tokens_is_larger_than_its_bytes(tokens: list[Any]) -> None:
    """However short they are written, and with a token before and after each text, which many models add."""
    body = json.dumps({"model": "v", "input": tokens}, separators=(",", ":"))
    texts = tokens if all(isinstance(each, list) for each in tokens) else [tokens]
    found, _ = scan(body, OPENAI)

    assert sum(len(text) + 2 for text in texts) <= found["body_bytes"]
    assert found["max_output_tokens"] == 0


@pytest.mark.parametrize(
    ("path", "body", "unknown"),
    [
        (OPENAI, {"model": "vec", "input": [{"image": "https://example.org/a.png"}]}, "input.image"),
        (OPENAI, {"model": "vec", "input": "x", "stream": True}, "stream"),
        (OPENAI, {"model": "vec", "input": "x", "messages": []}, "messages"),
        (ONE, {"content": TEXT, "tools": []}, "tools"),
        (
            MANY,
            {"requests": [{"model": "models/vec", "content": TEXT, "cachedContent": "x"}]},
            "requests.cachedContent",
        ),
    ],
)
def test_what_reaches_beyond_the_body_is_named(path: str, body: dict[str, Any], unknown: str) -> None:
    found, _ = scan(body, path)

    assert found["unknown_members"] == unknown


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (OPENAI, {"input": "x"}, "You must name a model."),
        (OPENAI, {"model": "vec"}, "'input' must be a text, tokens, or a list of either."),
        (OPENAI, {"model": "vec", "input": {"text": "x"}}, "'input' must be a text, tokens, or a list of either."),
        (OPENAI, {"model": "vec", "input": 7}, "'input' must be a text, tokens, or a list of either."),
        (OPENAI, '{"model":"vec","input":"x","input":"y"}', "'input' in the body appears twice."),
        (OPENAI, {"model": "vec", "Input": "x"}, "'Input' in the body must be written 'input'."),
        (OPENAI, '--x\r\nContent-Disposition: form-data; name="model"', "it is not a JSON object."),
        (ONE, {"content": TEXT, "model": "models/dearer"}, "The body names another model than the path."),
        (ONE, {"content": TEXT, "model": 7}, "The body names another model than the path."),
        (MANY, {"requests": [{"model": "models/dearer", "content": TEXT}]}, "The body names another model"),
        (MANY, {"requests": [{"model": "models/vec"}, {"model": "models/dearer"}]}, "name different models"),
        (MANY, {"requests": [{"model": "models/vec"}, {"model": ""}]}, "name different models"),
        (MANY, {"requests": {"model": "models/vec"}}, "'requests' must be a list."),
    ],
)
def test_a_body_that_could_be_read_in_two_ways_is_refused(path: str, body: Any, told: str) -> None:
    assert told in refused(body, path)


def test_each_request_of_a_batch_gets_the_name_of_the_target() -> None:
    body = {"requests": [{"model": "models/vec", "content": TEXT}, {"content": TEXT, "model": "models/vec"}]}
    text = json.dumps(body)
    _, spans = scan(text, MANY)
    rewritten = json.loads(plain(REWRITE.body(text, table(LUA, {"model": "gemini-embedding-001"}), spans, False)))

    assert [each["model"] for each in rewritten["requests"]] == ["models/gemini-embedding-001"] * 2
    assert [each["content"] for each in rewritten["requests"]] == [TEXT, TEXT]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("name", "answer", "told"),
    [
        (
            "openai_embeddings",
            {"data": [{"embedding": [0.1] * 64}] * 8, "model": "v", "usage": {"prompt_tokens": 9, "total_tokens": 9}},
            {"meter": "whole", "input_tokens": 9, "output_tokens": 0, "total_tokens": 9, "model": "v"},
        ),
        (
            "openai_embeddings",
            {"data": [{"embedding": 'x"usage":{"prompt_tokens":1}'}], "model": "v", "usage": {"total_tokens": 7}},
            {"meter": "whole", "input_tokens": 7, "output_tokens": 0, "total_tokens": 7, "model": "v"},
        ),
        ("openai_embeddings", {"data": [], "model": "v"}, {"meter": "none", "model": "v"}),
        ("openai_embeddings", {"error": {"type": "overloaded"}}, {"meter": "none", "error": "overloaded"}),
        (
            "gemini_embeddings",
            {"embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 3}},
            {"meter": "whole", "input_tokens": 3, "output_tokens": 0},
        ),
        (
            "gemini_embeddings",
            {
                "embeddings": [{"values": [0.5]}],
                "usageMetadata": {
                    "promptTokenCount": 300,
                    "promptTokenDetails": [
                        {"modality": "TEXT", "tokenCount": 42},
                        {"modality": "IMAGE", "tokenCount": 258},
                    ],
                },
            },
            {
                "meter": "whole",
                "input_tokens": 300,
                "output_tokens": 0,
                "input_text_tokens": None,
                "input_image_tokens": 258,
            },
        ),
        ("gemini_embeddings", {"embedding": {"values": [0.5]}}, {"meter": "none"}),
    ],
)
def test_the_meter_reads_the_input_and_counts_no_vector_as_output(
    name: str, answer: dict[str, Any], told: dict[str, Any], size: int
) -> None:
    text = json.dumps(answer)
    metered = meter(name, [text[at : at + size] for at in range(0, len(text), size)], stream=False)

    assert metered.passed == text
    assert metered.told == {key: value for key, value in told.items() if value is not None}
