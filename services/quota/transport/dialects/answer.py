"""An HTTP answer that Envoy sends instead of a provider's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | None


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""
    body: str


def json_answer(status: int, body: Json, *headers: tuple[str, str]) -> HttpAnswer:
    """An answer whose body is JSON."""
    return HttpAnswer(status, (("content-type", "application/json"), *headers), orjson.dumps(body).decode())


def request_id_headers(request_id: str) -> tuple[tuple[str, str], ...]:
    """The request's id where the SDKs of OpenAI (`x-request-id`) and Anthropic (`request-id`) look for it."""
    return (("x-request-id", request_id), ("request-id", request_id)) if request_id else ()
