"""A real HTTP server that gives the same answer to every request and counts them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from services.quota.transport.dialects.answer import HttpAnswer


class ReplayServer:
    """Listens on a free port of the loopback interface while it is entered."""

    def __init__(self, answer: HttpAnswer) -> None:
        self.paths: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Keeps quiet."""

            def do_GET(handler) -> None:  # noqa: N805  (the name is http.server's; `self` is the server)
                handler.rfile.read(int(handler.headers.get("content-length", 0)))
                self.paths.append(handler.path)
                body = answer.body.encode()
                handler.send_response(answer.status)
                for name, value in answer.headers:
                    handler.send_header(name, value)
                handler.send_header("content-length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            do_POST = do_GET  # noqa: N815  (as above)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
