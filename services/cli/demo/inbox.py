"""Who gets the demo's alerts: a receiver of signed webhooks, as a finance department could run one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from typing_extensions import override

_POLL_S = 0.1


@dataclass
class Inbox:
    """What came. The last part of an address is the recipient."""

    secret: str
    address: str = ""
    thresholds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Crossed thresholds by recipient. Other alerts are taken and not kept."""

    def take(self, recipient: str, headers: dict[str, str], body: str) -> bool:
        """Takes an alert. Returns whether its signature is right."""
        try:
            said = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            return False
        if said["type"] == "budget.threshold":
            self.thresholds.setdefault(recipient, []).append(said["data"])
        return True

    def wait_for(self, recipients: set[str], timeout_s: float) -> bool:
        """Whether all of these hear of a threshold within that time."""
        deadline = time.monotonic() + timeout_s
        while not recipients <= self.thresholds.keys():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True


@contextlib.contextmanager
def open_inbox(secret: str) -> Iterator[Inbox]:
    """An inbox that listens on the loopback."""
    inbox = Inbox(secret)

    class Handler(BaseHTTPRequestHandler):
        """Takes what is signed."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            is_taken = inbox.take(self.path.rpartition("/")[2], dict(self.headers.items()), body)
            self.send_response(204 if is_taken else 401)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Stays silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    inbox.address = f"http://127.0.0.1:{server.server_port}"
    # For half a minute, in a process without a Runtime.
    threading.Thread(target=server.serve_forever, daemon=True).start()  # noqa: TID251
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
