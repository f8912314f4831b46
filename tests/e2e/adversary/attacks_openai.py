"""Attacks in OpenAI's dialect."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.e2e.adversary.attack import ABSENT, LONG_TEXT, MARK, NEARLY, PIXELS, Attack, chat, chat_after, raw

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
    _openai("text in a data URI of a tool call's arguments", body=chat_after(_PICTURED, _called(_HIDDEN))),
    _openai("text in a source of a tool call's arguments", body=chat_after(_PICTURED, _called(_SOURCE))),
    _openai("text in a data URI of a tool's schema, beside an image", body=chat(_PICTURE, tools=[_tool(_HIDDEN)])),
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
        "text in the file data of a tool call", body=chat_after(_PICTURED, _called({"file": {"file_data": LONG_TEXT}}))
    ),
    _openai(
        "text in the audio of a tool call", body=chat_after(_PICTURED, _called({"input_audio": {"data": LONG_TEXT}}))
    ),
    _openai(
        "text as the data of a file, beside an image",
        body=chat(_PICTURE, {"type": "file", "file": {"filename": "a.txt", "file_data": LONG_TEXT}}),
    ),
    _openai(
        "text in a member of a message that nobody knows",
        body=chat_after({"role": "assistant", "reasoning_content": _HIDDEN, "content": [_PICTURE]}),
    ),
    _openai(
        "content that is an object with a data URI",
        body=chat_after({"role": "user", "content": _HIDDEN}, {"role": "user", "content": [_PICTURE]}),
    ),
)

REFERENCES = (
    _openai("a document by its address", body=chat({"type": "document_url", "document_url": {"url": _ADDRESS}})),
    _openai("a video by its address", body=chat({"type": "video_url", "video_url": {"url": _ADDRESS}})),
    _openai("a list of videos", body=chat({"type": "video", "video": [_ADDRESS]})),
    _openai("audio by its address", body=chat({"type": "audio_url", "audio_url": {"url": _ADDRESS}})),
    _openai("the data of audio is an address", body=chat({"type": "input_audio", "input_audio": {"data": _ADDRESS}})),
    _openai("input audio that is an address itself", body=chat({"type": "input_audio", "input_audio": _ADDRESS})),
    _openai("a document without a type", body=chat({"document_url": {"url": _ADDRESS}})),
    _openai("a file by its id", body=chat({"type": "file", "file": {"file_id": "file-1"}})),
    _openai("a PDF", body=chat({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0"}})),
    _openai("the audio of an earlier answer", body=chat_after({"role": "assistant", "audio": {"id": "audio_1"}})),
    _openai(
        "a video under an escaped type",
        body=chat().replace(
            f'"{MARK}"',
            f'[{{"type":"text","text":"{MARK}"}},{{"t\\u0079pe":"vid\\u0065o_url",'
            f'"vide\\u006f_url":{{"u\\u0072l":"{_ADDRESS}"}}}}]',
        ),
    ),
    _openai("documents that a template feeds to the model", body=chat(documents=[{"url": _ADDRESS}])),
    _openai("an earlier response that is stored", body=chat(previous_response_id="resp_1")),
    _openai(
        "a template of the client's own, which may loop",
        body=chat(chat_template="{% for i in range(100000) %}x{% endfor %}"),
    ),
)

NAMES = (
    _openai("the bound in capitals", body=_name("MAX_TOKENS", _MANY)),
    _openai("the bound with a capital", body=_name("Max_Tokens", _MANY)),
    _openai("the bound with a Kelvin sign", body=_name(f"max_to{_KELVIN}ens", _MANY)),
    _openai("the bound with a long s", body=_name(f"max_token{_LONG_S}", _MANY)),
    _openai("the newer bound with a capital", body=_name("Max_Completion_Tokens", _MANY)),
    _openai("the bound with an escaped letter", body=_name("max_to\\u006bens", _MANY)),
    _openai("the bound with an escaped Kelvin sign", body=_name("max_to\\u212aens", _MANY)),
    _openai("the bound twice", body=_name("max_tokens", _MANY)),
    _openai("another model in capitals", body=_name("MODEL", "dear", max_tokens=1_000)),
    _openai("another model, first and in capitals", body='{"MODEL":"dear",' + chat(max_tokens=1_000)[1:]),
    _openai("the number of answers in capitals", body=_name("N", 128, max_tokens=500)),
    _openai("a tier with a capital", body=_name("Service_Tier", "priority", max_tokens=NEARLY)),
    _openai(
        "a video behind a type with a capital",
        body=chat({"type": "text", "text": "", "Type": "video_url", "video_url": {"url": _ADDRESS}}),
    ),
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
    _openai("the best of 20", body=chat(best_of=20, max_tokens=1_000)),
    _openai("llama.cpp's own bound", body=chat(n_predict=_MANY)),
    _openai("the bound of other servers", body=chat(max_new_tokens=_MANY)),
    _openai("the bound of another API", body=chat(max_output_tokens=_MANY)),
    _openai("the least output", body=chat(min_tokens=_MANY)),
    _openai("a prediction that is wrong", body=chat(prediction={"type": "content", "content": LONG_TEXT[:15_000]})),
    _openai("log probabilities of 20 answers", body=chat(n=20, logprobs=True, top_logprobs=20, max_tokens=2_000)),
)

PRICES = (
    _openai("priority processing", body=chat(service_tier="priority", max_tokens=NEARLY)),
    _openai("other models to choose from", body=chat(models=["gpt-4o", "dear"], max_tokens=1_000)),
    _openai("a plugin", body=chat(plugins=[{"id": "web"}])),
    _openai("a search that is enabled", body=chat(enable_search=True)),
    _openai("parameters of a search", body=chat(search_parameters={"mode": "on"})),
    _openai("options of a search", body=chat(web_search_options={"search_context_size": "high"})),
    _openai("a search as a tool", body=chat(tools=[{"type": "web_search"}])),
    _openai("another region", body=chat(inference_geo="us", max_tokens=9_600)),
    _openai("speech as the answer", body=chat(modalities=["text", "audio"], audio={"voice": "a"}, max_tokens=1_500)),
    _openai("speech as the answer, by one member", body=chat(audio={"voice": "a"}, max_tokens=1_500)),
    _openai(
        "speech at the price of text",
        body=chat({"type": "input_audio", "input_audio": {"data": _SPEECH, "format": "wav"}}),
    ),
    _openai("fast mode", body=chat(speed="fast", max_tokens=2_000)),
)

SHAPES = (
    _openai("10 000 empty messages", body=chat_after(*[{}] * 10_000)),
    _openai(
        "numbers that grow where they are written in full",
        body=raw(
            chat(),
            (
                '"tools"',
                '[{"type":"function","function":{"name":"f","parameters":{"enum":['
                + ",".join(["1e20"] * 2_500)
                + "]}}}]",
            ),
        ),
    ),
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
    _openai("a video by its address", body=chat({"type": "video_url", "video_url": {"url": _ADDRESS}})),
)
