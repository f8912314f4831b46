"""What keys typically spend in a minute, in memory, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from services.quota.domain.policies.burn_rate import KeyRate, add_spend


class MemoryKeyRates:
    """`ports.KeyRates`."""

    def __init__(self) -> None:
        self._rates: dict[str, KeyRate] = {}

    def typical_nano_usd(self, key_id: str) -> int:
        """The key's typical spend in a minute with calls; 0 if it is unknown."""
        rate = self._rates.get(key_id)
        return rate.typical_nano_usd if rate else 0

    def add(self, spent: Sequence[tuple[str, int, int]]) -> None:
        """Adds calls."""
        for key_id, nano_usd, at_ms in spent:
            self._rates[key_id] = add_spend(self._rates.get(key_id), nano_usd, at_ms)
