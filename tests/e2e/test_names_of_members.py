"""Names that a tolerant server takes for known ones get a 400 that says where, and reach no provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {
        "openai": {"targets": ["openai/gpt-4o"]},
        "anthropic": {"targets": ["anthropic/claude-haiku-4-5"]},
        "gemini": {"targets": ["gemini/gemini-2.5-flash"]},
    },
    "policies": [{"name": "all", "limits": [{"spend": 100, "per": "month"}]}],
    "keys": [{"name": "app"}],
}
PATHS = {
    Vendor.OPENAI: "/v1/chat/completions",
    Vendor.ANTHROPIC: "/v1/messages",
    Vendor.GEMINI: "/v1beta/models/gemini:generateContent",
}
TEXT = "Answer in 5 tokens."
KELVIN = "\u212a"


@dataclass(frozen=True)
class Ask:
    """A body with one wrong name."""

    vendor: Vendor
    body: str
    told: str
    """The refusal's words for it."""


def chat(members: str, message: str = "") -> str:
    """A body in OpenAI's and Anthropic's dialect with additional members, at its top or in its message."""
    return f'{{"model": "@", "messages": [{{"role": "user", "content": "{TEXT}"{message}}}]{members}}}'


def gemini(members: str = "", part: str = f'{{"text": "{TEXT}"}}') -> str:
    return f'{{"contents": [{{"role": "user", "parts": [{part}]}}]{members}}}'


def openai_and_anthropic() -> Iterator[Ask]:
    for vendor in (Vendor.OPENAI, Vendor.ANTHROPIC):
        for members, told in (
            (', "Max_Tokens": 9', "'Max_Tokens' in the body must be written 'max_tokens'"),
            (', "max_tokens": 5, "MAX_TOKENS": 9', "'MAX_TOKENS' in the body must be written 'max_tokens'"),
            (', "MODEL": "dear"', "'MODEL' in the body must be written 'model'"),
            (', "max_tokens": 5, "max_tokens": 9', "'max_tokens' in the body appears twice"),
            (f', "max_to{KELVIN}ens": 9', "a name in the body is written with escapes"),
            (', "max_to\\u006bens": 9', "a name in the body is written with escapes"),
        ):
            yield Ask(vendor, chat(members).replace("@", vendor), told)
        inside = chat(', "max_tokens": 9', ', "Content": "more"').replace("@", vendor)
        yield Ask(vendor, inside, "'Content' in 'messages' must be written 'content'")


SETTINGS = ', "generationConfig": {"maxOutputTokens": 5, %s}'
ASKS = [
    *openai_and_anthropic(),
    *(
        Ask(Vendor.GEMINI, body, told)
        for body, told in (
            (gemini(', "GenerationConfig": {"maxOutputTokens": 9}'),
             "'GenerationConfig' in the body must be written 'generationConfig'"),
            (gemini(', "generationConfig": {"MaxOutputTokens": 9}'),
             "'MaxOutputTokens' in 'generationConfig' must be written 'maxOutputTokens'"),
            (gemini(SETTINGS % '"MaxOutputTokens": 9'),
             "'MaxOutputTokens' in 'generationConfig' must be written 'maxOutputTokens'"),
            (gemini(SETTINGS % '"max_output_tokens": 9'), "'max_output_tokens' in 'generationConfig' appears twice"),
            (gemini(SETTINGS % f'"maxOutputTo{KELVIN}ens": 9'), "a name in 'generationConfig' is written with escapes"),
            (gemini(', "generationConfig": {}, "generation_config": {"maxOutputTokens": 9}'),
             "'generation_config' in the body appears twice"),
            (gemini(', "systemInstruction": {"parts": []}, "system_instruction": {"parts": [{"text": "more"}]}'),
             "'system_instruction' in the body appears twice"),
            (gemini(', "Contents": []'), "'Contents' in the body must be written 'contents'"),
            (gemini(', "CachedContent": "cachedContents/1"'),
             "'CachedContent' in the body must be written 'cachedContent'"),
            (gemini(part='{"Text": "more"}'), "'Text' in 'contents.parts' must be written 'text'"),
            (gemini(part='{"FileData": {"fileUri": "gs://a/b"}}'),
             "'FileData' in 'contents.parts' must be written 'fileData'"),
            (gemini(part='{"inlineData": {"MimeType": "image/png", "data": "AAAA"}}'),
             "'MimeType' in 'contents.parts.inlineData' must be written 'mimeType'"),
            (gemini(part='{"inlineData": {"mimeType": "image/png", "mime_type": "video/mp4", "data": "AAAA"}}'),
             "'mime_type' in 'contents.parts.inlineData' appears twice"),
        )
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("names"), CONFIGURATION, vendors) as running:
        yield running


def post(gateway: Gateway, vendor: Vendor, body: str) -> httpx.Response:
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    return gateway.http("app").post(PATHS[vendor], content=body.encode(), headers=headers)


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: f"{ask.vendor}: {ask.told}")
def test_a_name_that_another_reader_takes_for_a_known_one_is_reported_in_the_callers_dialect(
    gateway: Gateway, providers: Providers, ask: Ask
) -> None:
    answer = post(gateway, ask.vendor, ask.body)

    assert answer.status_code == 400, answer.text
    document = answer.json()
    assert ask.told in document["error"]["message"]
    assert envelope(ask.vendor, document) == ENVELOPES[ask.vendor]
    assert not any(providers.requests(vendor) for vendor in Vendor)


ENVELOPES: dict[Vendor, tuple[Any, ...]] = {
    Vendor.OPENAI: ("invalid_request_error", "invalid_request"),
    Vendor.ANTHROPIC: ("error", "invalid_request_error"),
    Vendor.GEMINI: (400, "INVALID_ARGUMENT"),
}


def envelope(vendor: Vendor, document: dict[str, Any]) -> tuple[Any, ...]:
    """The parts of an error that a vendor's SDK reads."""
    error = document["error"]
    match vendor:
        case Vendor.OPENAI:
            return error["type"], error["code"]
        case Vendor.ANTHROPIC:
            return document["type"], error["type"]
        case Vendor.GEMINI:
            return error["code"], error["status"]


GOOD = {
    Vendor.OPENAI: chat(', "max_tokens": 5').replace("@", "openai"),
    Vendor.ANTHROPIC: chat(', "max_tokens": 5').replace("@", "anthropic"),
    Vendor.GEMINI: gemini(', "generation_config": {"max_output_tokens": 5}, "system_instruction": {"parts": []}'),
}


@pytest.mark.parametrize("vendor", Vendor)
def test_the_same_bodies_with_the_right_names_are_served(
    gateway: Gateway, providers: Providers, vendor: Vendor
) -> None:
    json.loads(GOOD[vendor])

    assert post(gateway, vendor, GOOD[vendor]).status_code == 200
    assert len(providers.requests(vendor)) == 1
