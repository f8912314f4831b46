"""Attacks in Gemini's dialect."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.e2e.adversary.attack import LONG_TEXT, MARK, MODEL, NEARLY, PIXELS, Attack, gemini, raw

_BLOB = {"mimeType": "image/png", "data": LONG_TEXT}
_PICTURE = {"inlineData": {"mimeType": "image/png", "data": PIXELS}}
_ADDRESS = "https://example.com/long.mp4"
_MANY = 60_000
_SPEECH = "UklGR" + "A" * 16_000


def _config(**members: Any) -> str:
    return gemini(config={"maxOutputTokens": 10, **members})


def _bound(spelling: str) -> str:
    return gemini().replace('"maxOutputTokens": 10', f'"maxOutputTokens": {spelling}')


_gemini = partial(Attack, dialect="gemini")

ATTACKS = (
    _gemini(
        "text as a blob in the arguments of a call, beside an image",
        body=gemini(_PICTURE, {"functionCall": {"name": "f", "args": {"inlineData": _BLOB}}}),
    ),
    _gemini(
        "text as a blob in the response of a call, beside an image",
        body=gemini(_PICTURE, {"functionResponse": {"name": "f", "response": {"inlineData": _BLOB}}}),
    ),
    _gemini(
        "text as a blob in the response of a call, with underscores",
        body=gemini(
            _PICTURE,
            {
                "function_response": {
                    "name": "f",
                    "response": {"inline_data": {"mime_type": "image/png", "data": LONG_TEXT}},
                }
            },
        ),
    ),
    _gemini(
        "text as a blob in the parameters of a function, beside an image",
        body=gemini(_PICTURE, tools=[{"functionDeclarations": [{"name": "f", "parameters": {"inlineData": _BLOB}}]}]),
    ),
    _gemini(
        "text as a blob in the schema of the answer, beside an image",
        body=gemini(_PICTURE, config={"maxOutputTokens": 10, "responseSchema": {"inlineData": _BLOB}}),
    ),
    _gemini(
        "text as a blob of a text type, beside an image",
        body=gemini(_PICTURE, {"inlineData": {"mimeType": "text/plain", "data": LONG_TEXT}}),
    ),
    _gemini(
        "text as a blob of JSON, beside an image",
        body=gemini(_PICTURE, {"inlineData": {"mimeType": "application/json", "data": LONG_TEXT}}),
    ),
    _gemini(
        "text as a blob without a type, beside an image", body=gemini(_PICTURE, {"inlineData": {"data": LONG_TEXT}})
    ),
    _gemini(
        "text as a blob of two types",
        body=gemini(_PICTURE, {"inlineData": {"mimeType": "text/plain", "mime_type": "image/png", "data": LONG_TEXT}}),
    ),
    _gemini(
        "a blob of the wrong type in capitals",
        body=gemini(_PICTURE, {"inlineData": {"mimeType": "image/png", "MimeType": "text/plain", "data": LONG_TEXT}}),
    ),
    _gemini(
        "text as a blob beside a blob of the other spelling",
        body=gemini(
            {
                "inlineData": {"mimeType": "image/png", "data": PIXELS},
                "inline_data": {"mimeType": "text/plain", "data": LONG_TEXT},
            }
        ),
    ),
    _gemini(
        "text as the data of code, beside an image",
        body=gemini(_PICTURE, {"executableCode": {"language": "PYTHON", "code": LONG_TEXT}}),
    ),
    _gemini(
        "text in a part that nobody knows, beside an image", body=gemini(_PICTURE, {"quotation": {"inlineData": _BLOB}})
    ),
    _gemini(
        "a part that is one object",
        body=json.dumps(
            {
                "contents": {"role": "user", "parts": {"text": MARK + LONG_TEXT}},
                "generationConfig": {"maxOutputTokens": 10},
            }
        ),
    ),
    _gemini(
        "two texts of the system",
        body=gemini(systemInstruction={"parts": [{"text": "a"}]}, system_instruction={"parts": [{"text": LONG_TEXT}]}),
    ),
    _gemini("a file", body=gemini({"fileData": {"fileUri": _ADDRESS, "mimeType": "video/mp4"}})),
    _gemini("a file with underscores", body=gemini({"file_data": {"file_uri": _ADDRESS}})),
    _gemini("a file behind a capital", body=gemini({"FileData": {"fileUri": _ADDRESS}})),
    _gemini(
        "a file within the response of a call",
        body=gemini(
            {"functionResponse": {"name": "f", "response": {}, "parts": [{"fileData": {"fileUri": _ADDRESS}}]}}
        ),
    ),
    _gemini("a video in the body", body=gemini({"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}})),
    _gemini("a PDF in the body", body=gemini({"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0"}})),
    _gemini(
        "an image that is a video in capitals", body=gemini({"inlineData": {"mimeType": "VIDEO/mp4", "data": _ADDRESS}})
    ),
    _gemini("stored content", body=gemini(cachedContent="cachedContents/1")),
    _gemini("stored content with an underscore", body=gemini(cached_content="cachedContents/1")),
    _gemini("stored content behind a capital", body=gemini(CachedContent="cachedContents/1")),
    _gemini("a search", body=gemini(tools=[{"googleSearch": {}}])),
    _gemini("a search behind a capital", body=gemini(tools=[{"GoogleSearch": {}}])),
    _gemini("a search that is no list", body=gemini(tools={"googleSearch": {"x": 1}})),
    _gemini("a search of the old kind", body=gemini(tools=[{"googleSearchRetrieval": {}}])),
    _gemini("pages by their addresses", body=gemini(tools=[{"urlContext": {}}])),
    _gemini("a search whose name is escaped", body=raw(gemini(), ('"tools"', '[{"google\\u0053earch":{}}]'))),
    _gemini("another model in the body", body=gemini(model="models/dear", config={"maxOutputTokens": 1_000})),
    _gemini(
        "another model in the body, behind a capital",
        body=gemini(Model="models/dear", config={"maxOutputTokens": 1_000}),
    ),
    _gemini("the bound behind a capital", body=gemini(config={"maxOutputTokens": 10, "MaxOutputTokens": _MANY})),
    _gemini("the bound in both spellings", body=gemini(config={"maxOutputTokens": 10, "max_output_tokens": _MANY})),
    _gemini("settings in both spellings", body=gemini(generation_config={"maxOutputTokens": _MANY})),
    _gemini("settings behind a capital", body=gemini(GenerationConfig={"maxOutputTokens": _MANY})),
    _gemini("settings with a Kelvin sign", body=gemini(config={"maxOutputTokens": 10, "maxOutputTo\u212aens": _MANY})),
    _gemini("settings with a bound twice", body=_bound(f'10, "maxOutputTokens": {_MANY}')),
    _gemini("settings with an escaped bound", body=_bound(f'10, "maxOutputTo\\u006bens": {_MANY}')),
    _gemini("settings that are null", body=gemini().replace('{"maxOutputTokens": 10}', "null")),
    _gemini("settings that are a list", body=gemini().replace('{"maxOutputTokens": 10}', '[{"maxOutputTokens":10}]')),
    *(
        _gemini(f"a bound that is written {spelling}", body=_bound(spelling))
        for spelling in ("6e4", "60000.0", '"60000"', "-1", "0", "null", "[5]")
    ),
    _gemini("no bound at all", body=gemini(config={})),
    _gemini("8 answers", body=_config(candidateCount=8, maxOutputTokens=2_000)),
    _gemini("8 answers as a text", body=_config(candidateCount="8", maxOutputTokens=2_000)),
    _gemini("8 answers in both spellings", body=_config(candidateCount=1, candidate_count=8, maxOutputTokens=2_000)),
    _gemini("pictures as the answer", body=_config(responseModalities=["TEXT", "IMAGE"], maxOutputTokens=1_500)),
    _gemini("speech as the answer", body=_config(responseModalities=["AUDIO"], maxOutputTokens=1_500)),
    _gemini(
        "speech as the answer, with an underscore", body=_config(response_modalities=["AUDIO"], maxOutputTokens=1_500)
    ),
    _gemini("speech at the price of text", body=gemini({"inlineData": {"mimeType": "audio/wav", "data": _SPEECH}})),
    _gemini(
        "priority processing",
        body=_config(maxOutputTokens=NEARLY).replace('{"contents"', '{"serviceTier":"priority","contents"'),
    ),
    _gemini(
        "a mask that hides usage", headers=(("x-goog-fieldmask", "candidates"),), body=_config(maxOutputTokens=NEARLY)
    ),
    _gemini(
        "a mask with capitals that hides usage",
        headers=(("X-Goog-FieldMask", "candidates"),),
        body=_config(maxOutputTokens=NEARLY),
    ),
    _gemini(
        "fields of the query that hide usage",
        path=f"/v1beta/models/{MODEL}:generateContent?fields=candidates",
        body=_config(maxOutputTokens=NEARLY),
    ),
    _gemini(
        "fields of the query that hide usage, in Google's spelling",
        path=f"/v1beta/models/{MODEL}:generateContent?$fields=candidates",
        body=_config(maxOutputTokens=NEARLY),
    ),
    _gemini(
        "another method by a header",
        headers=(("x-http-method-override", "PATCH"),),
        body=_config(maxOutputTokens=NEARLY),
    ),
    _gemini(
        "10 000 empty contents",
        body=json.dumps(
            {"contents": [{}] * 10_000 + [{"parts": [{"text": MARK}]}], "generationConfig": {"maxOutputTokens": 10}}
        ),
    ),
    _gemini("long thoughts of an earlier answer", body=gemini({"thoughtSignature": LONG_TEXT, "text": ""})),
)

HONEST = (
    _gemini("a short question", body=gemini()),
    _gemini("an image", body=gemini(_PICTURE)),
    _gemini(
        "names with underscores",
        body=json.dumps(
            {
                "contents": [{"parts": [{"text": MARK}, {"inline_data": {"mime_type": "image/png", "data": PIXELS}}]}],
                "system_instruction": {"parts": [{"text": "Be kind."}]},
                "generation_config": {"max_output_tokens": 10},
            }
        ),
    ),
    _gemini(
        "a function, its call and its response",
        body=gemini(
            {"functionCall": {"name": "f", "args": {"data": "short"}}},
            {"functionResponse": {"name": "f", "response": {"inlineData": "short"}}},
            tools=[{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
            toolConfig={"functionCallingConfig": {"mode": "AUTO"}},
        ),
    ),
    _gemini(
        "a schema for the answer", body=_config(responseMimeType="application/json", responseSchema={"type": "OBJECT"})
    ),
    _gemini("a stream", path=f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", body=gemini()),
    _gemini(
        "what SDKs send along",
        body=gemini(
            safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            config={
                "maxOutputTokens": 10,
                "temperature": 0.5,
                "topK": 5,
                "topP": 1,
                "stopSequences": ["x"],
                "seed": 1,
                "thinkingConfig": {"thinkingBudget": 0},
            },
        ),
    ),
)

LARGE = (
    _gemini("a video by its address", body=gemini({"fileData": {"fileUri": _ADDRESS, "mimeType": "video/mp4"}})),
    _gemini("stored content", body=gemini(cachedContent="cachedContents/1")),
)
