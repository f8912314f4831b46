"""An open-loop load driver: sends at the scheduled moments, whatever the answers do.

Latency counts from the moment at which a request was due, not from when a connection was free for it, so a gateway
that stalls is charged for everybody who would have waited ("coordinated omission" is what the other way is called).
With rate 0 the loop is closed: every connection sends again as soon as it has its answer.

Run as a process of its own: a specification as JSON on standard input, a result as JSON on standard output.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path

RECEIVE_BYTES = 262_144
GRACE_S = 10.0
"""How long answers may come after the last request was due."""
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and how fast."""

    port: int
    body: str
    headers: dict[str, str]
    rate_per_s: float
    """0: closed loop."""
    seconds: float
    warmup_s: float
    """Requests due before this many seconds count in `issued` only."""
    connections: int
    path: str = "/v1/chat/completions"


@dataclass(slots=True)
class Result:
    """What came back."""

    issued: int = 0
    """All requests, those of the warm-up too: what CPU time is divided by."""
    answered: int = 0
    """Answers 200 to requests after the warm-up."""
    failed: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    rate_per_s: float = 0.0
    mean_ms: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    late_p99_ms: float = 0.0
    """How late the driver itself sent, at the 99th percentile: its own limit."""

    @property
    def unanswered(self) -> int:
        """Requests after the warm-up without an answer 200."""
        return self.failed + sum(count for status, count in self.statuses.items() if status != "200")


class Connection:
    """One keep-alive HTTP/1.1 connection with at most one request in flight."""

    def __init__(self, load: Load) -> None:
        self.socket = socket.create_connection(("127.0.0.1", load.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._unsent = memoryview(b"")
        self.due_s = 0.0
        self.status = 0
        self._head = b""
        self._missing: int | None = 0
        self._tail = b""

    def send(self, request: bytes, due_s: float) -> bool:
        """Starts a request; False when the kernel did not take all of it yet (then call `go_on` when it can)."""
        self.due_s, self.status, self._head, self._tail = due_s, 0, b"", b""
        self._unsent = memoryview(request)
        return self.go_on()

    def go_on(self) -> bool:
        """Sends more; True when nothing is left."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        return True

    def receive(self) -> bool:
        """Reads what is there; True when the answer is complete.

        Raises:
            ConnectionError: the peer closed.
        """
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError
        if not self.status:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return False
            self.status = int(head[9:12])
            self._missing = _content_length(head)
        if self._missing is None:
            self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
            return self._tail == _LAST_CHUNK
        self._missing -= len(data)
        return self._missing <= 0


class Driver:
    """Runs one load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._request = _request(load)
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()
        self._busy = 0
        self._result = Result()
        self._statuses: Counter[int] = Counter()
        self._latencies_s: list[float] = []
        self._lateness_s: list[float] = []
        self._measure_from_s = 0.0
        self._stop_s = 0.0

    def run(self) -> Result:
        """Sends everything, waits for the answers, and sums up."""
        for _ in range(self._load.connections):
            self._connect()
        start = time.perf_counter() + 0.05
        self._measure_from_s = start + self._load.warmup_s
        self._stop_s = self._measure_from_s + self._load.seconds
        if self._load.rate_per_s:
            self._open_loop(start)
        else:
            self._closed_loop()
        return self._summed_up()

    def close(self) -> None:
        """Closes the connections."""
        for connection in self._connections.values():
            connection.socket.close()
        self._epoll.close()

    def _open_loop(self, start_s: float) -> None:
        interval_s = 1 / self._load.rate_per_s
        sent, due_s = 0, start_s
        while True:
            now = time.perf_counter()
            while due_s <= now and due_s < self._stop_s:
                if self._idle:
                    self._send(self._idle.popleft(), due_s)
                else:
                    self._waiting.append(due_s)
                sent += 1
                due_s = start_s + sent * interval_s
            over = due_s >= self._stop_s
            if (over and not self._busy and not self._waiting) or now > self._stop_s + GRACE_S:
                return
            self._poll(0.1 if over else max(0.0, due_s - time.perf_counter()))

    def _closed_loop(self) -> None:
        while self._idle:
            self._send(self._idle.popleft(), time.perf_counter())
        while self._busy and time.perf_counter() < self._stop_s + GRACE_S:
            self._poll(0.1)

    def _poll(self, timeout_s: float) -> None:
        # epoll rounds its timeout up to whole milliseconds; select on the epoll itself does not.
        if not select.select([self._epoll.fileno()], [], [], timeout_s)[0]:
            return
        for number, event in self._epoll.poll(0):
            connection = self._connections[number]
            try:
                if event & select.EPOLLOUT and connection.go_on():
                    self._epoll.modify(number, select.EPOLLIN)
                if event & ~select.EPOLLOUT and connection.receive():
                    self._finish(connection)
            except OSError:
                self._replace(connection)

    def _send(self, connection: Connection, due_s: float) -> None:
        self._busy += 1
        self._result.issued += 1
        if due_s >= self._measure_from_s:
            self._lateness_s.append(time.perf_counter() - due_s)
        try:
            if not connection.send(self._request, due_s):
                self._epoll.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
        except OSError:
            self._replace(connection)

    def _finish(self, connection: Connection) -> None:
        now = time.perf_counter()
        self._busy -= 1
        if connection.due_s >= self._measure_from_s:
            self._statuses[connection.status] += 1
            if connection.status == 200:
                self._latencies_s.append(now - connection.due_s)
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        elif not self._load.rate_per_s and now < self._stop_s:
            self._send(connection, now)
        else:
            self._idle.append(connection)

    def _connect(self) -> None:
        connection = Connection(self._load)
        self._connections[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket.fileno(), select.EPOLLIN)
        self._idle.append(connection)

    def _replace(self, connection: Connection) -> None:
        self._busy -= 1
        self._result.failed += 1
        del self._connections[connection.socket.fileno()]
        connection.socket.close()
        self._connect()

    def _summed_up(self) -> Result:
        result, latencies = self._result, sorted(self._latencies_s)
        result.answered = len(latencies)
        result.statuses = {str(status): count for status, count in sorted(self._statuses.items())}
        result.rate_per_s = len(latencies) / self._load.seconds
        result.failed += self._busy + len(self._waiting)
        if latencies:
            result.mean_ms = sum(latencies) / len(latencies) * 1000
            result.p50_ms = _quantile(latencies, 0.50) * 1000
            result.p99_ms = _quantile(latencies, 0.99) * 1000
            result.max_ms = latencies[-1] * 1000
            result.late_p99_ms = _quantile(sorted(self._lateness_s), 0.99) * 1000
        return result


def _request(load: Load) -> bytes:
    body = load.body.encode()
    headers = {"host": "127.0.0.1", "content-type": "application/json", **load.headers}
    lines = [f"POST {load.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def _content_length(head: bytes) -> int | None:
    for line in head.lower().split(b"\r\n")[1:]:
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return None


def _quantile(ascending: list[float], q: float) -> float:
    return ascending[min(len(ascending) - 1, int(len(ascending) * q))]


def main() -> None:
    """Runs the load that standard input describes."""
    slack = Path("/proc/self/timerslack_ns")
    if slack.exists():
        slack.write_text("1000")  # the default lets the kernel wake us 50 us late
    load = Load(**json.load(sys.stdin))
    gc.disable()
    print(json.dumps(asdict(Driver(load).run())))  # noqa: T201  (the result is this program's output)


if __name__ == "__main__":
    main()
