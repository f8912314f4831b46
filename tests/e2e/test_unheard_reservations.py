"""A reservation whose answer came too late for Envoy: the spool says that the call went nowhere, and it is released."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.kernel.envoy_contract import Socket
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {"chat": {"targets": ["openai/gpt-4o"]}},
    "policies": [{"name": "all", "limits": [{"spend": 100, "per": "month"}, {"requests": 10, "per": "month"}]}],
    "keys": [{"name": "app"}],
}
ASK: Any = {"model": "chat", "messages": [{"role": "user", "content": "Answer in 20 tokens."}], "max_tokens": 50}
PATIENCE_S = 20


def test_what_was_reserved_for_a_call_that_envoy_had_given_up_is_released_by_its_request_id(
    tmp_path: Path, providers: Providers
) -> None:
    with (
        run_gateway(tmp_path, CONFIGURATION, providers) as gateway,
        _answers_of_quota(gateway.data_dir / "run") as passing,
        ThreadPoolExecutor(1) as pool,
    ):
        _restart_envoy(gateway)
        before = gateway.settle(calls=1)
        passing.clear()
        called = pool.submit(_call, gateway)
        _wait(lambda: len(_reserved(gateway)) == 1, "quota reserves")
        answer = called.result()
        passing.set()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "policy_unavailable")
        # It left no call behind, and nobody is charged for it, not even one request.
        assert gateway.settle(calls=1) == before
        assert _reserved(gateway) == []
        assert len(providers.requests(Vendor.OPENAI)) == 1


@contextlib.contextmanager
def _answers_of_quota(folder: Path) -> Iterator[threading.Event]:
    """Stands between quota and every Envoy that starts from now on. Answers pass while the event is set."""
    passing = threading.Event()
    passing.set()
    (folder / Socket.QUOTA).rename(folder / "itself.sock")
    # Through a descriptor: the path of a socket has at most 107 bytes.
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory}/{Socket.QUOTA}")
        listener.listen()
        opened: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    envoy, quota = listener.accept()[0], socket.socket(socket.AF_UNIX)
                    opened.extend((envoy, quota))
                    quota.connect(f"/proc/self/fd/{directory}/itself.sock")
                    threading.Thread(target=_pump, args=(envoy, quota, None), daemon=True).start()
                    threading.Thread(target=_pump, args=(quota, envoy, passing), daemon=True).start()

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield passing
        finally:
            passing.set()
            for each in (listener, *opened):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            server.join()
            for each in opened:
                each.close()
            os.close(directory)


def _pump(source: socket.socket, sink: socket.socket, passing: threading.Event | None) -> None:
    with contextlib.suppress(OSError):
        while received := source.recv(65_536):
            if passing is not None:
                passing.wait()
            sink.sendall(received)
        sink.shutdown(socket.SHUT_WR)


def _restart_envoy(gateway: Gateway) -> None:
    """Kills Envoy. Its successor connects again. Returns when that one has served a call."""
    before = gateway.pids()["envoy"]
    os.kill(before, signal.SIGKILL)
    _wait(lambda: gateway.pids().get("envoy", before) != before, "another Envoy runs")

    def serves() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return _call(gateway).status_code == 200
        return False

    _wait(serves, "it serves")


def _call(gateway: Gateway) -> httpx.Response:
    return gateway.http("app").post("/v1/chat/completions", json=ASK)


def _reserved(gateway: Gateway) -> list[str]:
    """Request ids of the open reservations, from quota's own file: the admin plane, too, waits for its answers."""
    file = gateway.data_dir / "db" / "quota.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return [request_id for (request_id,) in connection.execute("SELECT request_id FROM reservations")]


def _wait(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.01)
