"""Counts attempts and failures of each cluster, minute by minute, in memory.

Envoy's attempt log feeds it and may lose entries, so no sum that must be exact comes from here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

_BUCKET_MS = 10_000
_MAX_BUCKETS = 360
"""An hour: the longest time over which a condition may measure."""
_MAX_CLUSTERS = 4_096


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a target, as Envoy saw it end."""

    cluster: str
    status: int
    """HTTP status of the provider's answer, 0 when there was none."""
    end_time_ms: int
    duration_ms: int
    first_byte_ms: int | None
    """None when no byte of an answer came."""

    @property
    def failed(self) -> bool:
        """Whether the provider is to blame: it sent no answer, an error of its own, or a 429."""
        return self.status in {0, 429} or self.status >= 500


@dataclass(slots=True)
class Tally:
    """Attempts of one cluster within a period."""

    attempts: int = 0
    failures: int = 0
    duration_ms: int = 0
    """Of all attempts together."""


@dataclass(slots=True)
class _Bucket:
    start_ms: int
    tally: Tally = field(default_factory=Tally)


class AttemptStats:
    """Counts attempts by cluster for an hour."""

    def __init__(self) -> None:
        self._buckets: dict[str, deque[_Bucket]] = {}

    def record(self, attempts: Iterable[Attempt]) -> None:
        """Counts attempts. Drops entries of new clusters beyond a bound."""
        for attempt in attempts:
            tally = self._tally_for(attempt)
            if tally is not None:
                tally.attempts += 1
                tally.failures += attempt.failed
                tally.duration_ms += attempt.duration_ms

    def tally(self, cluster: str, now_ms: int, over_seconds: int) -> Tally:
        """Returns the attempts at `cluster` in the last `over_seconds`, accurate to ten seconds."""
        since_ms = now_ms - over_seconds * 1_000
        total = Tally()
        for bucket in self._buckets.get(cluster, ()):
            if bucket.start_ms + _BUCKET_MS > since_ms:
                total.attempts += bucket.tally.attempts
                total.failures += bucket.tally.failures
                total.duration_ms += bucket.tally.duration_ms
        return total

    def _tally_for(self, attempt: Attempt) -> Tally | None:
        buckets = self._buckets.get(attempt.cluster)
        if buckets is None:
            if len(self._buckets) >= _MAX_CLUSTERS:
                return None
            buckets = self._buckets[attempt.cluster] = deque(maxlen=_MAX_BUCKETS)
        start_ms = attempt.end_time_ms - attempt.end_time_ms % _BUCKET_MS
        # Several Envoys report, each with a short delay, so an entry may belong to an earlier bucket.
        for bucket in reversed(buckets):
            if bucket.start_ms == start_ms:
                return bucket.tally
            if bucket.start_ms < start_ms:
                break
        if buckets and buckets[-1].start_ms > start_ms:
            return buckets[-1].tally
        buckets.append(_Bucket(start_ms))
        return buckets[-1].tally
