"""A proxy that breaks connections exactly where it hurts: the request is through, and the answer is not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_FRAME_HEAD = 9
_HEADERS_FRAME = 1


class CuttingProxy:
    """Passes HTTP/2 bytes in both directions. Breaks a connection where the first answer on it begins.

    Use it as a context manager.
    """

    def __init__(self, upstream: str, *, answers: int) -> None:
        """`upstream`: HOST:PORT. It breaks that many connections, and passes what comes on later ones."""
        self._upstream = upstream
        self.answers_left = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = [self._listener]

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._sockets:
            _break(each)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _run(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        host, _, port = self._upstream.rpartition(":")
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((host, int(port)))
                self._sockets += [client, server]
                self._run(self._pass_requests, client, server)
                self._run(self._pass_answers, server, client)

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                server.sendall(data)
        _break(client, server)

    def _pass_answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError), server.makefile("rb") as stream:
            while len(head := stream.read(_FRAME_HEAD)) == _FRAME_HEAD:
                if head[3] == _HEADERS_FRAME and self.answers_left:
                    self.answers_left -= 1
                    break
                client.sendall(head + stream.read(int.from_bytes(head[:3], "big")))
        _break(client, server)


def _break(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
