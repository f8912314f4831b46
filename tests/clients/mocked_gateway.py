"""A gateway in front of the mock provider: its models by the vendors' names, and keys with and without a budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clients.aimock import Aimock
from tests.worlds.gateway import SETTLE_TIMEOUT_S, Gateway, run_gateway
from tests.worlds.limited_keys import calls_of

RICH_KEY, CHEAP_KEY, PREPAID_KEY = "rich", "cheap", "prepaid"
"""The second is refused with 429, the third with 402."""
INPUT_USD, OUTPUT_USD = 3, 15
"""For a million tokens of any model."""
# A provider that has no face in OpenAI's dialect makes chats with its models be translated.
TARGETS = {
    "gpt-4o": "openai/gpt-4o",
    "claude-sonnet-4-5": "messages/claude-sonnet-4-5",
    "claude-haiku-4-5": "messages/claude-haiku-4-5",
    "gemini-2.5-flash": "gemini/gemini-2.5-flash",
    "text-embedding-3-small": "openai/text-embedding-3-small",
}


@contextmanager
def run_mocked_gateway(folder: Path, aimock: Aimock) -> Iterator[Gateway]:
    """Runs it until the block ends."""
    key = {"env": "MOCK_KEY"}
    nothing = {"limits": [{"spend": 0, "per": "month"}]}
    configuration = {
        "providers": {
            "openai": {"preset": "openai", "base_url": f"{aimock.url}/v1", "api_key": key},
            "gemini": {"preset": "gemini", "base_url": aimock.url, "api_key": key},
            "messages": {"protocol": "anthropic", "base_url": aimock.url, "api_key": key},
        },
        "models": {name: {"targets": [target]} for name, target in TARGETS.items()},
        "prices": {target: {"input": INPUT_USD, "output": OUTPUT_USD} for target in TARGETS.values()},
        "policies": [
            {"name": RICH_KEY, "match": {"key": RICH_KEY}, "limits": [{"spend": 1000, "per": "month"}]},
            {"name": CHEAP_KEY, "match": {"key": CHEAP_KEY}, **nothing},
            {"name": PREPAID_KEY, "match": {"key": PREPAID_KEY}, "exhausted_status": 402, **nothing},
        ],
        "keys": [{"name": name} for name in (RICH_KEY, CHEAP_KEY, PREPAID_KEY)],
    }
    with run_gateway(folder, configuration, environment={"MOCK_KEY": "key-of-the-mock"}) as gateway:
        yield gateway


def calls_since(
    gateway: Gateway, earlier: list[dict[str, Any]] | None = None, *, calls: int = 0
) -> list[dict[str, Any]]:
    """What was booked for the rich key since `earlier`, once there are as many `calls`, and no more."""
    known = {call["request_id"] for call in earlier or ()}
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        gateway.settle()
        found = [call for call in calls_of(gateway, RICH_KEY) if call["request_id"] not in known]
        if len(found) >= calls:
            assert earlier is None or len(found) == calls, f"{len(found)} calls, not {calls}"
            return found
        assert time.monotonic() < deadline, f"{len(found)} of {calls} calls were booked"
        time.sleep(0.1)
