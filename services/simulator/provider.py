"""One simulated vendor: its endpoints, its own API key, its faults, and a record of every request it received."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.kernel.clock import Clock
from services.kernel.usage import REASONING, Usage
from services.simulator.anthropic_wire import AnthropicWire
from services.simulator.completions_wire import CompletionsWire
from services.simulator.conversation import BadRequestError
from services.simulator.counting import AnthropicCounting, GeminiCounting, Moderations
from services.simulator.delivery import Document, Pace, Stream
from services.simulator.faults import Fault, FaultKind, FaultScript, Latency
from services.simulator.gemini_wire import GeminiWire
from services.simulator.model import answer
from services.simulator.openai_wire import OpenAiWire
from services.simulator.prompt_cache import PromptCache
from services.simulator.responses_wire import ResponsesWire
from services.simulator.vectors import GeminiVectors, OpenAiVectors
from services.simulator.wire import Answer, Wire

# As generous as real vendors: OpenAI and Anthropic accept 32 MB.
_MAX_BODY_BYTES = 32 * 1024 * 1024
# Every run draws the same latencies.
_SEED = 0
_GEMINI_METHODS: Mapping[str, Callable[[bool], GeminiWire]] = {
    "generateContent": lambda as_sse: GeminiWire(as_sse=as_sse),
    "streamGenerateContent": lambda as_sse: GeminiWire(stream=True, as_sse=as_sse),
    "embedContent": lambda _: GeminiVectors(batch=False),
    "batchEmbedContents": lambda _: GeminiVectors(batch=True),
    "countTokens": lambda _: GeminiCounting(),
}


class Vendor(StrEnum):
    """The vendor whose endpoints are served."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


# The remaining quota of the account that all clients share. OpenAI and Anthropic send it with every answer.
_ACCOUNT_LIMITS: Mapping[Vendor, Mapping[str, str]] = {
    Vendor.OPENAI: {"x-ratelimit-remaining-requests": "9999", "x-ratelimit-remaining-project-tokens": "199000"},
    Vendor.ANTHROPIC: {
        "anthropic-ratelimit-requests-remaining": "3999",
        "anthropic-ratelimit-output-tokens-remaining": "80000",
    },
    Vendor.GEMINI: {},
}


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as the provider received it."""

    number: int
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def attempt(self) -> int:
        """The gateway's number for this attempt; 1 if it sends none."""
        return int(self.headers.get("x-envoy-attempt-count", "1"))

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Bill:
    """The provider's charge for a request: for the work it did, whether or not anybody received it."""

    number: int
    """Number of the request."""
    model: str
    usage: Usage


class SimulatedProvider:
    """A vendor. `app` serves it; tests and the demo control the other attributes.

    `stops` is whether a stream stops when its client hangs up. Otherwise it runs to the end and is billed in full. A
    whole document is always made before its first byte is sent.
    """

    def __init__(self, vendor: Vendor, api_key: str, clock: Clock) -> None:
        self.vendor = vendor
        self.api_key = api_key
        self.faults = FaultScript()
        self.latency = Latency()
        self.requests: list[ReceivedRequest] = []
        self.bills: list[Bill] = []
        self.stops = True
        self._clock = clock
        self._cache = PromptCache()
        self._random = random.Random(_SEED)  # noqa: S311  (draws latencies)
        self.app = Starlette(routes=_routes(vendor, self))

    async def serve(self, request: Request, wire: Wire, model: str, authorized: Callable[[Request], bool]) -> Response:
        """Answers one request in the dialect of `wire`."""
        received = await self._record(request)
        if not authorized(request):
            return _failure(wire, 401, "Incorrect API key provided.")
        if isinstance(wire, AnthropicWire) and "anthropic-version" not in request.headers:
            return _failure(wire, 400, "anthropic-version: header is required")
        try:
            body = orjson.loads(received.body)
            conversation = wire.conversation(model, body)
        except (BadRequestError, orjson.JSONDecodeError, AttributeError, TypeError, KeyError) as error:
            return _failure(wire, 400, str(error))
        fault = self.faults.next_for(conversation.model)
        if fault is not None and fault.kind is FaultKind.STATUS:
            return _failure(wire, fault.status, f"simulated fault {fault.status}", fault.retry_after_s)
        replies = (answer(conversation),) * conversation.choices
        usage = self._cache.usage(conversation, replies)
        if fault is not None and fault.kind is FaultKind.OVERBILL:
            allowed = (conversation.max_output_tokens or 0) * conversation.choices
            usage = replace(usage, output_tokens=fault.factor * max(allowed, usage.output_tokens))
        finished = Answer(
            number=received.number,
            created_s=self._clock.now_ms() // 1000,
            conversation=conversation,
            replies=replies,
            usage=None if fault is not None and fault.kind is FaultKind.NO_USAGE else usage,
        )
        return self._deliver(wire, finished, fault, usage)

    def _deliver(self, wire: Wire, finished: Answer, fault: Fault | None, usage: Usage) -> Response:
        wait_s = self.latency.first_byte_s(self._random)
        if fault is not None and fault.kind is FaultKind.SLOW_FIRST_BYTE:
            wait_s = fault.delay_ms / 1000
        response: Response
        if finished.conversation.stream:
            response = Stream(
                wire.events(finished),
                wire.stream_media_type,
                Pace(wait_s, self.latency.event_ms / 1000),
                fault,
                bill=lambda made: self._bill(finished, usage, made),
                stops=self.stops,
            )
        else:
            self._bill(finished, usage, usage.output_tokens)
            response = Document(wire.document(finished), wait_s, fault)
        response.headers.update(_ACCOUNT_LIMITS[self.vendor])
        return response

    def _bill(self, finished: Answer, usage: Usage, made: int) -> None:
        if made < sum(reply.output_tokens for reply in finished.replies):
            # Thoughts come first.
            usage = replace(
                usage,
                output_tokens=made,
                meters={**usage.meters, REASONING: min(usage.reasoning_tokens, made)},
            )
        self.bills.append(Bill(finished.number, finished.conversation.model, usage))

    async def _record(self, request: Request) -> ReceivedRequest:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY_BYTES:
                break
        received = ReceivedRequest(
            number=len(self.requests) + 1,
            path=request.url.path,
            query=dict(request.query_params),
            headers=dict(request.headers),
            body=bytes(body),
        )
        self.requests.append(received)
        return received


def _routes(vendor: Vendor, provider: SimulatedProvider) -> list[Route]:
    if vendor is Vendor.OPENAI:
        return [
            _route(provider, "/v1/chat/completions", OpenAiWire(), _bearer),
            _route(provider, "/v1/embeddings", OpenAiVectors(), _bearer),
            _route(provider, "/v1/responses", ResponsesWire(), _bearer),
            _route(provider, "/v1/completions", CompletionsWire(), _bearer),
            _route(provider, "/v1/moderations", Moderations(), _bearer),
        ]
    if vendor is Vendor.ANTHROPIC:
        return [
            _route(provider, "/v1/messages", AnthropicWire(), _anthropic_key),
            _route(provider, "/v1/messages/count_tokens", AnthropicCounting(), _anthropic_key),
            _route(provider, "/v1/chat/completions", OpenAiWire(caches=False), _bearer),
        ]
    compatible = OpenAiWire(lists_errors=True)
    return [
        _gemini_route(provider, "/v1beta/models/{call:path}"),
        _gemini_route(provider, "/v1/models/{call:path}"),
        _route(provider, "/v1beta/openai/chat/completions", compatible, _bearer),
        _route(provider, "/v1beta/openai/embeddings", OpenAiVectors(lists_errors=True), _bearer),
    ]


Authorizes = Callable[[Request, str], bool]


def _route(provider: SimulatedProvider, path: str, wire: Wire, authorizes: Authorizes) -> Route:
    async def endpoint(request: Request) -> Response:
        return await provider.serve(request, wire, "", lambda asked: authorizes(asked, provider.api_key))

    return Route(path, endpoint, methods=["POST"])


def _gemini_route(provider: SimulatedProvider, path: str) -> Route:
    async def endpoint(request: Request) -> Response:
        model, _, method = request.path_params["call"].rpartition(":")
        as_sse = request.query_params.get("alt") == "sse"
        make = _GEMINI_METHODS.get(method)
        wire = make(as_sse) if make else GeminiWire()
        if make is None:
            return _failure(wire, 404, f"unknown method {method!r}")
        return await provider.serve(request, wire, model, lambda asked: _google_key(asked, provider.api_key))

    return Route(path, endpoint, methods=["POST"])


def _bearer(request: Request, api_key: str) -> bool:
    return request.headers.get("authorization") == f"Bearer {api_key}"


def _anthropic_key(request: Request, api_key: str) -> bool:
    # The SDK has sent a bearer token since 2.12; the API's documentation still says x-api-key.
    return request.headers.get("x-api-key") == api_key or _bearer(request, api_key)


def _google_key(request: Request, api_key: str) -> bool:
    return api_key in {request.headers.get("x-goog-api-key"), request.query_params.get("key")}


def _failure(wire: Wire, status: int, message: str, retry_after_s: float | None = None) -> Response:
    headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
    return Document(wire.failure(status, message), status=status, headers=headers)
