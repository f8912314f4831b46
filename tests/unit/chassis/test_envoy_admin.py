from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.chassis.envoy_admin import ask_envoy

Answering = Callable[[bytes], str]


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Answering]:
    """Answers one request with these bytes, and returns its path. `seen` has the request."""
    path = str(tmp_path / "a.sock")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    threads: list[threading.Thread] = []

    def answering(answer: bytes) -> str:
        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += peer.recv(4_096)
                peer.sendall(answer.replace(b"ASKED", asked.split(b"\r\n")[0]))

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    yield answering
    server.close()
    for thread in threads:
        thread.join()


def test_the_answer_is_what_envoy_says_to_the_method_and_target(envoy: Answering) -> None:
    path = envoy(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nASKED")

    assert ask_envoy(path, "POST", "/reopen_logs?x=1", 5.0) == "POST /reopen_logs?x=1 HTTP/1.1"


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", b"", b"SSH-2.0-other\r\n"]
)
def test_whatever_is_no_good_answer_is_an_os_error(envoy: Answering, answer: bytes) -> None:
    with pytest.raises(OSError, match=r"503|not HTTP|closed connection"):
        ask_envoy(envoy(answer), "GET", "/ready", 5.0)


def test_without_an_envoy_it_is_one_too(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask_envoy(str(tmp_path / "nobody.sock"), "GET", "/ready", 5.0)
