"""What keys typically spend in a minute, in memory for the hot path and in SQLite for the next start.

SQLite gets only the typical spend, after each minute. The current minute may be lost with the process.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from services.quota.adapters.sqlite_file import SqliteFile, write_in_slices
from services.quota.domain.policies.burn_rate import KeyRate, add_spend

# Beyond this number the key added first makes room.
_MOST = 50_000
_SAVE = (
    "INSERT INTO key_rates (key_id, usual_nano_usd) VALUES (?, ?)"
    " ON CONFLICT DO UPDATE SET usual_nano_usd = excluded.usual_nano_usd"
)
_LOAD = "SELECT key_id, usual_nano_usd FROM key_rates LIMIT ?"
_DROP = "DELETE FROM key_rates WHERE key_id = ?"


class SqliteKeyRates:
    """`ports.KeyRates`."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._adding = threading.Lock()
        self._rates: dict[str, KeyRate] = {}
        self.refresh()

    def refresh(self) -> None:
        """Takes over what other processes have learned. The current minute of this process continues."""
        with self._adding, self._file.reading() as connection:
            for key_id, typical in connection.execute(_LOAD, (_MOST,)):
                known = self._rates.get(key_id)
                self._rates[key_id] = replace(known, typical_nano_usd=typical) if known else KeyRate(0, 0, typical)
            self._make_room()

    def typical_nano_usd(self, key_id: str) -> int:
        """The key's typical spend in a minute with calls; 0 if it is unknown."""
        rate = self._rates.get(key_id)
        return rate.typical_nano_usd if rate else 0

    def add(self, spent: Sequence[tuple[str, int, int]]) -> None:
        """Adds calls, each as key id, cost in nano-USD and time of its end in milliseconds."""
        with self._adding:
            learned: dict[str, int] = {}
            for key_id, nano_usd, at_ms in spent:
                before = self._rates.get(key_id)
                rate = self._rates[key_id] = add_spend(before, nano_usd, at_ms)
                if before is not None and rate.typical_nano_usd != before.typical_nano_usd:
                    learned[key_id] = rate.typical_nano_usd
            dropped = self._make_room()
            write_in_slices(self._file, _SAVE, list(learned.items()))
            write_in_slices(self._file, _DROP, [(key_id,) for key_id in dropped])

    def _make_room(self) -> list[str]:
        dropped = list(self._rates)[: max(0, len(self._rates) - _MOST)]
        for key_id in dropped:
            del self._rates[key_id]
        return dropped
