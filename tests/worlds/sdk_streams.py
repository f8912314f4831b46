"""The streams of the official SDKs: what each makes of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import anthropic
import httpx
import httpx2
import openai
from google import genai

ASK: Any = [{"role": "user", "content": "hello"}]
_STREAM = {"content-type": "text/event-stream"}
_bodies: list[bytes] = []


@dataclass(slots=True)
class Seen:
    """What a program saw of a stream."""

    texts: list[str]
    finished: bool = False
    """Something said why or that the answer ended."""
    error: Exception | None = None
    """What the SDK raised."""


def read_stream(dialect: str, body: bytes) -> Seen:
    """Reads `body`, without a network, with the SDK of a dialect, as its documentation shows."""
    _bodies[:] = [body]
    return _read(dialect, _canned(dialect))


def call_stream(dialect: str, base_url: str, key: str) -> Seen:
    """Makes a call with the SDK of a dialect. The SDK retries nothing."""
    return _read(dialect, _SDKS[dialect](base_url, key, None))


def _read(dialect: str, sdk: Any) -> Seen:
    seen = Seen([])
    try:
        _READERS[dialect](sdk, seen)
    except Exception as error:  # noqa: BLE001 -- whatever it raises is what the program gets
        seen.error = error
    return seen


@cache
def _canned(dialect: str) -> Any:
    # Anthropic's SDK wants the successor of `httpx`.
    library: Any = httpx2 if dialect == "anthropic" else httpx
    answer = library.MockTransport(lambda _: library.Response(200, headers=_STREAM, content=_bodies[0]))
    return _SDKS[dialect]("http://test", "k", library.Client(transport=answer))


def _openai(base_url: str, key: str, client: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{base_url}/v1", http_client=client, max_retries=0)


def _read_openai(sdk: openai.OpenAI, seen: Seen) -> None:
    for chunk in sdk.chat.completions.create(model="m", messages=ASK, stream=True):
        for choice in chunk.choices or []:
            seen.texts.append(choice.delta.content or "")
            seen.finished = seen.finished or choice.finish_reason is not None


def _anthropic(base_url: str, key: str, client: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=key, base_url=base_url, http_client=client, max_retries=0)


def _read_anthropic(sdk: anthropic.Anthropic, seen: Seen) -> None:
    for event in sdk.messages.create(model="m", max_tokens=9, messages=ASK, stream=True):
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            seen.texts.append(event.delta.text)
        seen.finished = seen.finished or event.type == "message_stop"


def _gemini(base_url: str, key: str, client: Any) -> genai.Client:
    return genai.Client(api_key=key, http_options=genai.types.HttpOptions(base_url=base_url, httpx_client=client))


def _read_gemini(sdk: genai.Client, seen: Seen) -> None:
    for chunk in sdk.models.generate_content_stream(model="m", contents="hello"):
        for candidate in chunk.candidates or []:
            parts = (candidate.content.parts if candidate.content else None) or []
            seen.texts.extend(part.text or "" for part in parts)
            seen.finished = seen.finished or candidate.finish_reason is not None


_SDKS: dict[str, Callable[[str, str, Any], Any]] = {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini}
_READERS: dict[str, Callable[[Any, Seen], None]] = {
    "openai": _read_openai,
    "anthropic": _read_anthropic,
    "gemini": _read_gemini,
}
