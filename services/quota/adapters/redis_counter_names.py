"""Lists the counters in a Redis."""

from __future__ import annotations

from services.quota.adapters.redis_keys import RedisKeys, counter_of
from services.quota.adapters.redis_link import RedisLink
from services.quota.domain.counters.counter import CounterKey

_SCANNED_AT_ONCE = 200


def all_counters(link: RedisLink, keys: RedisKeys) -> dict[CounterKey, int]:
    """All counters, each with the moment from which nobody needs it.

    A command that lists them all would keep Redis from everything else, so this scans them some at a time. It finds
    every counter that exists throughout.

    Raises:
        Unavailable: Redis cannot be read now.
    """
    found: dict[CounterKey, int] = {}
    cursor = 0
    while True:
        cursor, some = link.command("ZSCAN", keys.windows, cursor, "COUNT", _SCANNED_AT_ONCE, batch=True)
        found |= {counter_of(name): int(end_ms) for name, end_ms in some}
        if not cursor:
            return found
