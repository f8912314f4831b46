"""Attacks in OpenAI's dialect."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.e2e.adversary.attack import ABSENT, LONG_TEXT, MARK, PIXELS, Attack, chat, chat_after, raw

_OPENAI = "openai"
_PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXELS}"}}
_HIDDEN = {"image_url": {"url": f"data:image/png;base64,{LONG_TEXT}"}}
_SOURCE = {"source": {"type": "base64", "media_type": "image/png", "data": LONG_TEXT}}
_ADDRESS = "https://example.com/long"
_KELVIN, _LONG_S = "\u212a", "\u017f"
_MANY = 16_000
_SPEECH = "UklGR" + "A" * 16_000


_PICTURED = {"role": "user", "content": [_PICTURE]}


def _called(arguments: Any) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _tool(schema: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


def _name(name: str, value: Any, **members: Any) -> str:
    """A body with one more member at its end, its name written as it is given."""
    return raw(chat(**members), (f'"{name}"', json.dumps(value)))


_openai = partial(Attack, dialect=_OPENAI)

TEXT_AS_DATA = (
    _openai(
        "text in a data URI of a response format, beside an image",
        body=chat(_PICTURE, response_format={"type": "json_schema", "json_schema": {"schema": _HIDDEN}}),
    ),
    _openai(
        "a data URI that is plain text, beside an image",
        body=chat(_PICTURE, {"type": "image_url", "image_url": {"url": f"data:text/plain,{LONG_TEXT}"}}),
    ),
    _openai(
        "a data URI that is none, beside an image",
        body=chat(_PICTURE, {"type": "image_url", "image_url": {"url": f"data:{LONG_TEXT}"}}),
    ),
    _openai(
        "text in a data URI of a part of unknown type, beside an image",
        body=chat(_PICTURE, {"type": "quotation", **_HIDDEN}),
    ),
    _openai(
        "text as the data of a file, beside an image",
        body=chat(_PICTURE, {"type": "file", "file": {"filename": "a.txt", "file_data": LONG_TEXT}}),
    ),
)

REFERENCES = (
    _openai("a file by its id", body=chat({"type": "file", "file": {"file_id": "file-1"}})),
    _openai("a PDF", body=chat({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0"}})),
    _openai("the audio of an earlier answer", body=chat_after({"role": "assistant", "audio": {"id": "audio_1"}})),
)

NAMES = (
    _openai("the bound with an escaped letter", body=_name("max_to\\u006bens", _MANY)),
    _openai("the bound with an escaped Kelvin sign", body=_name("max_to\\u212aens", _MANY)),
    _openai("the bound twice", body=_name("max_tokens", _MANY)),
    _openai("another model, first and in capitals", body='{"MODEL":"dear",' + chat(max_tokens=1_000)[1:]),
    _openai(
        "text as an image behind names with capitals",
        body=chat(_PICTURE, {"Type": "image_url", "Image_URL": {"URL": f"data:{LONG_TEXT}"}}),
    ),
)

BOUNDS = (
    *(
        _openai(f"a bound that is written {spelling}", body=raw(chat(max_tokens=ABSENT), ('"max_tokens"', spelling)))
        for spelling in (
            "1.6e4",
            "16000.0",
            '"16000"',
            "-1",
            "0",
            "true",
            "[5]",
            "{}",
            "1e400",
            "null",
            "99999999999999999999",
            "NaN",
            "Infinity",
            "-0",
            "016",
            "0x10",
            "5e-1",
        )
    ),
    _openai("no bound at all", body=chat(max_tokens=ABSENT)),
    _openai("a small bound beside a large newer one", body=chat(max_completion_tokens=_MANY)),
    _openai("a small bound beside a newer one that is none", body=chat(max_completion_tokens="lots")),
    _openai("128 answers", body=chat(n=128, max_tokens=500)),
    _openai("a number of answers as a text", body=chat(n="128", max_tokens=500)),
    _openai("a number of answers with a fraction", body=raw(chat(max_tokens=500), ('"n"', "128.0"))),
    _openai("log probabilities of 20 answers", body=chat(n=20, logprobs=True, top_logprobs=20, max_tokens=2_000)),
)

PRICES = (
    _openai("options of a search", body=chat(web_search_options={"search_context_size": "high"})),
    _openai("a search as a tool", body=chat(tools=[{"type": "web_search"}])),
    _openai(
        "speech at the price of text",
        body=chat({"type": "input_audio", "input_audio": {"data": _SPEECH, "format": "wav"}}),
    ),
)

SHAPES = (
    _openai("10 000 empty messages", body=chat_after(*[{}] * 10_000)),
    _openai(
        "options of the stream twice",
        body=raw(
            chat(stream=True, max_tokens=5_000),
            ('"stream_options"', '{"include_usage":true}'),
            ('"stream_options"', '{"include_usage":false}'),
        ),
    ),
    _openai(
        "a usage chunk that is refused twice inside",
        body=raw(
            chat(stream=True, max_tokens=5_000), ('"stream_options"', '{"include_usage":true,"include_usage":false}')
        ),
    ),
    _openai("half of a surrogate pair", body=chat("\ud800" * 7_000)),
    _openai("messages that are one text", body=chat(messages=MARK + LONG_TEXT)),
    _openai("messages within messages", body=chat({"messages": [{"content": LONG_TEXT}]})),
    _openai(
        "a text that looks like a data URI",
        body=chat(_PICTURE, {"type": "text", "text": f"data:image/png;base64,{LONG_TEXT}"}),
    ),
    _openai("long names and no values", body=chat({"type": "text", "text": "", LONG_TEXT: 1})),
    _openai("a long name of a speaker", body=chat_after({"role": "user", "name": LONG_TEXT, "content": ""})),
    _openai("a long schema", body=chat(response_format={"type": "json_schema", "json_schema": {"d": LONG_TEXT}})),
    _openai("an answer that goes on from a long start", body=chat_after({"role": "assistant", "content": LONG_TEXT})),
    _openai("a second document behind the first", body=chat() + chat(max_tokens=_MANY)),
)

ATTACKS = (*TEXT_AS_DATA, *REFERENCES, *NAMES, *BOUNDS, *PRICES, *SHAPES)

HONEST = (
    _openai("a short question", body=chat()),
    _openai(
        "a tool and its call",
        body=chat_after(
            _called('{"city":"Oslo"}'),
            {"role": "tool", "tool_call_id": "1", "content": "rain"},
            tools=[_tool({"type": "object", "properties": {"data": {"type": "string"}, "url": {"type": "string"}}})],
        ),
    ),
    _openai("an image", body=chat(_PICTURE)),
    _openai("an image by its address", body=chat({"type": "image_url", "image_url": {"url": _ADDRESS}})),
    _openai(
        "a schema for the answer",
        body=chat(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}),
    ),
    _openai("the newer bound", body=chat(max_tokens=ABSENT, max_completion_tokens=50)),
    _openai("text in many scripts", body=chat({"type": "text", "text": "Привет, 世界 \u212a \u017f \U0001f600"})),
    _openai(
        "what SDKs send along",
        body=chat(
            stream=True,
            stream_options={"include_usage": True},
            temperature=0.5,
            top_p=1,
            user="u",
            seed=1,
            stop=["x"],
            metadata={"max_tokens": "16000"},
            logit_bias={},
            parallel_tool_calls=True,
            store=False,
        ),
    ),
)

LARGE = (
    _openai("a file by its id", body=chat({"type": "file", "file": {"file_id": "file-1"}})),
    _openai("a PDF", body=chat({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0"}})),
)
