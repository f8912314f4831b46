"""Calls without a pause on a gateway, and the answers to them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.worlds.gateway import Gateway

CALLERS = 6
ASK = {"model": "tiny", "messages": [{"role": "user", "content": "Answer in 5 tokens."}], "max_tokens": 5}


@dataclass
class Answer:
    """One answer that a client got."""

    at: float
    """Monotonic, when it came."""
    took_s: float
    status: int
    code: str
    retry_after: str | None


@dataclass
class Load:
    """What the callers got, in the order in which it came."""

    answers: list[Answer] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def statuses(self, since: float = 0) -> Counter[int]:
        """How many answers of each status came after a moment."""
        return Counter(answer.status for answer in self.answers if answer.at > since)

    def wait_for(self, holds: Callable[[Answer], bool], since: float, within_s: float) -> float:
        """Seconds from `since` to the first answer of this kind."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for answer in list(self.answers):
                if answer.at > since and holds(answer):
                    return answer.at - since
            time.sleep(0.02)
        raise AssertionError(f"no such answer within {within_s} s: {self.statuses(since)}")


@contextlib.contextmanager
def load_on(gateway: Gateway, key: str = "app", callers: int = CALLERS) -> Iterator[Load]:
    """Calls without a pause while the block runs."""
    load = Load()

    def call() -> None:
        with httpx.Client(
            base_url=gateway.url, headers={"authorization": f"Bearer {gateway.secret(key)}"}, timeout=30
        ) as client:
            while not load.stopping.is_set():
                began = time.monotonic()
                response = client.post("/v1/chat/completions", json=ASK)
                now = time.monotonic()
                code = "" if response.status_code == 200 else response.json()["error"]["code"]
                after = response.headers.get("retry-after")
                load.answers.append(Answer(now, now - began, response.status_code, code, after))
                if response.status_code != 200:
                    time.sleep(0.01)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stopping.set()
        for thread in threads:
            thread.join()


def quota_pid(gateway: Gateway, number: int) -> int:
    """The process of one of the quotas."""
    pid = gateway.process.pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if b"SPENDGATE_QUOTA_REPLICA=%d" % number in variables:
            return int(child)
    raise AssertionError(f"quota {number} does not run")
