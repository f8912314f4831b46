"""Like `asking`, for Anthropic's and Gemini's dialects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.e2e.adversary.asking import (
    AUDIO_BYTES_PER_TOKEN,
    MESSAGE_TOKENS,
    TOOLS_TOKENS,
    Asked,
    Reader,
    members,
    remote,
)
from tests.e2e.adversary.temperaments import Members, Temperament, count

_CLIENT_TOOLS = ("custom", "bash", "text_editor", "computer", "memory")
_SERVER_TOOLS = (
    ("googleSearch", "google_search"),
    ("googleSearchRetrieval", "google_search_retrieval"),
    ("googleMaps", "google_maps"),
    ("urlContext", "url_context"),
    ("codeExecution", "code_execution"),
    ("fileSearch", "file_search"),
)


def read_anthropic(body: Members, asked: Asked, temperament: Temperament) -> Asked:
    """POST /v1/messages."""
    reader = Reader(asked, temperament)
    _anthropic_input(body, reader)
    if count(body.at("max_tokens")) != 0:
        reader.bounds(body.all_at("max_tokens"))
    thinking = body.at("thinking")
    if isinstance(thinking, Members):
        asked.output = min(max(asked.output, count(thinking.at("budget_tokens")) or 0), asked.ceiling)
    for control in _cache_controls(body):
        asked.writes_cache = True
        asked.writes_cache_1h |= isinstance(control, Members) and control.at("ttl") == "1h"
    asked.stream = bool(body.at("stream"))
    asked.model = str(body.at("model"))
    asked.tier = str(body.at("service_tier") or "")
    asked.fast = body.at("speed") == "fast"
    asked.region = body.at("inference_geo") is not None
    return asked


def _anthropic_input(body: Members, reader: Reader) -> None:
    asked = reader.asked
    _content(body.at("system"), reader)
    for message in members(body.at("messages")):
        asked.text += MESSAGE_TOKENS
        _content(message.at("content"), reader)
    if body.at("tools"):
        asked.text += TOOLS_TOKENS
        reader.text(body.at("tools"))
    for tool in members(body.at("tools")):
        kind = str(tool.at("type") or "custom")
        if not kind.startswith(_CLIENT_TOOLS):
            asked.searches += max(1, count(tool.at("max_uses")) or 1)
            asked.fetched += 1
    for name in ("mcp_servers", "container"):
        asked.fetched += isinstance(body.at(name), (Members, list)) and bool(body.at(name))
    # To compact a conversation the model reads it once more.
    context = body.at("context_management")
    edits = members(context.at("edits")) if isinstance(context, Members) else []
    asked.fetched += any("compact" in str(edit.at("type")) for edit in edits)
    for name in ("output_config", "output_format"):
        if body.at(name):
            asked.text += TOOLS_TOKENS
            reader.text(body.at(name))


def _content(content: Any, reader: Reader) -> None:
    """A string, or blocks."""
    if not isinstance(content, list):
        if content is not None:
            reader.text(content)
        return
    for block in content:
        if isinstance(block, Members):
            _block(block, reader)
        else:
            reader.text(block)


def _block(block: Members, reader: Reader) -> None:
    kind = block.at("type")
    if kind == "text":
        reader.text(block.at("text") or "")
    elif kind in ("image", "document") and isinstance(block.at("source"), Members):
        _source(block.at("source"), kind, reader)
        for value in block.besides("type", "source", "cache_control").values():
            reader.text(value)
    elif kind == "tool_result":
        _content(block.at("content"), reader)
    elif kind in ("tool_use", "server_tool_use", "thinking", "redacted_thinking"):
        # The model wrote this text, so an address in it is not fetched.
        for value in block.besides("type", "cache_control").values():
            reader.text(value)
    elif kind == "container_upload":
        reader.asked.fetched += 1
    else:
        reader.unknown(block)


def _source(source: Members, kind: str, reader: Reader) -> None:
    form, media = source.at("type"), str(source.at("media_type") or "")
    data = source.at("data")
    if (form == "base64" and kind == "image" and media.startswith("image/")) or (form == "url" and kind == "image"):
        reader.asked.images += 1
    elif form == "text" or media.startswith("text/") or (form == "content"):
        reader.text(source.at("content") if form == "content" else data)
    elif form == "file" or (kind == "document" and form in ("base64", "url", "file")):
        reader.asked.fetched += 1
    else:
        reader.unknown(source)


def _cache_controls(body: Members) -> Iterator[Any]:
    """Every `cache_control` in a place where it has an effect."""
    contents = [body.at("system"), *(message.at("content") for message in members(body.at("messages")))]
    blocks = [block for content in contents for block in members(content)]
    results = [inner for block in blocks if block.at("type") == "tool_result" for inner in members(block.at("content"))]
    for holder in (body, *members(body.at("tools")), *blocks, *results):
        if holder.at("cache_control") is not None:
            yield holder.at("cache_control")


def read_gemini(body: Members, asked: Asked, temperament: Temperament) -> Asked:
    """POST /v1beta/models/{model}:generateContent, where both spellings of a name are one."""
    reader = Reader(asked, temperament)
    contents = [each for found in body.all_at("contents") for each in _listed(found)]
    for content in (*contents, *body.all_at("systemInstruction", "system_instruction")):
        asked.text += MESSAGE_TOKENS
        if isinstance(content, Members):
            for part in [each for found in content.all_at("parts") for each in _listed(found)]:
                _part(part, reader)
        else:
            reader.text(content)
    for tool in filter(None, members(_first_list(body.at("tools")))):
        asked.text += TOOLS_TOKENS
        reader.text(tool)
        for names in _SERVER_TOOLS:
            if tool.all_at(*names):
                asked.searches += 1
                asked.fetched += 1
    asked.fetched += bool(body.all_at("cachedContent", "cached_content"))
    _generation(body.all_at("generationConfig", "generation_config"), reader)
    asked.model = str(body.at("model") or "")
    asked.tier = str(body.at("serviceTier", "service_tier") or "")
    return asked


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _first_list(value: Any) -> Any:
    return [value] if isinstance(value, Members) else value


def _part(part: Any, reader: Reader) -> None:
    if not isinstance(part, Members):
        reader.text(part)
        return
    for blob in part.all_at("inlineData", "inline_data"):
        _blob(blob, reader)
    if part.all_at("fileData", "file_data"):
        reader.asked.fetched += 1
    for name, value in part.besides("inlineData", "inline_data", "fileData", "file_data").items():
        known = name.lower().replace("_", "") in {"text", "functioncall", "functionresponse", "thoughtsignature"}
        (reader.text if known else reader.unknown)(value)


def _blob(blob: Any, reader: Reader) -> None:
    if not isinstance(blob, Members):
        reader.unknown(blob)
        return
    media = str(blob.at("mimeType", "mime_type") or "")
    data = blob.at("data")
    if media.startswith("image/"):
        reader.asked.images += 1
    elif media.startswith("audio/") and isinstance(data, str) and not remote(data):
        reader.asked.audio += len(data) // AUDIO_BYTES_PER_TOKEN
    elif media.startswith(("video/", "application/pdf", "audio/")):
        reader.asked.fetched += 1
    else:
        reader.unknown(data)


def _generation(found: list[Any], reader: Reader) -> None:
    configs = [each for each in found if isinstance(each, Members)]
    reader.bounds([bound for each in configs for bound in each.all_at("maxOutputTokens", "max_output_tokens")])
    for config in configs:
        reader.choices(config.at("candidateCount", "candidate_count"))
        for name in ("responseSchema", "response_schema", "responseJsonSchema", "response_json_schema"):
            if config.at(name) is not None:
                reader.asked.text += TOOLS_TOKENS
                reader.text(config.at(name))
        spoken = config.all_at("responseModalities", "response_modalities", "speechConfig", "speech_config")
        reader.asked.speaks |= any(word.upper() in {"AUDIO", "IMAGE"} for word in _words(spoken))


def _words(found: list[Any]) -> Iterator[str]:
    for value in found:
        yield from (each for each in _listed(value) if isinstance(each, str))
