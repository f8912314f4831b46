"""Attacks by headers, charsets and paths, in all three dialects."""

from __future__ import annotations

import gzip
import json
from functools import partial

from tests.e2e.adversary.attack import MARK, MODEL, NEARLY, Attack, Headers, chat, claude, gemini

_openai = partial(Attack, dialect="openai")
_MANY = 16_000
_DEAR = {
    "openai": chat(max_tokens=1_000),
    "anthropic": claude(max_tokens=1_000),
    "gemini": gemini(config={"maxOutputTokens": 1_000}),
}
# Bytes that one decoder reads as part of a string close it for another, and a larger bound follows.
_BREAK_OUT = f'"}}],"max_completion_tokens":{_MANY},"more":[{{"a":"'


def _json(charset: str) -> Headers:
    return (("content-type", f"application/json{charset}"),)


def _broken_out(escaped: str) -> str:
    """A body whose text ends early for a reader that decodes `escaped`."""
    return chat().replace(f'"{MARK}"', f'"{MARK}{escaped}"')


_UTF7 = _BREAK_OUT.encode("utf-7").decode().replace('"', "+ACI-").replace("{", "+AHs-").replace("}", "+AH0-")
_OVERLONG = chat().encode().replace(MARK.encode(), MARK.encode() + _BREAK_OUT.encode().replace(b'"', b"\xc0\xa2"))
_BROKEN_NAME = chat().encode()[:-1] + b',"max_to\xffkens":%d}' % _MANY
_BROKEN_NEWER = chat().encode()[:-1] + b',"max_completion_\x80tokens":%d}' % _MANY

CHARSETS = (
    _openai("UTF-7 that closes a string", body=_broken_out(_UTF7), headers=_json("; charset=utf-7")),
    _openai("UTF-7 in quotes and capitals", body=_broken_out(_UTF7), headers=_json('; CHARSET="UTF-7"')),
    _openai("two charsets", body=_broken_out(_UTF7), headers=_json("; charset=utf-8; charset=utf-7")),
    _openai("a charset behind a strange parameter", body=_broken_out(_UTF7), headers=_json(";x=y;charset=utf-7")),
    _openai(
        "two content types",
        body=_broken_out(_UTF7),
        headers=(*_json(""), ("content-type", "application/json; charset=utf-7")),
    ),
    _openai("a content type in a list", body=_broken_out(_UTF7), headers=_json(", application/json; charset=utf-7")),
    _openai(
        "JSON with padding", body=_broken_out(_UTF7), headers=(("content-type", "application/jsonp;charset=utf-7"),)
    ),
    _openai(
        "a content type that begins like JSON",
        body=chat(max_tokens=_MANY),
        headers=(("content-type", "application/json-patch+json"),),
    ),
    _openai("a form", body=chat(max_tokens=_MANY), headers=(("content-type", "multipart/form-data; boundary=x"),)),
    _openai("UTF-16", body=chat(max_tokens=_MANY), encoding="utf-16", headers=_json("; charset=utf-16")),
    _openai("UTF-16 of which nobody speaks", body=chat(max_tokens=_MANY), encoding="utf-16-le"),
    _openai("UTF-32 of which nobody speaks", body=chat(max_tokens=_MANY), encoding="utf-32-be"),
    _openai("a byte order mark", body=chat(max_tokens=_MANY), encoding="utf-8-sig"),
    _openai("EBCDIC", body=chat(max_tokens=_MANY), encoding="cp037", headers=_json("; charset=cp037")),
    _openai("overlong quotes", body=_OVERLONG),
    _openai("a name with a byte that is no UTF-8", body=_BROKEN_NAME),
    _openai("a newer name with a byte that is no UTF-8", body=_BROKEN_NEWER),
    _openai("a name with a byte that is no UTF-8, as Latin-1", body=_BROKEN_NAME, headers=_json("; charset=latin-1")),
    _openai(
        "a compressed body",
        body=gzip.compress(chat(max_tokens=_MANY).encode(), mtime=0),
        headers=(("content-encoding", "gzip"),),
    ),
    _openai(
        "a body that is compressed the second time it is asked",
        body=chat(max_tokens=_MANY),
        headers=(("content-encoding", "identity"), ("content-encoding", "gzip")),
    ),
)

_OVERRIDES: dict[str, str] = {
    "x-portkey-config": json.dumps({"provider": "dear"}),
    "x-portkey-provider": "dear",
    "x-litellm-model": "dear",
    "helicone-model-override": "dear",
    "x-model": "dear",
    "x-azureml-model-deployment": "dear",
    "x-original-url": "/v1/models/dear",
    "x-rewrite-url": "/v1/models/dear",
    "x-forwarded-uri": "/v1/models/dear",
    "x-target-url": "https://example.com/dear",
    "x-dashscope-plugin": "search",
}
HEADERS = (
    *(
        Attack(f"the header {name} to a provider of {dialect}'s dialect", dialect, body, ((name, value),))
        for name, value in _OVERRIDES.items()
        for dialect, body in _DEAR.items()
    ),
    Attack(
        "a dearer kind of request by a header",
        "gemini",
        gemini(config={"maxOutputTokens": NEARLY}),
        (("x-vertex-ai-llm-shared-request-type", "priority"),),
    ),
    Attack(
        "a dearer tier by a header",
        "anthropic",
        claude(max_tokens=NEARLY),
        (("x-amzn-bedrock-service-tier", "priority"),),
    ),
    _openai(
        "no usage by a header for Google", body=chat(max_tokens=NEARLY), headers=(("x-goog-fieldmask", "choices"),)
    ),
)

_DEAR_PATHS = (
    "//v1/chat/completions",
    "/v1/chat/completions/",
    "/v1%2fchat/completions",
    "/v1/chat%2Fcompletions",
    "/v1/chat/completions;model=dear",
    "/v1/chat/completions.",
    "/v1/./chat/completions",
    "/v1/x/../chat/completions",
    "/v1/chat/completions?model=dear&n_predict=16000",
    "/v1/chat/completions%3Fmodel=dear",
    "/V1/chat/completions",
    "/v1/chat/completions#x",
    "/v1/chat/completions:generateContent",
    "/v1/messages/../chat/completions",
    "/v1beta/openai/chat/completions",
)
_GEMINI_PATHS = (
    f"/v1beta/models/{MODEL}%2F..%2Fdear:generateContent",
    f"/v1beta/models/{MODEL}/../dear:generateContent",
    f"/v1beta/models/dear%2f{MODEL}:generateContent",
    f"/v1beta/models/{MODEL}:generateContent:streamGenerateContent",
    f"/v1beta/models/{MODEL}%3AgenerateContent:generateContent",
    f"/v1beta/models/{MODEL}:generateContent?model=dear",
    f"/v1beta//models/{MODEL}:generateContent",
    f"/v1beta/models/{MODEL}:batchGenerateContent",
    f"/v1beta/tunedModels/{MODEL}:generateContent",
    f"/v1/models/{MODEL}:generateContent?$httpMethod=PUT",
)
PATHS = tuple(_openai(f"the path {path}", body=chat(max_tokens=_MANY), path=path) for path in _DEAR_PATHS) + tuple(
    Attack(f"the path {path}", "gemini", gemini(config={"maxOutputTokens": 60_000}), path=path)
    for path in _GEMINI_PATHS
)

ATTACKS = (*CHARSETS, *HEADERS, *PATHS)

HONEST = (
    _openai("a charset that is named", body=chat(), headers=_json("; charset=utf-8")),
    _openai("a charset in capitals and quotes", body=chat(), headers=_json('; charset="UTF-8"')),
    Attack(
        "a version and a beta",
        "anthropic",
        claude(),
        (("anthropic-version", "2023-06-01"), ("anthropic-beta", "fine-grained-tool-streaming-2025-05-14")),
    ),
    _openai(
        "headers of an SDK",
        body=chat(),
        headers=(
            ("x-stainless-lang", "python"),
            ("x-stainless-retry-count", "0"),
            ("user-agent", "OpenAI/Python 2.0"),
            ("accept", "application/json"),
            ("accept-encoding", "gzip, deflate"),
        ),
    ),
)
