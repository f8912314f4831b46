"""Burn rates: how fast a key spends compared with its typical rate. This tells a loop from a busy day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.kernel.money import NANO_PER_USD

MINUTE_MS = 60_000
_LEAST_TYPICAL_NANO_USD = NANO_PER_USD // 100
# A minute counts for at most this many typical ones. Otherwise a loop would become typical before somebody stops it.
_MOST_TYPICAL_MINUTES = 2
TypicalRate = Callable[[str], int]
"""Returns what the key with this id typically spends in a minute with calls, in nano-USD; 0 if we do not know."""


def nothing_typical(_: str) -> int:
    """The typical rate of a key that never made a call."""
    return 0


@dataclass(frozen=True, slots=True)
class KeyRate:
    """How fast a key spends. Minutes without a call say nothing and do not count."""

    minute: int
    """The current minute, as a number of minutes since 1970."""
    spent_nano_usd: int
    """What the key has spent in that minute so far."""
    typical_nano_usd: int
    """The typical spend per minute, learned from earlier minutes."""


def add_spend(before: KeyRate | None, spent_nano_usd: int, at_ms: int) -> KeyRate:
    """Adds a call. The first call of a later minute closes the current one and learns from it.

    Each minute moves the typical spend an eighth of the way towards its own. A minute counts for at most twice the
    typical spend, so the typical spend grows by at most an eighth a minute. If a key's use really grows, its typical
    spend follows within an hour.
    """
    minute = at_ms // MINUTE_MS
    if before is None:
        return KeyRate(minute, spent_nano_usd, 0)
    if minute <= before.minute:
        return KeyRate(before.minute, before.spent_nano_usd + spent_nano_usd, before.typical_nano_usd)
    typical = max(before.typical_nano_usd, _LEAST_TYPICAL_NANO_USD)
    counted = min(before.spent_nano_usd, _MOST_TYPICAL_MINUTES * typical)
    return KeyRate(minute, spent_nano_usd, (7 * typical + counted + 4) // 8)


def allowed_per_minute(typical_nano_usd: int, floor_nano_usd: int, factor_percent: int) -> int:
    """What a key may spend in a minute: a multiple of its typical spend, or of the floor if that is more."""
    return max(typical_nano_usd, floor_nano_usd) * factor_percent // 100
