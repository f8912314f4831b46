"""A provider that bills the work that each request really asks for, in a thread of the test.

It serves all three dialects under one temperament. It attributes calls by a mark that every attack has somewhere in its
text: `mark-`, a number and a word.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.e2e.adversary.asking import Asked, read_openai
from tests.e2e.adversary.asking_elsewhere import read_anthropic, read_gemini
from tests.e2e.adversary.bills import Bill, Books
from tests.e2e.adversary.temperaments import BadBodyError, Members, Temperament, read
from tests.e2e.adversary.writing import document, events
from tests.worlds.http_server import HttpServer, Received

_MARK = re.compile(rb"mark-\d+-[a-z]+")
_GEMINI_PATH = re.compile(r"/models/([^:]+):(\w+)")
_MOST_EVENTS = 20


@dataclass(frozen=True, slots=True)
class Model:
    """What a provider serves."""

    name: str
    window: int
    ceiling: int


MODELS = {
    "openai": Model("gpt-4o", 128_000, 16_384),
    "anthropic": Model("claude-sonnet-4", 200_000, 64_000),
    "gemini": Model("gemini-2.5-pro", 1_048_576, 65_536),
}


class Failure(Enum):
    """How a provider can fail whoever pays it."""

    STATUS = "an error in place of the answer"
    CUT_BEFORE = "a hang-up before the head of the answer"
    CUT_OPENING = "a hang-up after the head of a stream, before its content"
    CUT_WITHIN = "a hang-up within the answer"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a provider behaves towards the calls with one mark."""

    usage: bool = True
    """It reports usage."""
    goes_on: bool = False
    """It writes to the end, and bills it, even when nobody listens any more."""
    head_s: float = 0
    """Before the head of its answer."""
    event_s: float = 0
    """Before each event."""
    cut_s: float = 0
    """Before it hangs up within a stream."""
    output_tokens: int | None = None
    """What it writes, if the request allows it. None: as much as the request allows."""
    fails: Failure | None = None
    """How it fails after it has done and billed all the work. None: it does not."""
    status: int = 500
    """The status of the error in place of the answer."""


@dataclass(eq=False)
class BillingProvider(HttpServer):
    """A server with one temperament. `books` and `manners` belong to the test."""

    temperament: Temperament
    books: Books
    manners: dict[str, Manner] = field(default_factory=dict)
    served: Counter[str] = field(default_factory=Counter)
    """Requests that were served, by mark."""
    unmarked: list[bytes] = field(default_factory=list)
    """Bodies that were served and billed to nobody: there must be none."""

    async def respond(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        """Bills the request, and serves it in the manner that its mark gets."""
        path, headers = request.path, request.headers
        dialect = "gemini" if _GEMINI_PATH.search(path) else "anthropic" if "/messages" in path else "openai"
        try:
            asked = self._read(dialect, path, headers, request.body)
        except BadBodyError as error:
            await _send(writer, 400, {"error": {"message": str(error), "type": "invalid_request_error", "code": 400}})
            return True
        mark = self._mark_of(request.body)
        self.served[mark] += 1
        manner = self.manners.get(mark, Manner())
        if manner.output_tokens is not None:
            asked.output = min(asked.output, manner.output_tokens)
        bill = self.books.open(mark, asked, headers, MODELS[dialect].name)
        if manner.goes_on or manner.fails:
            bill.output_tokens = asked.all_output
        await asyncio.sleep(manner.head_s)
        hides = not manner.usage or _hides_usage(path, headers)
        if manner.fails is Failure.STATUS:
            await _send(writer, manner.status, {"error": {"message": "lost", "type": "server_error"}})
        elif manner.fails is Failure.CUT_BEFORE:
            return False
        elif asked.stream:
            await _stream(writer, dialect, bill, manner, hides=hides)
        else:
            bill.output_tokens = asked.all_output
            await _send(writer, 200, document(dialect, bill, usage=not hides), cut=manner.fails is not None)
        return manner.fails is None or manner.fails is Failure.STATUS

    def _read(self, dialect: str, path: str, headers: Mapping[str, str], body: bytes) -> Asked:
        parsed = read(body, headers.get("content-type", ""), self.temperament)
        return understand(dialect, path, headers, parsed, self.temperament)

    def _mark_of(self, body: bytes) -> str:
        found = _MARK.search(body.replace(b"\0", b""))
        if found is None:
            self.unmarked.append(body)
            return ""
        return found[0].decode()


def understand(dialect: str, path: str, headers: Mapping[str, str], body: Members, temperament: Temperament) -> Asked:
    """The work that a parsed body asks of the intended model."""
    model = MODELS[dialect]
    window = 1_000_000 if "context-1m" in headers.get("anthropic-beta", "") else model.window
    asked = Asked(window=window, ceiling=model.ceiling)
    if dialect == "openai":
        return read_openai(body, asked, temperament)
    if dialect == "anthropic":
        return read_anthropic(body, asked, temperament)
    read_gemini(body, asked, temperament)
    named = _GEMINI_PATH.search(path)
    asked.stream = named is not None and named[2] == "streamGenerateContent"
    if not asked.model and named is not None:
        asked.model = named[1]
    return asked


def _hides_usage(path: str, headers: Mapping[str, str]) -> bool:
    """Google leaves out parts of an answer that a header or the query does not name."""
    query = parse_qs(urlsplit(path).query)
    masks = [headers.get("x-goog-fieldmask", ""), *query.get("fields", ()), *query.get("$fields", ())]
    return any(mask and "usage" not in mask.lower() for mask in masks)


async def _stream(writer: asyncio.StreamWriter, dialect: str, bill: Bill, manner: Manner, *, hides: bool) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    await writer.drain()
    total = bill.asked.all_output
    pieces = max(1, min(_MOST_EVENTS, total))
    last = 0 if manner.fails is Failure.CUT_OPENING else pieces // 2
    for number, event in enumerate(events(dialect, bill, pieces, usage=not hides)):
        await asyncio.sleep(manner.event_s)
        if manner.fails and number == last:
            await asyncio.sleep(manner.cut_s)
            return
        if writer.is_closing():
            return
        bill.output_tokens = max(bill.output_tokens, total * min(number + 1, pieces) // pieces)
        writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        await writer.drain()
        # A write of its own on the wire, and a moment in which a hang-up is noticed.
        await asyncio.sleep(0)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _send(writer: asyncio.StreamWriter, status: int, answer: Any, *, cut: bool = False) -> None:
    body = json.dumps(answer).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + (body[: len(body) // 2] if cut else body))
    await writer.drain()
