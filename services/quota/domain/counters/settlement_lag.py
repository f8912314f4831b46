"""How long settlements take. From this a client learns when others will give room back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

_SAMPLE = 512
_SHORTEST_WAIT_MS = 250
# Right after an outage of the ledger, calls look slow to settle. Room still comes back soon.
_LONGEST_WAIT_MS = 20_000


class SettlementLag:
    """The times from the end of a call to its settlement, for the last 512 calls."""

    def __init__(self) -> None:
        self._sample: deque[int] = deque(maxlen=_SAMPLE)
        self.p95_ms = 0
        """The 95th percentile; 0 before the first settlement."""
        self.wait_ms = _SHORTEST_WAIT_MS
        """How long a client should wait for calls in flight to give room back."""

    def record(self, lags_ms: Iterable[int]) -> None:
        """Records the lags of a batch. Clocks of two processes may disagree, so a negative lag counts as 0."""
        self._sample.extend(max(0, lag_ms) for lag_ms in lags_ms)
        if self._sample:
            ordered = sorted(self._sample)
            self.p95_ms = ordered[len(ordered) * 95 // 100]
            self.wait_ms = min(max(_SHORTEST_WAIT_MS, 2 * self.p95_ms), _LONGEST_WAIT_MS)
