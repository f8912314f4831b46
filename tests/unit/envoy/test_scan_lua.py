from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.worlds.lua_scripts import load_module, new_runtime, plain, wire
from tests.worlds.scanned import PATHS

LUA = new_runtime()
SCAN = load_module("scan", LUA)
CONTENT_TYPE = load_module("content_type")
GEMINI = "/v1beta/models/gemini-x:generateContent"
DATA = base64.b64encode(b"x" * 300).decode()


def inspect(body: dict[str, Any] | str, dialect: str = "openai", path: str = "") -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    request, _, prints = SCAN.body(wire(text), dialect, path or PATHS[dialect])
    found: dict[str, Any] = {**plain(request), **plain(prints)}
    return found


def refused(body: dict[str, Any] | str, dialect: str = "openai", path: str = "") -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    passed, problem = LUA.globals().pcall(SCAN.body, wire(text), dialect, path or PATHS[dialect])
    assert not passed
    # Anything but a table is a mistake in the script.
    return f"{problem.parameter}: {problem.message}"


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}]} | more


def parts(*content: dict[str, Any], role: str = "user", key: str = "messages") -> dict[str, Any]:
    return {"model": "m", key: [{"role": role, "content": list(content)}]}


def test_a_plain_request_says_little() -> None:
    body = chat()
    said = inspect(body)
    assert said.pop("body_print")
    assert said == {
        "dialect": "openai", "model": "m", "stream": False, "include_usage": False, "body_bytes": len(json.dumps(body))
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "dialect", "bound"),
    [
        (chat(max_tokens=5), "openai", 5),
        (chat(max_completion_tokens=6), "openai", 6),
        (chat(max_tokens=9, max_completion_tokens=6), "openai", 9),
        (chat(max_tokens=None, max_completion_tokens=6), "openai", 6),
        (chat(max_tokens=7), "anthropic", 7),
        ({"generationConfig": {"maxOutputTokens": 8}}, "gemini", 8),
        ({"generation_config": {"max_output_tokens": 8}}, "gemini", 8),
    ],
)
def test_the_bound_on_output_is_read_in_every_spelling(body: dict[str, Any], dialect: str, bound: int) -> None:
    assert inspect(body, dialect)["max_output_tokens"] == bound


@pytest.mark.parametrize(
    ("body", "dialect", "budget"),
    [
        (chat(thinking={"type": "enabled", "budget_tokens": 2048}), "anthropic", 2048),
        (chat(thinking={"type": "adaptive"}), "anthropic", None),
        (chat(thinking=None), "anthropic", None),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 512}}}, "gemini", 512),
        ({"generation_config": {"thinking_config": {"thinking_budget": 512}}}, "gemini", 512),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}}, "gemini", None),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, "gemini", None),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}, "gemini", None),
    ],
)
def test_a_budget_for_thinking_is_read_where_it_is_one(body: dict[str, Any], dialect: str, budget: int | None) -> None:
    assert inspect(body, dialect).get("thinking_tokens") == budget


@pytest.mark.parametrize(
    ("body", "dialect", "parameter"),
    [
        (chat(thinking="on"), "anthropic", "thinking"),
        (chat(thinking={"budget_tokens": "many"}), "anthropic", "budget_tokens"),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": -2}}}, "gemini", "thinkingBudget"),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinking_budget": 9}}}, "gemini",
         "thinking_budget"),
    ],
)  # fmt: skip
def test_a_budget_for_thinking_must_be_clear(body: dict[str, Any], dialect: str, parameter: str) -> None:
    assert refused(body, dialect).startswith(f"{parameter}: ")


SCHEMA = {"type": "object", "properties": {"tools": {"type": "array", "items": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("body", "dialect", "runs"),
    [
        (chat(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "anthropic", True),
        (chat(tools=[{"type": "web_fetch_20250910"}]), "anthropic", True),
        (chat(tools=[{"type": "code_execution_20250825"}]), "anthropic", True),
        ('{"model":"m","messages":[],"tools":[{"type":"web\\u005fsearch_20250305"}]}', "anthropic", True),
        (chat(mcp_servers=[{"type": "url", "url": "https://x"}]), "anthropic", True),
        (chat(mcp_servers=[]), "anthropic", False),
        (chat(tools=[{"name": "f", "input_schema": SCHEMA}, {"type": "custom"}]), "anthropic", False),
        (chat(tools=[{"type": "bash_20250124"}, {"type": "memory_20250818"}]), "anthropic", False),
        (chat(tools=[{"type": "text_editor_20250728"}, {"type": "computer_20250124"}]), "anthropic", False),
        (chat(web_search_options={}), "openai", True),
        (chat(web_search_options=None), "openai", False),
        (chat(tools=[{"type": "web_search"}]), "openai", True),
        (chat(tools=[{"type": "function", "function": {"parameters": SCHEMA}}]), "openai", False),
        ({"tools": [{"googleSearch": {}}]}, "gemini", True),
        ({"tools": [{"google_search": {}}]}, "gemini", True),
        ({"tools": [{"url_context": {}}]}, "gemini", True),
        ({"tools": [{"codeExecution": {}}]}, "gemini", True),
        ({"tools": [{"functionDeclarations": [{"parameters": {"googleSearch": {}}}]}]}, "gemini", False),
    ],
)  # fmt: skip
def test_tools_that_the_provider_runs_are_told_from_those_of_the_client(
    body: dict[str, Any] | str, dialect: str, runs: bool
) -> None:
    assert ("server_tools" in inspect(body, dialect).get("features", "").split(",")) is runs


def test_audio_of_an_earlier_answer_is_stored_input() -> None:
    assert "stored_input" in inspect(chat(messages=[{"role": "assistant", "audio": {"id": "audio_1"}}]))["features"]


def test_streams_and_their_usage_chunk() -> None:
    assert inspect(chat(stream=True))["stream"] is True
    assert inspect(chat(stream=True, stream_options={"include_usage": True}))["include_usage"] is True
    assert inspect(chat(stream=True, stream_options=None))["include_usage"] is False
    assert inspect({}, "gemini", GEMINI.replace("generate", "streamGenerate"))["stream"] is True


def test_choices_count_from_two() -> None:
    assert "choices" not in inspect(chat(n=1))
    assert inspect(chat(n=3))["choices"] == 3
    assert inspect({"generationConfig": {"candidateCount": 2}}, "gemini", GEMINI)["choices"] == 2


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (GEMINI, "gemini-x"),
        ("/v1/models/gemini-x:streamGenerateContent", "gemini-x"),
        ("/v1beta/models/lab/llama3:8b:generateContent", "lab/llama3:8b"),
        ("/v1beta/models/lab%2Ft%c3%a9:generateContent", "lab/té"),
    ],
)
def test_geminis_model_is_in_the_path(path: str, model: str) -> None:
    assert inspect({"contents": []}, "gemini", path)["model"] == model


def test_a_model_with_escapes_is_read_as_written() -> None:
    assert inspect('{"model":"meta\\/llama\\u002d3","messages":[]}')["model"] == "meta/llama-3"


@pytest.mark.parametrize(
    ("member", "parameter"),
    [
        ({"model": None}, "model"), ({"model": ""}, "model"), ({"model": 5}, "model"), ({"model": ["m"]}, "model"),
        ({"model": "m" * 257}, "model"), ({"model": "a\nb"}, "model"), ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"), ({"max_tokens": "5"}, "max_tokens"), ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -2}, "max_tokens"), ({"max_tokens": 1.5}, "max_tokens"), ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 10**16}, "max_tokens"), ({"max_completion_tokens": []}, "max_completion_tokens"),
        ({"n": 0}, "n"), ({"n": "2"}, "n"), ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "include_usage"),
    ],
)  # fmt: skip
def test_a_wrong_type_is_refused_by_name(member: dict[str, Any], parameter: str) -> None:
    assert refused(chat(**member)).startswith(f"{parameter}: ")


@pytest.mark.parametrize(
    "body",
    [
        {"generationConfig": {"maxOutputTokens": "5"}},
        {"generationConfig": []},
        {"generationConfig": {}, "generation_config": {}},
        {"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 9}},
        '{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}',
    ],
)
def test_geminis_configuration_must_be_clear(body: Any) -> None:
    assert refused(body, "gemini", GEMINI)


@pytest.mark.parametrize("path", ["/v1beta/models/%ff:generateContent", "/v1beta/models/%c3:generateContent"])
def test_a_model_in_the_path_must_be_utf8(path: str) -> None:
    assert refused({"contents": []}, "gemini", path).startswith("model: ")


@pytest.mark.parametrize(
    "broken", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe4\xb8", b"+AGE-\x80"]
)
@pytest.mark.parametrize("place", [b'{"model":"m%s","messages":[]}', b'{"model":"m","x":{"%s":1}}', b"%s{}"])
def test_a_body_must_be_utf8(place: bytes, broken: bytes) -> None:
    text = place.replace(b"%s", broken).decode("latin-1")
    passed, problem = LUA.globals().pcall(SCAN.body, text, "openai", "/v1/chat/completions")
    assert not passed
    assert "UTF-8" in problem.message


@pytest.mark.parametrize(
    "value",
    [
        "application/json", "Application/JSON", " application/json ", "application/json;",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8", 'application/json; charset="utf-8"', "application/json; charset=utf8;",
    ],
)  # fmt: skip
def test_a_content_type_may_say_json_in_utf8(value: str) -> None:
    assert CONTENT_TYPE.problem(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "", "text/json", "application/jsonp", "application/json-patch+json", "application/json5", "application/jsonl",
        "application/json; charset=utf-7", "application/json; charset=utf-16", "application/json; charset=latin-1",
        "application/json; charset=utf-8; charset=utf-7", "application/json; charset=utf-7; charset=utf-8",
        "application/json,text/plain", "application/json, application/json", "application/json; charset",
        "text/plain;",
        'application/json; charset="utf-8', "application/json; charset=utf-8, text/plain", "application/json; x=y",
        "application/json;; charset=utf-8", "application/json; charset=utf-80",
        "multipart/form-data; x=application/json",
    ],
)  # fmt: skip
def test_any_other_content_type_is_refused(value: str) -> None:
    assert "application/json" in CONTENT_TYPE.problem(value)


def test_a_missing_model_is_refused() -> None:
    assert refused({"messages": []}).startswith("model: ")
    assert refused({"contents": []}, "gemini", "/v1beta/models/:generateContent").startswith("model: ")


IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}
CLAUDE_IMAGE: dict[str, Any] = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
CLAUDE_TEXT = {"type": "document", "source": {"data": DATA, "type": "text", "media_type": "text/plain"}}
GEMINI_IMAGE = {"parts": [{"inlineData": {"mimeType": "image/png", "data": DATA}}, {"text": "what is it?"}]}


@pytest.mark.parametrize(
    ("body", "dialect", "features", "images", "data_bytes"),
    [
        (chat(tools=[{"type": "function"}]), "openai", "tools", None, None),
        (chat(tools=[], functions=None), "openai", None, None, None),
        (chat(response_format={"type": "json_object"}), "openai", "response_format", None, None),
        (chat(reasoning_effort="low"), "openai", "thinking", None, None),
        (parts(IMAGE, IMAGE), "openai", "images", 2, 2 * len(DATA)),
        (parts({"type": "image_url", "image_url": {"url": "https://x/y.png"}}), "openai", "images", 1, None),
        (parts({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}), "openai", "audio", None, None),
        (parts({"type": "file", "file": {"file_data": DATA}}), "openai", "documents,files", None, None),
        (parts({"type": "file", "file": {"file_id": "f"}}), "openai", "documents,files,stored_input", None, None),
        (parts({"type": "video_url", "video_url": {"url": "x"}}), "openai", "files,video", None, None),
        (parts({"type": "audio_url", "audio_url": {"url": "x"}}), "openai", "audio,files", None, None),
        (chat(response_format={"type": "text"}), "openai", None, None, None),
        (parts({"type": "text", "text": f"data:image/png;base64,{DATA}"}), "openai", None, None, None),
        (chat(metadata={"type": "image_url", "image_url": {"url": "data:x"}}), "openai", None, None, None),
        (parts(CLAUDE_IMAGE), "anthropic", "images", 1, 400),
        (parts(CLAUDE_TEXT), "anthropic", None, None, None),
        (parts({"type": "image", "source": {"type": "file", "file_id": "f"}}), "anthropic", "images,stored_input", 1,
         None),
        (chat(thinking={"type": "enabled"}, tools=[{}]), "anthropic", "thinking,tools", None, None),
        (chat(thinking={"type": "disabled"}), "anthropic", None, None, None),
        (parts({"type": "document", "source": {"type": "base64", "data": DATA, "media_type": "application/pdf"}}),
         "anthropic", "documents,files", None, None),
        (parts({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}), "anthropic", "cache_control",
         None, None),
        (parts({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}), "anthropic",
         "cache_1h,cache_control", None, None),
        ({"contents": [GEMINI_IMAGE]}, "gemini", "images", 1, 400),
        ({"contents": [{"parts": [{"inlineData": {"data": DATA, "mimeType": "text/csv"}}]}]}, "gemini",
         "documents,files", None, None),
        ({"contents": [{"parts": [{"inlineData": {"data": DATA, "mimeType": "video/mp4"}}]}]}, "gemini",
         "files,video", None, None),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "x"}}]}]}, "gemini", "files,stored_input", None, None),
        ({"generationConfig": {"responseSchema": {}, "thinkingConfig": {}}}, "gemini", "response_format,thinking", None,
         None),
        ({"cachedContent": "c"}, "gemini", "stored_input", None, None),
    ],
)  # fmt: skip
def test_features_images_and_data_are_found_where_they_count(
    body: dict[str, Any], dialect: str, features: str | None, images: int | None, data_bytes: int | None
) -> None:
    found = inspect(body, dialect)
    assert found.get("features") == features
    assert found.get("images") == images
    assert found.get("data_uri_bytes") == data_bytes


def test_a_part_counts_however_its_words_are_spelt() -> None:
    text = (
        json.dumps(parts(IMAGE)).replace('"image_url",', '"image\\u005furl",').replace("data:image/", "data:image\\/")
    )
    found = inspect(text)
    assert (found["features"], found["images"], found["data_uri_bytes"]) == ("images", 1, len(DATA))
    assert "unknown_members" not in found


@pytest.mark.parametrize("media_type", [None, {"url": "https://x/y"}, "", "text/plain", "image/svg+xml", "IMAGE/PNG"])
def test_an_image_of_no_known_type_is_bounded_by_the_window_alone(media_type: Any) -> None:
    found = inspect(
        parts({**CLAUDE_IMAGE, "source": {**CLAUDE_IMAGE["source"], "media_type": media_type}}), "anthropic"
    )
    assert (found["features"], found.get("data_uri_bytes")) == ("files,images", None)


def conversation(system: str, question: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}]}


def test_equal_beginnings_have_equal_fingerprints() -> None:
    one = inspect(conversation("s" * 5000, "one"))
    other = inspect(conversation("s" * 5000, "another question"))
    assert one["prefix_1k"] == other["prefix_1k"]
    assert one["prefix_4k"] == other["prefix_4k"]
    assert "prefix_16k" not in one
    assert len(one["prefix_1k"]) == 16
    assert int(one["prefix_1k"], 16) > 0


@pytest.mark.parametrize("at", [0, 7, 8, 500, 950])
def test_a_difference_anywhere_in_the_beginning_shows(at: int) -> None:
    text = "s" * 5000
    changed = text[:at] + "t" + text[at + 1 :]
    assert inspect(conversation(text, "x"))["prefix_1k"] != inspect(conversation(changed, "x"))["prefix_1k"]


def test_where_the_conversation_stands_in_the_body_does_not_matter() -> None:
    body = conversation("s" * 2000, "x")
    moved = {"temperature": 1, "messages": body["messages"], "model": "m"}
    assert inspect(body)["prefix_1k"] == inspect(moved)["prefix_1k"]


def test_anthropics_system_prompt_is_the_beginning_of_the_conversation() -> None:
    one = inspect({"model": "m", "messages": [{"content": "a"}], "system": "s" * 2000}, "anthropic")
    other = inspect({"system": "s" * 2000, "model": "m", "messages": [{"content": "b"}]}, "anthropic")
    assert one["prefix_1k"] == other["prefix_1k"]


def test_a_short_conversation_has_no_fingerprint() -> None:
    assert not [key for key in inspect(chat()) if key.startswith("prefix")]


@pytest.mark.parametrize("length", [10, 4_000, 61_440, 65_535, 70_000])
@pytest.mark.parametrize("at", [0, -1])
def test_a_body_has_the_print_of_its_equals_and_of_no_other(length: int, at: int) -> None:
    text = "s" * length
    place = at % length
    changed = text[:place] + "t" + text[place + 1 :]
    printed = inspect(conversation("", text))["body_print"]

    assert len(printed) == 16
    assert inspect(conversation("", text))["body_print"] == printed
    assert inspect(conversation("", changed))["body_print"] != printed
    assert inspect(conversation("", f"{text} "))["body_print"] != printed
