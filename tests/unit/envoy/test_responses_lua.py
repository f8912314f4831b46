"""Requests to the Responses API: what bounds them, what has no price, and what the meter reads in the answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.worlds.lua_meter import meter
from tests.worlds.lua_scripts import load_module, new_runtime, plain, table, wire

LUA = new_runtime()
SCAN = load_module("scan", LUA)
REWRITE = load_module("rewrite", LUA)
PATH = "/v1/responses"
DATA = base64.b64encode(b"x" * 300).decode()
PICTURE = {"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"}
FUNCTION = {"type": "function", "name": "f", "parameters": {}}


def said(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def inspect(**body: Any) -> dict[str, Any]:
    request, _, _ = SCAN.body(wire(json.dumps({"model": "m", "input": "hello"} | body)), "openai", PATH)
    found: dict[str, Any] = plain(request)
    return found


def refused(body: str) -> str:
    passed, problem = LUA.globals().pcall(SCAN.body, wire(body), "openai", PATH)
    assert not passed
    return str(plain(problem.message))


def test_a_plain_call_is_bounded_by_its_bytes() -> None:
    body = {"model": "m", "input": "hello", "instructions": "be brief", "max_output_tokens": 50, "store": False}
    found = inspect(**body)

    assert found == {
        "dialect": "openai",
        "operation": "responses",
        "model": "m",
        "stream": False,
        "body_bytes": len(json.dumps(body)),
        "max_output_tokens": 50,
    }


@pytest.mark.parametrize(
    ("given", "features"),
    [
        ([{"role": "user", "content": "hi"}, {"type": "message", "role": "assistant", "content": []}], None),
        (said({"type": "input_text", "text": "hi"}), None),
        ([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}], None),
        ([{"type": "function_call_output", "call_id": "c", "output": "done"}], None),
        ([{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]}], None),
        ([{"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "text"}], "custom_tools"),
        ([{"type": "local_shell_call_output", "id": "x", "output": "text"}], "custom_tools"),
        ([{"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "x"}]}], None),
        ([{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "gAAA"}], None),
        (said(PICTURE), "images"),
        ([{"type": "function_call_output", "call_id": "c", "output": [PICTURE]}], "images"),
        (said({"type": "input_image", "image_url": "https://example.org/x.png"}), "images"),
        (said({"type": "input_image", "file_id": "file-1"}), "images,stored_input"),
        (said({"type": "input_file", "file_data": "x", "filename": "a.pdf"}), "documents,files"),
        (said({"type": "input_file", "file_id": "file-1"}), "documents,files,stored_input"),
        (said({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}), "audio"),
        ([{"type": "item_reference", "id": "x"}], "stored_input"),
        ([{"type": "web_search_call", "id": "x"}], "stored_input"),
    ],
)
def test_each_kind_of_input_is_known(given: list[dict[str, Any]], features: str | None) -> None:
    found = inspect(input=given)

    assert (found.get("features"), found.get("unknown_members")) == (features, None)


def test_a_picture_counts_as_one_and_none_of_its_bytes() -> None:
    found = inspect(input=said(PICTURE, PICTURE))

    assert (found["images"], found["data_uri_bytes"]) == (2, 800)


@pytest.mark.parametrize(
    ("body", "option"),
    [
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"service_tier": "priority"}, "service_tier=priority"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention=24h"),
        *(
            ({"tools": [{"type": kind}]}, f"tools={kind}")
            for kind in (
                "web_search",
                "file_search",
                "code_interpreter",
                "image_generation",
                "mcp",
                "computer",
                "shell",
            )
        ),
        ({"tools": [FUNCTION, {"name": "f"}]}, "tools="),
        ({"tools": [{"type": "namespace", "tools": [FUNCTION, {"type": "web_search"}]}]}, "tools=web_search"),
        ({"tools": [{"type": 7}]}, "tools="),
    ],
)
def test_what_has_no_price_is_named(body: dict[str, Any], option: str) -> None:
    assert inspect(**body)["price_options"] == option


@pytest.mark.parametrize(
    ("body", "features"),
    [
        ({"background": True}, "background"),
        ({"background": False, "context_management": []}, None),
        ({"context_management": [{"type": "compaction"}]}, "compaction"),
        ({"tools": [FUNCTION]}, "tools"),
        ({"tools": [FUNCTION, {"type": "custom", "name": "x"}]}, "custom_tools,tools"),
        ({"tools": [{"type": "local_shell"}]}, "custom_tools,tools"),
        ({"tools": [{"type": "web_search"}]}, "server_tools,tools"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [FUNCTION]}]}, "custom_tools,tools"),
    ],
)
def test_what_only_some_faces_have_is_named(body: dict[str, Any], features: str | None) -> None:
    assert inspect(**body).get("features") == features


def test_tools_in_a_namespace_are_looked_at_like_any_other() -> None:
    group = {"type": "namespace", "name": "agents", "description": "d", "tools": [FUNCTION]}
    found = inspect(tools=[group])
    assert "price_options" not in found
    assert "unknown_members" not in found
    assert "tools.tools" in inspect(tools=[{**group, "tools": [group]}])["unknown_members"]


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt"])
def test_what_the_provider_keeps_is_bounded_by_the_window_alone(name: str) -> None:
    assert inspect(**{name: "resp_1"})["features"] == "stored_input"
    assert "features" not in inspect(**{name: None})


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ({"brand_new": 1}, "brand_new"),
        ({"input": [{"type": "brand_new"}]}, "input.type=brand_new"),
        ({"input": [{"id": "msg_1"}]}, "input.type="),
        ({"input": said({"type": "brand_new"})}, "input.content.type=brand_new"),
        ({"input": said({"type": "input_text", "text": "x", "image_url": "x"})}, "input.content.type=input_text"),
        ({"input": said({"text": "x"})}, "input.content.type="),
        ({"input": [{"type": "shell_call_output", "output": [{"stdout": "x"}]}]}, "input.output.stdout"),
        ({"reasoning": {"budget": 1}}, "reasoning.budget"),
        ({"stream_options": {"include_usage": True}}, "stream_options.include_usage"),
    ],
)
def test_what_nobody_knows_is_named(body: dict[str, Any], unknown: str) -> None:
    assert unknown in inspect(**body)["unknown_members"].split(",")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"input":"x"}', "You must name a model."),
        ('{"model":"m","max_tokens":5}', "'max_tokens' in the body must be written 'max_output_tokens'."),
        ('{"model":"m","maxOutputTokens":5}', "'maxOutputTokens' in the body must be written 'max_output_tokens'."),
        ('{"model":"m","max_output_tokens":-1}', "'max_output_tokens' must be a positive integer."),
        ('{"model":"m","max_output_tokens":1,"max_output_tokens":9}', "'max_output_tokens' in the body appears twice."),
        ('{"model":"m","stream":"yes"}', "'stream' must be true or false."),
        ('{"model":"m","input":{"role":"user"}}', "'input' must be a text or a list of items."),
        ('{"model":"m","tools":{"type":"function"}}', "'tools' must be a list."),
    ],
)
def test_a_body_that_could_be_read_in_two_ways_is_refused(body: str, told: str) -> None:
    assert told in refused(body)


def test_choices_count_where_a_server_reads_them() -> None:
    assert inspect(n=3, best_of=5)["choices"] == 5


@pytest.mark.parametrize("given", [{}, {"max_output_tokens": 900}, {"max_output_tokens": None}])
def test_the_bound_is_written_under_its_own_name(given: dict[str, Any]) -> None:
    text = json.dumps({"model": "m", "input": "x", **given})
    _, spans, _ = SCAN.body(wire(text), "openai", PATH)
    target = {"model": "gpt", "output_cap": 40, "output_cap_field": "max_output_tokens"}
    rewritten = json.loads(plain(REWRITE.body(text, table(LUA, target), table(LUA, dict(spans.items())), False)))

    assert rewritten == {"model": "gpt", "input": "x", "max_output_tokens": 40}


USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 50,
}
FIGURES = {"input_tokens": 30, "output_tokens": 20, "total_tokens": 50, "cached_tokens": 10, "reasoning_tokens": 8}


def event(kind: str, **more: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n"


def stream(*last: str) -> str:
    head = {"status": "in_progress", "model": "gpt", "usage": None, "error": None}
    deltas = [event("response.output_text.delta", delta=f'"usage" {number}') for number in range(9)]
    return "".join([event("response.created", response=head), *deltas, *last])


@pytest.mark.parametrize("size", [1, 13, 100_000])
def test_the_meter_reads_a_document(size: int) -> None:
    text = json.dumps({"model": "gpt", "error": None, "status": "completed", "output": [{"usage": 1}], "usage": USAGE})
    told = meter("responses", [text[at : at + size] for at in range(0, len(text), size)], stream=False).told

    assert told == {"meter": "whole", "model": "gpt", **FIGURES}


@pytest.mark.parametrize("size", [1, 13, 100_000])
@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete"])
def test_the_meter_reads_the_last_event_of_a_stream(kind: str, size: int) -> None:
    text = stream(event(kind, response={"model": "gpt", "usage": USAGE, "output": [{"content": '"usage":{'}]}))
    metered = meter("responses", [text[at : at + size] for at in range(0, len(text), size)], stream=True)

    assert metered.passed == text
    told = {name: value for name, value in metered.told.items() if name != "seen"}
    assert told == {"meter": "whole", "model": "gpt", **FIGURES}


@pytest.mark.parametrize(
    ("last", "state"),
    [
        ("", "none"),
        (event("error", code="server_error", message="x"), "none"),
        (event("response.failed", response={"error": {"code": "server_error"}, "usage": USAGE}), "open"),
        (event("response.completed", response={"usage": USAGE})[:-30], "none"),
    ],
)
def test_a_stream_without_its_end_is_no_whole_answer(last: str, state: str) -> None:
    told = meter("responses", [stream(last)], stream=True).told

    assert told["meter"] == state
    assert told["seen"]["content"] == 9
