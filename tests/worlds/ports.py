"""Ports for what tests start."""

from __future__ import annotations

import random
import socket

# Below the range from which systems take the ports of outgoing connections: none of those can get in between the
# question and the moment when somebody listens.
_FIRST, _LAST = 20_000, 32_000
_source = random.SystemRandom()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    while True:
        port = _source.randint(_FIRST, _LAST)
        with socket.socket() as chosen:
            try:
                chosen.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
