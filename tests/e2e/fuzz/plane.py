"""A gateway before providers that answer what a case says, and a client that looks at everything that it gets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from services.kernel.dialect import CAPABILITIES, Dialect
from tests.e2e.fuzz.cases import Case, Part, Reply, error_reply, good_reply
from tests.worlds.gateway import Gateway, run_gateway
from tests.worlds.http_server import HttpServer, Received, serving

CALL_TIMEOUT_S = 15
"""A call that takes longer hangs. No provider waits with its answer."""
_AT_ONCE = 16
_CREDENTIAL_HEADERS = {
    Dialect.OPENAI: "authorization",
    Dialect.ANTHROPIC: "x-api-key",
    Dialect.GEMINI: "x-goog-api-key",
}
PROVIDERS = {
    "chat": Dialect.OPENAI,
    "messages": Dialect.ANTHROPIC,
    "gemini": Dialect.GEMINI,
    "spare-chat": Dialect.OPENAI,
    "spare-messages": Dialect.ANTHROPIC,
}
_PRICE = {"input": 1, "output": 2, "cached_input": 0.5, "cache_write_5m": 1.25, "cache_write_1h": 2}
_TARGETS = {"gpt": "chat/gpt-4o", "claude": "messages/claude-haiku-4-5", "gem": "gemini/gemini-2.5-flash"}
_SPARES = {"gpt-spared": ("gpt", "spare-messages/claude-haiku-4-5"), "claude-spared": ("claude", "spare-chat/gpt-4o")}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got."""

    status: int
    """0: nothing, or nothing that is HTTP."""
    head: bytes = b""
    body: bytes = b""
    is_whole: bool = False
    """It ended as its head said."""
    hangs: bool = False

    @property
    def served(self) -> str:
        """The target that answered; empty: none did."""
        _, _, served = self.head.partition(b"\r\nx-spendgate-model-served: ")
        return served.split(b"\r\n")[0].decode()

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events. A compressed one is not: nobody on the way reads it."""
        head = self.head.lower().replace(b"\r\ncontent-encoding: identity", b"")
        is_events = b"\r\ncontent-type: text/event-stream" in head and b"\r\ncontent-encoding: " not in head
        return is_events and self.status < 400

    @property
    def is_overload(self) -> bool:
        """Whether the gateway had no time for it, as happens on a busy machine."""
        return self.status == 503 and b"cannot decide on this request now" in self.body


@dataclass(eq=False)
class DamagedProvider(HttpServer):
    """A provider of one dialect. It answers the calls of `cases` as those say, by their trace, and others well."""

    name: str
    credential: str
    cases: dict[str, Case]
    problems: list[str]
    """What is wrong with requests that reached it."""
    foreign: tuple[str, ...] = ()
    """Credentials that are not its own."""
    served: set[str] = field(default_factory=set)
    """The traces of the calls that reached it."""

    @property
    def dialect(self) -> Dialect:
        """The dialect that it speaks."""
        return PROVIDERS[self.name]

    async def respond(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        """Checks the request, and answers it."""
        trace = request.headers.get("traceparent", "").split("-")[1]
        case = self.cases[trace]
        self.served.add(trace)
        self._check(request, case)
        reply = self._reply(request, case)
        with contextlib.suppress(ConnectionError):
            writer.write(reply.head)
            for piece in reply.pieces:
                writer.write(piece)
                await writer.drain()
                # A write of its own on the wire.
                await asyncio.sleep(0)
        return not reply.cut

    def _check(self, request: Received, case: Case) -> None:
        said = f"{request.path} {request.headers}"
        if any(secret in said or secret.encode() in request.body for secret in self.foreign):
            self.problems.append(f"{case}: {self.name} got a credential that is not its own: {said}")
        if self.credential not in request.headers.get(_CREDENTIAL_HEADERS[self.dialect], ""):
            self.problems.append(f"{case}: {self.name} did not get its credential: {said}")
        # A text or name with a control character is no JSON, and passes as the client wrote it.
        if self.dialect is not case.direction.client and _is_json(case.request()[1]) and not _is_json(request.body):
            self.problems.append(f"{case}: the translator wrote no JSON: {request.body[:500]!r}")

    def _reply(self, request: Received, case: Case) -> Reply:
        if case.part is not Part.REQUEST and not self.name.startswith("spare"):
            return case.reply(self.credential)
        try:
            body = json.loads(request.body)
            streams = "streamGenerateContent" in request.path or body.get("stream") is True
        except (ValueError, AttributeError, RecursionError):
            return error_reply(self.dialect)
        return good_reply(self.dialect, streams, case.random("good"))


@dataclass
class FuzzPlane:
    """Running."""

    gateway: Gateway
    providers: dict[str, DamagedProvider]
    cases: dict[str, Case]
    problems: list[str]
    """Of requests that reached a provider."""

    @property
    def credentials(self) -> list[bytes]:
        """All that no client may see."""
        secrets_of_keys = [self.gateway.secret("app")]
        return [text.encode() for text in (*secrets_of_keys, *(each.credential for each in self.providers.values()))]

    def run(self, cases: Sequence[Case]) -> list[tuple[Case, Answer]]:
        """Makes all calls, some at a time."""
        return asyncio.run(self._run(cases))

    def reached(self) -> int:
        """How many calls reached a provider."""
        return len(set[str]().union(*(each.served for each in self.providers.values())))

    async def _run(self, cases: Sequence[Case]) -> list[tuple[Case, Answer]]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(case: Case) -> tuple[Case, Answer]:
            async with room:
                return case, await self._call(case)

        return await asyncio.gather(*map(one, cases))

    async def _call(self, case: Case) -> Answer:
        self.cases[trace_of(case)] = case
        message = self.message(case)
        received = bytearray()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                address = urlsplit(self.gateway.url)
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                with contextlib.closing(writer):
                    writer.write(message)
                    with contextlib.suppress(ConnectionError):
                        while piece := await reader.read(65_536):
                            received += piece
        except TimeoutError:
            return Answer(0, bytes(received), hangs=True)
        return read_answer(bytes(received))

    def message(self, case: Case) -> bytes:
        """The bytes of a request."""
        trace = trace_of(case)
        path, body = case.request()
        secret, random = self.gateway.secret("app"), case.random("key")
        headers = [f"authorization: Bearer {secret}"]
        if case.direction.client is not Dialect.OPENAI:
            headers = [f"{_CREDENTIAL_HEADERS[case.direction.client]}: {secret}"]
        if random.random() < 0.2:
            # The same key once more, where another SDK has it.
            name = "x-goog-api-key" if case.direction.client is not Dialect.GEMINI else "x-api-key"
            headers.append(f"{name}: {secret}")
        if case.direction.client is Dialect.ANTHROPIC:
            headers.append("anthropic-version: 2023-06-01")
        lines = [
            f"POST {path} HTTP/1.1", "host: gateway", "connection: close", "content-type: application/json",
            f"content-length: {len(body)}", f"traceparent: 00-{trace}-{trace[:16]}-00", *headers,
        ]  # fmt: skip
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def trace_of(case: Case) -> str:
    """The trace of a case, by which its provider knows it even if its body is damaged."""
    return hashlib.sha256(str(case).encode()).hexdigest()[:32]


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def read_answer(received: bytes) -> Answer:
    """Reads what came on a connection until its end."""
    head, separator, rest = received.partition(b"\r\n\r\n")
    if not separator or not head.startswith(b"HTTP/1.1 "):
        return Answer(0, received)
    status = int(head.split(b" ", 2)[1])
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        body, is_whole = _dechunked(rest)
        return Answer(status, head, body, is_whole)
    _, found, length = lower.partition(b"\r\ncontent-length: ")
    is_whole = not found or len(rest) == int(length.split(b"\r\n")[0])
    return Answer(status, head, rest, is_whole)


def _dechunked(rest: bytes) -> tuple[bytes, bool]:
    body = b""
    while True:
        size, separator, rest = rest.partition(b"\r\n")
        if not separator:
            return body, False
        length = int(size, 16)
        if length == 0:
            return body, rest == b"\r\n"
        if len(rest) < length + 2:
            return body + rest[:length], False
        body, rest = body + rest[:length], rest[length + 2 :]


@contextlib.contextmanager
def run_fuzz_plane(folder: Path) -> Iterator[FuzzPlane]:
    """Runs a gateway with all directions."""
    cases: dict[str, Case] = {}
    problems: list[str] = []
    # The same in each run, because what is damaged depends on the length of an answer.
    keys = {name: f"credential-of-{name}-{hashlib.sha256(name.encode()).hexdigest()[:24]}" for name in PROVIDERS}
    providers = {name: DamagedProvider(name, key, cases, problems) for name, key in keys.items()}
    with serving(providers.values()):
        environment = {_variable(name): key for name, key in keys.items()}
        with run_gateway(folder, _configuration(providers), environment=environment) as gateway:
            plane = FuzzPlane(gateway, providers, cases, problems)
            for provider in providers.values():
                others = [key for name, key in keys.items() if name != provider.name]
                provider.foreign = (gateway.secret("app"), *others)
            yield plane


def _variable(provider: str) -> str:
    return f"FUZZ_{provider.upper().replace('-', '_')}"


def _configuration(providers: dict[str, DamagedProvider]) -> dict[str, Any]:
    models: dict[str, Any] = {name: {"targets": [target]} for name, target in _TARGETS.items()}
    models |= {
        name: {"targets": [_TARGETS[first]], "fallbacks": [{"to": [spare]}]} for name, (first, spare) in _SPARES.items()
    }
    targets = {*_TARGETS.values(), *(spare for _, spare in _SPARES.values())}
    return {
        "providers": {
            name: {
                "protocol": provider.dialect.value,
                "base_url": f"http://127.0.0.1:{provider.port}" + ("/v1" if provider.dialect is Dialect.OPENAI else ""),
                "api_key": {"env": _variable(name)},
                "models": {
                    model: {"carries": sorted(CAPABILITIES)}
                    for owner, _, model in (target.partition("/") for target in targets)
                    if owner == name
                },
            }
            for name, provider in providers.items()
        },
        "models": models,
        "prices": dict.fromkeys(targets, _PRICE),
        "policies": [{"name": "everybody", "limits": [{"spend": 9_000_000, "per": "month"}]}],
        "keys": [{"name": "app"}],
    }


def tally(answers: Sequence[tuple[Case, Answer]]) -> Counter[str]:
    """How many calls had each status, by direction and part."""
    return Counter(f"{case.direction}/{case.part}: {answer.status}" for case, answer in answers)
