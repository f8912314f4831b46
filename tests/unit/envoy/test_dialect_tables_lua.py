"""The scan lists what it knows: everything outside its tables counts as the most that it can cost."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from tests.worlds.lua_scripts import load_module, wire
from tests.worlds.scanned import LUA, PATHS, SCAN, chat, inspect, refused

DATA = base64.b64encode(b"x" * 300).decode()
URI = f"data:image/png;base64,{DATA}"


def asks(*content: Any, **message: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(content), **message}]}


def gemini(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}], **more}


def tree(node: Any, seen: list[Any]) -> None:
    seen.append(node)
    for member in {member["name"]: member for member in plain_items(node.members)}.values():
        if member.node is not None:
            tree(member.node, seen)


def plain_items(lua_table: Any) -> list[Any]:
    return [item for _, item in lua_table.items()]


@pytest.mark.parametrize("dialect", PATHS)
def test_no_node_is_inside_itself_or_in_two_places_and_no_two_names_fold_alike(dialect: str) -> None:
    nodes: list[Any] = []
    tree(load_module(f"dialect/{dialect}").body, nodes)
    paths = [node.path for node in nodes]
    assert len(set(paths)) == len(paths) > 5
    for node in nodes:
        names = {member["name"] for member in plain_items(node.members)}
        folded = {name.lower().replace("_", "").replace("-", "") for name in names}
        assert len(folded) == len(names), node.path


IMAGE = {"type": "image_url", "image_url": {"url": URI}}
SOURCE = {"type": "base64", "media_type": "image/png", "data": DATA}
CLAUDE_IMAGE = {"type": "image", "source": SOURCE}
CLAUDE_RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [CLAUDE_IMAGE]}
BLOB = {"inlineData": {"mimeType": "image/png", "data": DATA}}


@pytest.mark.parametrize(
    ("body", "dialect", "images"),
    [
        (asks(IMAGE), "openai", 1),
        (asks({"image_url": {"url": URI}}), "openai", 1),
        (asks({"image_url": {"url": URI}, "type": "image_url"}, IMAGE, {"type": "text", "text": "?"}), "openai", 2),
        (asks(IMAGE, role="tool", tool_call_id="c"), "openai", 1),
        (json.dumps(asks(IMAGE)).replace("/", "\\/"), "openai", 1),
        (asks(CLAUDE_IMAGE), "anthropic", 1),
        (asks(dict(reversed(CLAUDE_IMAGE.items()))), "anthropic", 1),
        (asks(CLAUDE_RESULT), "anthropic", 1),
        (chat(system=[CLAUDE_IMAGE]), "anthropic", 1),
        (gemini(BLOB, BLOB), "gemini", 2),
        (gemini({"inline_data": {"data": DATA, "mime_type": "image/webp"}}), "gemini", 1),
        ({"contents": {"parts": BLOB}}, "gemini", 1),
        (gemini({"functionResponse": {"name": "f", "response": {}, "parts": [BLOB]}}), "gemini", 1),
    ],
)  # fmt: skip
def test_an_image_is_left_out_of_the_text_where_the_provider_decodes_it(body: Any, dialect: str, images: int) -> None:
    found = inspect(body, dialect)
    assert found["images"] == images
    # However its slashes are written.
    assert images * len(DATA) <= found["data_uri_bytes"] <= images * (len(DATA) + DATA.count("/"))
    assert "unknown_members" not in found


HIDDEN = {"type": "image_url", "image_url": {"url": URI}, "data": DATA, "source": SOURCE}
BAD_URIS = ["data:image/png;base64,some text", "data:text/plain;base64,QUJD", "data:image/svg+xml;base64,QUJD",
            "data:image/png;base64;x,QUJD", "data:image/png,QUJD", f"data:application/pdf;base64,{DATA}",
            "data:image/png;base64,QU=JD", "data:image/png;base64,QUJD\n"]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        (chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {"properties": HIDDEN}}}]), "openai"),
        (asks({"type": "text", "text": URI}), "openai"),
        (chat(metadata=HIDDEN), "openai"),
        (asks(tool_calls=[{"id": "c", "type": "function", "function": HIDDEN}]), "openai"),
        (asks({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}), "openai"),
        (asks({"type": "file", "file": {"file_data": URI}}), "openai"),
        *((asks({"type": "image_url", "image_url": {"url": uri}}), "openai") for uri in BAD_URIS),
        (asks({"type": "image_url", "image_url": URI + "\u00e9"}), "openai"),
        (asks({"type": "tool_use", "id": "t", "name": "f", "input": HIDDEN}), "anthropic"),
        (asks({"type": "tool_result", "tool_use_id": "t", "content": URI}), "anthropic"),
        (chat(tools=[{"name": "f", "input_schema": {"properties": HIDDEN}}]), "anthropic"),
        (asks({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": DATA}}), "anthropic"),
        (asks({**CLAUDE_IMAGE, "source": {**SOURCE, "type": "text"}}), "anthropic"),
        (asks({**CLAUDE_IMAGE, "source": {**SOURCE, "media_type": "text/plain"}}), "anthropic"),
        (asks({**CLAUDE_IMAGE, "source": {**SOURCE, "data": f"text {DATA}"}}), "anthropic"),
        (asks({**CLAUDE_IMAGE, "type": "hologram"}), "anthropic"),
        (gemini({"functionCall": {"name": "f", "args": BLOB}}), "gemini"),
        (gemini({"functionResponse": {"name": "f", "response": BLOB}}), "gemini"),
        (gemini({"inlineData": {"mimeType": "text/csv", "data": DATA}}), "gemini"),
        (gemini({"inlineData": {"mimeType": "image/png", "data": "some text"}}), "gemini"),
        (gemini({"text": URI}, tools=[{"functionDeclarations": [{"parameters": {"inlineData": BLOB}}]}]), "gemini"),
    ],
)  # fmt: skip
def test_base64_is_text_wherever_a_provider_may_read_it_as_text(body: dict[str, Any], dialect: str) -> None:
    assert "data_uri_bytes" not in inspect(body, dialect)


PAGE = {"url": "https://x/y"}


@pytest.mark.parametrize(
    ("body", "dialect", "unknown"),
    [
        (chat(frobnicate=1), "openai", "frobnicate"),
        (chat(previous_response_id="r", mm_processor_kwargs={}), "openai", "mm_processor_kwargs,previous_response_id"),
        (chat(chat_template="{{ x }}", documents=[]), "openai", "chat_template,documents"),
        (chat(chat_template_kwargs={"enable_thinking": True, "text": "x"}), "openai", "chat_template_kwargs.text"),
        (chat(stream_options={"include_usage": True, "more": 1}), "openai", "stream_options.more"),
        (asks(image="x", mood="merry"), "openai", "messages.image,messages.mood"),
        (asks({"type": "hologram", "hologram": PAGE}), "openai",
         "messages.content.hologram,messages.content.type=hologram"),
        (asks({"type": "image", "image": "https://x/y"}), "openai",
         "messages.content.image,messages.content.type=image"),
        (asks({"type": 7}), "openai", "messages.content.type="),
        (asks({"type": "image_url", "text": PAGE}), "openai", "messages.content.type=image_url"),
        (asks({"thinking": [{"image_url": PAGE}]}), "openai", "messages.content.type="),
        (asks({"type": "image_url", "image_url": [PAGE]}), "openai", "messages.content.image_url"),
        (asks({"type": "image_url", "image_url": {**PAGE, "max_pixels": 9}}), "openai",
         "messages.content.image_url.max_pixels"),
        (asks({"type": "hologram"}), "anthropic", "messages.content.type=hologram"),
        (asks({"text": "no type"}), "anthropic", "messages.content.type="),
        (asks({**CLAUDE_RESULT, "content": [{"type": "x\u00e9,y"}]}), "anthropic",
         "messages.content.content.type=x???y"),
        (chat(thinking={"type": "enabled", "budget_tokens": 1, "more": 1}), "anthropic", "thinking.more"),
        (gemini({"hologram": {}}), "gemini", "contents.parts.hologram"),
        (gemini(generationConfig={"frob": 1}), "gemini", "generationConfig.frob"),
        (gemini(tools=[{"newSearch": {}}]), "gemini", "tools.newSearch"),
    ],
)  # fmt: skip
def test_what_no_table_knows_is_named(body: dict[str, Any], dialect: str, unknown: str) -> None:
    assert inspect(body, dialect)["unknown_members"] == unknown


@pytest.mark.parametrize("name", ["document_url", "video_url", "audio_url", "input_video", "file"])
def test_what_a_reference_holds_is_bounded_by_the_window_alone(name: str) -> None:
    for part in ({"type": name, name: PAGE}, {name: "https://x/y"}, {"type": "text", "text": "", name: PAGE}):
        assert "files" in inspect(asks(part))["features"].split(",")


def test_a_document_of_plain_text_is_text_and_any_other_is_bounded_by_the_window_alone() -> None:
    text = {"type": "text", "media_type": "text/plain", "data": "short"}
    others: list[Any] = [
        {**text, "type": "base64"},
        {**text, "media_type": "application/pdf"},
        {**text, "url": "https://x/y"},
        {**text, "file_id": "f"},
        {"type": "content", "content": [{"type": "text", "text": "short"}]},
        None,
    ]

    assert "features" not in inspect(asks({"type": "document", "source": text}), "anthropic")
    for source in others:
        found = inspect(asks({"type": "document", "source": source}), "anthropic")
        assert "files" in found["features"].split(","), source


@pytest.mark.parametrize(
    "option",
    [
        {"enable_search": True},
        {"web_search_options": {}},
        {"search_parameters": {}},
        {"search_parameters": {"mode": "auto"}},
        {"plugins": [{"id": "web"}]},
        {"models": ["m", "other"]},
        {"data_sources": [{"type": "azure_search"}]},
    ],
)
def test_an_option_for_which_the_provider_reads_more_is_bounded_by_the_window(option: dict[str, Any]) -> None:
    assert inspect(chat(**option))["features"] == "server_tools"


@pytest.mark.parametrize("url", ["gs://b/o", "file-id", "HTTPS://x/y", "ftp://x", "", *BAD_URIS[1:6]])
def test_an_image_that_may_be_something_else_is_bounded_by_the_window_alone(url: str) -> None:
    assert inspect(asks({"type": "image_url", "image_url": {"url": url}}))["features"] == "files,images"


@pytest.mark.parametrize("audio", ["https://x/y.wav", {"url": "https://x/y.wav"}, {"data": "https://x/y.wav"}, {}])
def test_sound_that_is_not_in_the_body_is_bounded_by_the_window_alone(audio: Any) -> None:
    found = inspect(asks({"type": "input_audio", "input_audio": audio}))
    assert found["features"] == "audio,files"
    assert "audio_bytes" not in found


def test_sound_in_the_body_is_counted_by_its_bytes() -> None:
    found = inspect(asks({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}))
    assert (found["features"], found["audio_bytes"]) == ("audio", len(DATA))
    assert inspect(gemini({"inlineData": {"mimeType": "audio/mp3", "data": DATA}}), "gemini")["audio_bytes"] == len(
        DATA
    )


KELVIN, LONG_S = "\u212a", "\u017f"


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        ('{"model":"m","Max_Tokens":9,"messages":[]}', "openai"),
        ('{"model":"m","MODEL":"dear","messages":[]}', "openai"),
        (f'{{"model":"m","max_to{KELVIN}ens":9,"messages":[]}}', "openai"),
        (f'{{"model":"m","me{LONG_S}{LONG_S}ages":[]}}', "openai"),
        ('{"model":"m","max_to\\u006bens":9,"messages":[]}', "openai"),
        ('{"model":"m","maxTokens":9,"messages":[]}', "openai"),
        ('{"model":"m","max-tokens":9,"messages":[]}', "openai"),
        ('{"model":"m","n_predict":9,"messages":[]}', "openai"),
        ('{"model":"m","maxNewTokens":9,"messages":[]}', "openai"),
        ('{"model":"m","messages":[{"Content":"x"}]}', "openai"),
        ('{"model":"m","messages":[{"content":[{"type":"text","TYPE":"image_url"}]}]}', "openai"),
        ('{"model":"m","messages":[{"content":[{"image_url":{"URL":"x"}}]}]}', "openai"),
        ('{"model":"m","messages":[],"stream_options":{"Include_Usage":true}}', "openai"),
        ('{"model":"m","messages":[{"content":[{"type":"text","Cache_Control":{}}]}]}', "anthropic"),
        ('{"model":"m","messages":[],"cache_control":{"TTL":"1h"}}', "anthropic"),
        ('{"model":"m","messages":[{"content":[{"type":"image","source":{"Data":"x"}}]}]}', "anthropic"),
        ('{"contents":[],"GenerationConfig":{}}', "gemini"),
        ('{"contents":[],"generationConfig":{"MaxOutputTokens":9}}', "gemini"),
        ('{"contents":[],"generationConfig":{"max_OutputTokens":9}}', "gemini"),
        ('{"contents":[{"parts":[{"InlineData":{}}]}]}', "gemini"),
        ('{"contents":[{"parts":[{"inline_data":{"MIMETYPE":"x"}}]}]}', "gemini"),
    ],
)
def test_a_name_that_another_reader_takes_for_a_known_one_is_refused(body: str, dialect: str) -> None:
    assert "must be written '" in (problem := refused(body, dialect)) or "characters that no name there has" in problem


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        ('{"model":"m","messages":[],"frob":1,"frob":2}', "openai"),
        ('{"model":"m","messages":[{"content":"a","content":"b"}]}', "openai"),
        ('{"model":"m","messages":[{"content":[{"type":"text","text":"x","type":"image_url"}]}]}', "openai"),
        ('{"model":"m","messages":[{"content":[{"image_url":{"url":"x","url":"y"}}]}]}', "openai"),
        ('{"model":"m","messages":[],"stream_options":{"include_usage":true,"include_usage":false}}', "openai"),
        ('{"model":"m","messages":[{"content":[{"type":"tool_result","content":[{"type":"text"}],"type":"x"}]}]}',
         "anthropic"),
        ('{"model":"m","messages":[],"thinking":{"budget_tokens":1,"budget_tokens":9}}', "anthropic"),
        ('{"contents":[],"generationConfig":{},"generation_config":{}}', "gemini"),
        ('{"contents":[{"parts":[{"inlineData":{"data":"x","mimeType":"a","mime_type":"b"}}]}]}', "gemini"),
    ],
)  # fmt: skip
def test_a_name_that_occurs_twice_is_refused_at_every_watched_level(body: str, dialect: str) -> None:
    assert "appears twice" in refused(body, dialect)


def test_equal_names_in_two_objects_and_in_what_nobody_watches_pass() -> None:
    inspect('{"model":"m","messages":[{"role":"a","content":[{"type":"text"},{"type":"text"}]},{"role":"b"}]}')
    inspect('{"model":"m","messages":[],"metadata":{"a":1,"a":2,"Max_Tokens":3,"\\u0061":4}}')


@pytest.mark.parametrize(
    ("number", "growth"), [("1", 0), ("1.5", 0), ("1e20", 44), ("1E+3", 27), ("1e-300", 324), ("1e99999", 424)]
)
def test_numbers_that_a_server_may_write_out_count_with_their_zeros(number: str, growth: int) -> None:
    body = f'{{"model":"m","messages":[],"tools":[{{"type":"function","function":{{"parameters":[{number}]}}}}]}}'
    assert inspect(body).get("growth_bytes", 0) == growth


def test_the_model_of_a_gemini_request_is_in_its_path_alone() -> None:
    assert "path" in refused({"contents": [], "model": "dear"}, "gemini")
    assert "must be written" in refused({"contents": [], "Model": "dear"}, "gemini")


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("body", "dialect", "options"),
    [
        (chat(service_tier="priority"), "openai", "service_tier=priority"),
        (chat(service_tier="auto", modalities=["text"], plugins=[], models=None, deferred=False), "openai", None),
        (chat(service_tier=7), "openai", "service_tier=7"),
        (chat(modalities=["text", "audio"], audio={"voice": "x"}), "openai", "audio,modalities=audio"),
        ('{"model":"m","messages":[],"modalities":["\\u0061udio"]}', "openai", "modalities=?u0061udio"),
        (chat(prediction={"type": "content", "content": "x" * 10}), "openai", "prediction=44"),
        (chat(models=["dear"], route="fallback", enable_search=True), "openai", "enable_search,models,route"),
        (chat(search_parameters={"mode": "auto"}, web_search_options={"a": 1}), "openai",
         "search_parameters,web_search_options"),
        (chat(web_search_options={}), "openai", "web_search_options"),
        (chat(tools=[{"type": "web_search"}]), "openai", "tools=web_search"),
        (chat(speed="fast", inference_geo="us", service_tier="standard_only"), "anthropic",
         "inference_geo=us,speed=fast"),
        (chat(tools=[SEARCH, {**SEARCH, "max_uses": 3}]), "anthropic",
         "tools.web_search_20250305,tools.web_search_20250305=3"),
        (chat(tools=[{"type": "bash_20250124", "name": "bash"}], mcp_servers=[]), "anthropic", None),
        (chat(context_management={"edits": [{"type": "clear_thinking_20251015"}]}), "anthropic", None),
        (chat(context_management={"edits": [{"type": "compact_20260112"}]}), "anthropic",
         "context_management=compact_20260112"),
        (chat(cache_control={"type": "ephemeral", "ttl": "1d"}), "anthropic", "cache_control.ttl=1d"),
        (gemini(service_tier="priority"), "gemini", "serviceTier=priority"),
        (gemini(generationConfig={"responseModalities": ["TEXT", "IMAGE"], "speechConfig": {"a": 1}}), "gemini",
         "generationConfig.speechConfig,responseModalities=IMAGE"),
        (gemini(tools=[{"googleSearch": {}}, {"functionDeclarations": []}]), "gemini", "tools.googleSearch"),
    ],
)  # fmt: skip
def test_what_changes_the_price_is_named(body: Any, dialect: str, options: str | None) -> None:
    assert inspect(body, dialect).get("price_options") == options


def test_caching_for_an_hour_is_seen_wherever_it_is_asked_for() -> None:
    hour = {"type": "ephemeral", "ttl": "1h"}
    for body in (
        chat(cache_control=hour),
        chat(system=[{"type": "text", "text": "x", "cache_control": hour}]),
        chat(tools=[{"name": "f", "input_schema": {}, "cache_control": hour}]),
        asks({**CLAUDE_RESULT, "content": [{"type": "text", "text": "x", "cache_control": hour}]}),
    ):
        assert "cache_1h" in inspect(body, "anthropic")["features"].split(",")


M = 4 * 2**20


@pytest.mark.parametrize(
    "text",
    [
        '{"model":"m","messages":[{"content":[' + '{"type":"text","text":""},' * 80_000 + "{}]}]}",
        '{"model":"m","messages":[{"content":[' + '{"type":"te\\u0078t"},' * 80_000 + "{}]}]}",
        '{"model":"m","messages":[' + '{"x":1},' * 80_000 + "{}]}",
        '{"model":"m","messages":[],' + ",".join(f'"u{number}":1' for number in range(80_000)) + "}",
        '{"model":"m","messages":[{"content":"' + '\\"' * (M // 2) + '"}]}',
        '{"model":"m","messages":[{"content":"' + "\\\\" * (M // 2) + '"}]}',
        '{"model":"m","messages":[{"content":"' + "\u4e16" * (M // 3) + '"}]}',
        '{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,'
        + "\\/" * (M // 2) + '"}}]}]}',
        '{"model":"' + "m" * M + '","messages":[]}',
        '{"model":"m","messages":[],"' + "_" * M + 'max_tokens":1}',
        '{"model":"m","messages":[],"x":' + "1" * M + "}",
    ],
    ids=range(11),
)  # fmt: skip
def test_no_body_costs_more_than_its_length(text: str) -> None:
    raw = wire(text)
    started = time.process_time()
    LUA.globals().pcall(SCAN.body, raw, "openai", PATHS["openai"])
    # Quadratic work would take minutes.
    assert time.process_time() - started < 5
