"""Who gets alerts: a real HTTP server for webhooks, and a real SMTP server. Both on the loopback."""

from __future__ import annotations

import contextlib
import email
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from typing_extensions import override

from tests.worlds.ports import free_port


@dataclass(frozen=True, slots=True)
class Posted:
    """What a webhook got."""

    status: int
    """That it was answered with."""
    headers: dict[str, str]
    """Names in lower case."""
    body: str


@dataclass
class Hook:
    """A receiver of webhooks."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    """The statuses of the next answers. After them it answers 204."""
    posted: list[Posted] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def taken(self) -> list[Posted]:
        """What it accepted."""
        return [each for each in self.posted if each.status < 300]


@contextlib.contextmanager
def hook() -> Iterator[Hook]:
    """A webhook that listens."""
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        """Answers what the test asks for."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            status = found.answers.pop(0) if found.answers else 204
            found.posted.append(Posted(status, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("content-length", "0")
            if status == 302:
                self.send_header("location", found.url)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Stays silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Mailbox:
    """A mail server that takes everything."""

    port: int
    mails: list[Message] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address of Apprise for a mail through it."""
        return f"mailto://127.0.0.1:{self.port}/?from=gateway@example.com&to=lead@example.com&mode=insecure"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Takes a mail, as aiosmtpd calls it."""
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(email.message_from_bytes(content))
        return "250 OK"


@contextlib.contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A mail server that listens."""
    found = Mailbox(free_port())
    controller = Controller(found, hostname="127.0.0.1", port=found.port)
    controller.start()
    try:
        yield found
    finally:
        controller.stop()
