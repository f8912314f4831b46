"""What the gateway refused, by Envoy's own log."""

from __future__ import annotations

import json
import time

from tests.worlds.gateway import Gateway

_PATIENCE_S = 3
_LOOK_S = 0.5


def refused_posts(gateway: Gateway, at_least: int = 0) -> int:
    """How many calls Envoy logged as refused; looks after a moment, so that a retry would be seen."""
    path = gateway.data_dir / "logs" / "refused.jsonl"
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        time.sleep(_LOOK_S)
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        # The readiness probe of `up` asks for the models without a key.
        found = [line for line in lines if line.get("method") == "POST"]
        if len(found) >= at_least or time.monotonic() > deadline:
            return len(found)
