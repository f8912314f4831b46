"""Bodies that are made to be slow to read, from holders of valid keys, while others go on calling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

BYTES = 4_000_000
MESSAGES = '{"model":"tiny","messages":[{"role":"user","content":'
_HEAD, _TAIL = MESSAGES + '"hi"}],"max_tokens":5,"metadata":', "}"
_ESCAPES = '"' + r"\u0041\\" * 500 + '"'


def repeated(piece: str) -> str:
    return piece * (BYTES // len(piece))


def members() -> str:
    return ",".join(f'"m{number}":0' for number in range(BYTES // 11))


def numbers(text: str) -> str:
    return ",".join([text] * (BYTES // (len(text) + 1)))


# Each with the statuses that are right for it. A body that is only long, not hard to read, may be refused for its
# price.
BOMBS: dict[str, tuple[Callable[[], str], set[int]]] = {
    "deep nesting": (lambda: _HEAD + repeated("["), {400}),
    "numbers without end": (lambda: f"{_HEAD}[{numbers('0')}]{_TAIL}", {400, 413}),
    "many members": (lambda: f"{_HEAD}{{{members()}}}{_TAIL}", {400, 413}),
    "long strings of escapes": (lambda: f"{_HEAD}[{numbers(_ESCAPES)}]{_TAIL}", {400, 413, 429}),
    "huge numbers": (lambda: f"{_HEAD}[{numbers('9' * 5_000)}]{_TAIL}", {400, 413, 429}),
    "many small parts": (lambda: MESSAGES + "[" + numbers('{"type":"text","text":"x"}') + "]}]}", {400, 413}),
}
CONFIGURATION: dict[str, Any] = {
    "models": {"tiny": {"targets": ["openai/tiny"]}},
    "prices": {"openai/tiny": {"input": 1, "output": 10}},
    "teams": {"bad": {}, "good": {}},
    "policies": [
        {"name": "bad", "match": {"team": "bad"}, "limits": [{"spend": 0.5, "per": "month"}]},
        {"name": "good", "match": {"team": "good"}, "limits": [{"spend": 1000, "per": "month"}]},
    ],
    "keys": [{"name": "app", "team": "good"}, *({"name": f"bomb{at}", "team": "bad"} for at in range(len(BOMBS)))],
}
ROUNDS = 3
SLOWEST_S = 5.0
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "Answer in 5 tokens."}], "max_tokens": 5}
PATH = "/v1/chat/completions"


@pytest.fixture
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("bombs"), CONFIGURATION, vendors) as running:
        yield running


def throw(gateway: Gateway, key: str, body: bytes, statuses: list[int]) -> None:
    with gateway.http(key, timeout=60) as client:
        for _ in range(ROUNDS):
            answer = client.post(PATH, content=body, headers={"content-type": "application/json"})
            statuses.append(answer.status_code)


def call(gateway: Gateway, until: threading.Event, took_s: list[float], problems: list[str]) -> None:
    """Valid calls, streamed and not, each over a connection of its own, until told to stop."""
    while not until.is_set() or len(took_s) < 4:
        began = time.monotonic()
        with gateway.http("app") as client:
            response = client.post(PATH, json=BODY | {"stream": len(took_s) % 2 == 1})
        took_s.append(time.monotonic() - began)
        if response.status_code != 200:
            problems.append(f"{response.status_code} {response.text[:200]}")


def test_bombs_of_valid_keys_are_refused_and_everybody_else_is_served(gateway: Gateway, providers: Providers) -> None:
    until, took_s, problems = threading.Event(), list[float](), list[str]()
    statuses: dict[str, list[int]] = {name: [] for name in BOMBS}
    attackers = [
        threading.Thread(target=throw, args=(gateway, f"bomb{at}", bomb().encode(), statuses[name]))
        for at, (name, (bomb, _)) in enumerate(BOMBS.items())
    ]
    caller = threading.Thread(target=call, args=(gateway, until, took_s, problems))
    caller.start()
    for attacker in attackers:
        attacker.start()
    # The admin plane answers meanwhile.
    assert {budget["policy"] for budget in gateway.budgets()} <= {"bad", "good"}
    for attacker in attackers:
        attacker.join(60)
    until.set()
    caller.join(60)

    assert problems == []
    assert max(took_s) < SLOWEST_S
    for name, (_, right) in BOMBS.items():
        assert len(statuses[name]) == ROUNDS, name
        assert set(statuses[name]) <= right, (name, statuses[name])
    served = sum(len(providers.requests(vendor)) for vendor in providers.by_vendor)
    assert served == len(took_s)
