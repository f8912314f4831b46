"""Listens for a simulated provider on a loopback port, in a thread. While it is closed, it refuses connections."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Self

import uvicorn
from starlette.types import ASGIApp

_HOST = "127.0.0.1"
_STOP_TIMEOUT_S = 10.0


class Listener:
    """An ASGI application on a port. A free port is chosen once and kept through `close` and `open`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.port = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None  # noqa: TID251  (uvicorn's own loop runs in it)

    @property
    def url(self) -> str:
        """Without a path, e.g. "http://127.0.0.1:8080"."""
        return f"http://{_HOST}:{self.port}"

    def open(self) -> None:
        """Returns once connections are accepted.

        Raises:
            OSError: the port is taken.
        """
        if self._server is not None:
            return
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((_HOST, self.port))
        listening.listen(1024)
        self.port = listening.getsockname()[1]
        # A cut connection was requested, so it is not an error. Uvicorn need not report it.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        config = uvicorn.Config(
            self._app,
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Longer than any client keeps a connection, so that none breaks between two requests.
            timeout_keep_alive=600,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(  # noqa: TID251  (likewise)
            target=self._server.run, kwargs={"sockets": [listening]}, name=f"simulator-{self.port}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Breaks all connections and refuses new ones."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(_STOP_TIMEOUT_S)
        self._server = None
        self._thread = None

    def __enter__(self) -> Self:
        """Opens it."""
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()
