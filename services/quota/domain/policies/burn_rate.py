"""How fast a key spends compared with how fast it usually does: what tells a loop from a busy day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.kernel.money import NANO_PER_USD

MINUTE_MS = 60_000


_LEAST_TYPICAL_NANO_USD = NANO_PER_USD // 100


# A minute counts as at most so many usual ones, so that a loop does not become what is usual before somebody stops it.
_MOST_TYPICAL_MINUTES = 2


TypicalRate = Callable[[str], int]
"""What the key of this id spends in a minute in which it spends at all, in nano-USD; 0 when nothing is known."""


def nothing_typical(_: str) -> int:
    """The rates of keys that never called."""
    return 0


@dataclass(frozen=True, slots=True)
class KeyRate:
    """What a key spends. Minutes without a call say nothing and are left out."""

    minute: int
    """The minute that is being added up, counted since 1970."""
    spent_nano_usd: int
    """In that minute so far."""
    typical_nano_usd: int
    """Per minute, of the minutes before."""


def add_spend(before: KeyRate | None, spent_nano_usd: int, at_ms: int) -> KeyRate:
    """Adds a call. The minute before is learned from as soon as a later one begins.

    Each minute moves what is usual an eighth of the way to what it took, so that a key whose use really grows gets
    there within an hour: with minutes counted at most twice what is usual, it grows by an eighth each.
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
    """So much may a key spend in a minute: a multiple of what is usual for it, or of the floor if that is more."""
    return max(typical_nano_usd, floor_nano_usd) * factor_percent // 100
