"""Attacks in Anthropic's dialect."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.e2e.adversary.attack import ABSENT, LONG_TEXT, MARK, NEARLY, PIXELS, Attack, claude, claude_after, raw

_SOURCE = {"type": "base64", "media_type": "image/png", "data": LONG_TEXT}
_PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXELS}}
_ADDRESS = "https://example.com/long.pdf"
_MANY = 60_000
_FAST = ("anthropic-beta", "fast-mode-2026-02-01")


_PICTURED = {"role": "user", "content": [_PICTURE]}


def _used(value: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": value}]}


def _result(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": list(content)}]}


def _tool(schema: Any, **members: Any) -> dict[str, Any]:
    return {"name": "f", "input_schema": schema, **members}


def _name(name: str, value: Any, **members: Any) -> str:
    return raw(claude(**members), (f'"{name}"', json.dumps(value)))


_claude = partial(Attack, dialect="anthropic")
_HOUR = {"type": "ephemeral", "ttl": "1h"}
# $1.40 as plain text: within the limit at every price except that of caching for an hour.
_CACHED = LONG_TEXT[:14_000]

ATTACKS = (
    _claude("text as a source in what a tool was given", body=claude_after(_PICTURED, _used({"source": _SOURCE}))),
    _claude(
        "text as a source deep in what a tool was given, beside an image",
        body=claude(
            _PICTURE,
            {"type": "tool_use", "id": "t", "name": "f", "input": {"content": [{"type": "image", "source": _SOURCE}]}},
        ),
    ),
    _claude(
        "text as a source in a tool's schema, beside an image",
        body=claude(_PICTURE, tools=[_tool({"properties": {"source": _SOURCE}})]),
    ),
    _claude(
        "text as an image of a text type, beside an image",
        body=claude(
            _PICTURE, {"type": "image", "source": {"type": "base64", "media_type": "text/plain", "data": LONG_TEXT}}
        ),
    ),
    _claude(
        "text as a source of a type with a capital, beside an image",
        body=claude(
            _PICTURE, {"type": "image", "source": {"type": "Base64", "media_type": "image/png", "data": LONG_TEXT}}
        ),
    ),
    _claude(
        "text as a source of a block that nobody knows, beside an image",
        body=claude(_PICTURE, {"type": "quotation", "source": _SOURCE}),
    ),
    _claude(
        "text as the source of a text, beside an image",
        body=claude(_PICTURE, {"type": "search_result", "title": "t", "source": LONG_TEXT, "content": []}),
    ),
    _claude(
        "a document of plain text, beside an image",
        body=claude(
            _PICTURE, {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": LONG_TEXT}}
        ),
    ),
    _claude(
        "a document of base64 that says it is text, beside an image",
        body=claude(
            _PICTURE, {"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": LONG_TEXT}}
        ),
    ),
    _claude(
        "text as the data of redacted thoughts, beside an image",
        body=claude(_PICTURE, {"type": "redacted_thinking", "data": LONG_TEXT}),
    ),
    _claude(
        "text in a schema of the answer, beside an image",
        body=claude(_PICTURE, output_config={"format": {"type": "json_schema", "schema": {"source": _SOURCE}}}),
    ),
    _claude(
        "a type that comes twice, the second time as text",
        body=raw(
            claude(_PICTURE),
            (
                '"system"',
                '[{"type":"image","source":{"type":"base64","media_type":"image/png","data":'
                + json.dumps(LONG_TEXT)
                + '},"type":"text","text":'
                + json.dumps(LONG_TEXT)
                + "}]",
            ),
        ),
    ),
    _claude("a document by its address", body=claude({"type": "document", "source": {"type": "url", "url": _ADDRESS}})),
    _claude("a document by its id", body=claude({"type": "document", "source": {"type": "file", "file_id": "f"}})),
    _claude(
        "a PDF",
        body=claude(
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0"}}
        ),
    ),
    _claude(
        "a PDF within the result of a tool",
        body=claude_after(
            _used({}),
            _result(
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0"}}
            ),
        ),
    ),
    _claude(
        "a document of a type with a capital",
        body=claude({"Type": "document", "source": {"Type": "url", "url": _ADDRESS}}),
    ),
    _claude(
        "a video that nobody documents", body=claude({"type": "video", "source": {"type": "url", "url": _ADDRESS}})
    ),
    _claude("a page by its address, of an unknown kind", body=claude({"type": "page", "address": _ADDRESS})),
    _claude("files of a container", body=claude({"type": "container_upload", "file_id": "f"})),
    _claude("a container with skills", body=claude(container={"id": "c", "skills": [{"skill_id": "pptx"}]})),
    _claude("a server of tools", body=claude(mcp_servers=[{"type": "url", "url": _ADDRESS, "name": "n"}])),
    _claude("50 searches", body=claude(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 50}])),
    _claude("a search of a type to come", body=claude(tools=[{"type": "web_search_20991231", "name": "web_search"}])),
    _claude("pages that are fetched", body=claude(tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}])),
    _claude(
        "a search whose type is escaped",
        body=raw(claude(), ('"tools"', '[{"t\\u0079pe":"web\\u005fsearch_20250305","name":"web_search"}]')),
    ),
    _claude("a search behind a type with a capital", body=claude(tools=[{"Type": "web_search_20250305", "name": "s"}])),
    _claude("the bound with a capital", body=_name("Max_Tokens", _MANY)),
    _claude("the bound with a Kelvin sign", body=_name("max_to\u212aens", _MANY)),
    _claude("another model in capitals", body=_name("MODEL", "dear", max_tokens=1_000)),
    _claude("a tool with a capital", body=_name("Tools", [{"type": "web_search_20250305", "name": "web_search"}])),
    *(
        _claude(f"a bound that is written {spelling}", body=raw(claude(max_tokens=ABSENT), ('"max_tokens"', spelling)))
        for spelling in ("6e4", "60000.0", '"60000"', "-1", "null", "[5]", "true")
    ),
    _claude("no bound at all", body=claude(max_tokens=ABSENT)),
    _claude(
        "thoughts above the bound", body=claude(thinking={"type": "enabled", "budget_tokens": 32_000}, max_tokens=1_024)
    ),
    _claude(
        "thoughts above the bound, behind a capital",
        body=claude(thinking={"type": "enabled", "Budget_Tokens": 32_000}, max_tokens=1_024),
    ),
    _claude("thoughts as text", body=claude(thinking={"type": "enabled", "budget_tokens": "32000"}, max_tokens=1_024)),
    _claude("a cache for an hour at the top", body=claude({"type": "text", "text": _CACHED}, cache_control=_HOUR)),
    _claude("a cache for an hour in a block", body=claude({"type": "text", "text": _CACHED, "cache_control": _HOUR})),
    _claude("a cache for an hour in a tool", body=claude(tools=[_tool({"d": _CACHED}, cache_control=_HOUR)])),
    _claude(
        "a cache for an hour, escaped",
        body=raw(
            claude(),
            (
                '"system"',
                '[{"type":"text","text":'
                + json.dumps(_CACHED)
                + ',"cache_contro\\u006c":{"type":"ephemeral","tt\\u006c":"1\\u0068"}}]',
            ),
        ),
    ),
    _claude(
        "a cache for an hour behind capitals",
        body=claude({"type": "text", "text": _CACHED, "Cache_Control": {"type": "ephemeral", "TTL": "1h"}}),
    ),
    _claude(
        "a cache for an hour in the result of a tool",
        body=claude_after(_used({}), _result({"type": "text", "text": _CACHED, "cache_control": _HOUR})),
    ),
    _claude(
        "a cache that is warmed and answers nothing",
        body=claude({"type": "text", "text": LONG_TEXT, "cache_control": _HOUR}, max_tokens=0),
    ),
    _claude("fast mode", body=claude(speed="fast", max_tokens=2_000), headers=(_FAST,)),
    _claude("fast mode behind a capital", body=_name("Speed", "fast", max_tokens=2_000), headers=(_FAST,)),
    _claude("priority processing", body=claude(service_tier="priority", max_tokens=NEARLY)),
    _claude("another region", body=claude(inference_geo="us", max_tokens=9_600)),
    _claude(
        "a window of a million",
        headers=(("anthropic-beta", "context-1m-2025-08-07"),),
        body=claude(
            {"type": "text", "text": LONG_TEXT * 8}, {"type": "document", "source": {"type": "url", "url": _ADDRESS}}
        ),
    ),
    _claude("a long system text in blocks", body=claude(system=[{"type": "text", "text": LONG_TEXT}])),
    _claude(
        "a long system text in blocks without a type", body=claude(system=[{"text": LONG_TEXT, "source": _SOURCE}])
    ),
    _claude("a long start of the answer", body=claude_after({"role": "assistant", "content": LONG_TEXT})),
    _claude("10 000 empty messages", body=claude_after(*[{"role": "user", "content": ""}] * 10_000)),
    _claude(
        "a long signature of thoughts",
        body=claude_after(
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": LONG_TEXT}]}
        ),
    ),
    _claude(
        "a conversation that the provider compacts",
        body=claude(context_management={"edits": [{"type": "compact_20260112"}]}),
    ),
)

HONEST = (
    _claude("a short question", body=claude()),
    _claude(
        "a tool, its call and its result with an image",
        body=claude_after(
            _used({"data": "short", "url": "https://example.com"}),
            _result(_PICTURE),
            tools=[_tool({"type": "object", "properties": {"source": {"type": "string"}}})],
        ),
    ),
    _claude("an image", body=claude(_PICTURE)),
    _claude(
        "a document of plain text",
        body=claude({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "short"}}),
    ),
    _claude(
        "thoughts within the bound", body=claude(thinking={"type": "enabled", "budget_tokens": 1_024}, max_tokens=1_500)
    ),
    _claude(
        "a cache for five minutes",
        body=claude({"type": "text", "text": "short", "cache_control": {"type": "ephemeral"}}),
    ),
    _claude("a system text", body=claude(system=[{"type": "text", "text": "Be kind."}])),
    _claude(
        "what SDKs send along",
        body=claude(stream=True, temperature=0.5, top_k=5, top_p=1, stop_sequences=["x"], metadata={"user_id": MARK}),
    ),
)

LARGE = (
    _claude("a document by its address", body=claude({"type": "document", "source": {"type": "url", "url": _ADDRESS}})),
    _claude(
        "a PDF within the result of a tool",
        body=claude_after(_used({}), _result({"type": "document", "source": {"type": "file", "file_id": "f"}})),
    ),
)
