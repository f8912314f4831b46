"""The bench's own instruments: a driver that lies about waiting would make every figure of the bench a lie."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.driver import Driver, Load, Result
from tests.bench.processes import cpu_s, start_module, stop
from tests.bench.upstream import (
    CHUNKS,
    SLOW_MODEL,
    SLOW_S,
    anthropic_stream,
    gemini_stream,
    openai_answer,
    openai_stream,
)


@pytest.fixture
def upstream_port(tmp_path: Path) -> Iterator[int]:
    process, port = start_module("tests.bench.upstream", core=None, log=tmp_path / "log")
    yield port
    stop(process)


def run(load: Load) -> Result:
    driver = Driver(load)
    try:
        return driver.run()
    finally:
        driver.close()


def load(port: int, body: str = "{}", rate_per_s: float = 200.0, seconds: float = 0.5, connections: int = 4) -> Load:
    return Load(port, body, {}, rate_per_s=rate_per_s, seconds=seconds, warmup_s=0.1, connections=connections)


@pytest.mark.parametrize("body", ["{}", '{"stream": true}', json.dumps({"filler": "x" * 300_000})])
def test_an_open_loop_sends_as_many_as_are_due_and_gets_as_many_answers(upstream_port: int, body: str) -> None:
    result = run(load(upstream_port, body))

    assert result.issued == 120
    assert result.statuses == {"200": result.answered}
    assert result.answered == pytest.approx(100, abs=1)
    assert result.failed == 0


def test_the_slow_model_takes_its_time_for_each_of_many_calls_at_once(upstream_port: int) -> None:
    result = run(load(upstream_port, json.dumps({"model": SLOW_MODEL}), rate_per_s=100.0, connections=32))

    assert result.statuses == {"200": result.answered}
    assert result.answered == pytest.approx(50, abs=1)
    assert min(result.p50_ms, result.mean_ms) >= SLOW_S * 1000


def test_a_closed_loop_sends_as_fast_as_it_is_answered(upstream_port: int) -> None:
    result = run(load(upstream_port, rate_per_s=0.0))

    assert result.answered > 500
    assert result.failed == 0


def test_waiting_for_a_free_connection_counts_as_latency() -> None:
    """A server that stalls once for 0.4 s is charged for all requests that were due meanwhile."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            first = True
            while connection.recv(65_536):
                if first:
                    time.sleep(0.4)
                first = False
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    server = threading.Thread(target=serve)
    server.start()
    result = run(Load(listener.getsockname()[1], "", {}, 100.0, 0.5, 0.0, connections=1))
    server.join()
    listener.close()

    assert result.answered == 50
    assert result.max_ms > 390
    # With 100 a second, 40 of the 50 were due during the stall.
    assert result.p50_ms > 100


def test_the_answers_are_what_a_provider_would_send() -> None:
    _, _, body = openai_answer().partition(b"\r\n\r\n")
    assert json.loads(body)["usage"]["total_tokens"] == 600

    events = openai_stream(with_usage=True).count(b"data: ")
    assert events == CHUNKS + 2
    assert openai_stream(with_usage=False).count(b"data: ") == CHUNKS + 1
    for stream in (anthropic_stream(), gemini_stream()):
        assert stream.count(b"data: ") == CHUNKS


def test_cpu_time_of_another_process_is_read_in_finer_steps_than_ticks(tmp_path: Path) -> None:
    process, _ = start_module("tests.bench.upstream", core=None, log=tmp_path / "log")
    used_s = cpu_s(process.pid)
    stop(process)

    assert 0 < used_s < 5
    assert round(used_s, 2) != used_s
