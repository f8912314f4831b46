"""One attempt at a target, and what it says about the target's health.

| What Envoy saw | Outcome | Why |
|---|---|---|
| a complete answer with 2xx | served | |
| a 2xx answer that broke off, carried an error, or ended without its end mark | failed | the client got no answer |
| no answer: connection refused or reset, time-out | failed | the next call may meet the same |
| 401, 403 | failed | the provider refuses our credential, whoever calls |
| 408, 429 | failed | the provider has no time for us |
| 5xx, 3xx | failed | an error of the provider; a redirect is never followed |
| any other 4xx: 400, 404, 409, 413, 422 ... | neither | the caller's request is wrong, whatever the target |
| the client left, or Envoy gave the attempt up | neither | nobody knows how it would have ended |
| it has not ended | open | it has lasted at least this long, which may be too long already |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_REFUSED = frozenset({401, 403, 408, 429})


class Outcome(StrEnum):
    """How an attempt ended."""

    SERVED = "served"
    FAILED = "failed"
    NEITHER = "neither"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, as far as it is known."""

    target: str
    """"provider/model"."""
    start_ms: int
    took_ms: int
    """To the end of the answer, or until now."""
    first_byte_ms: int | None
    """From the start to the first byte of the answer. None: none has come."""
    outcome: Outcome
    reported_ms: int = 0
    """How long it had lasted when it was last reported as open; 0 if it never was."""
    reported_waiting_ms: int = 0
    """How long it had waited for its first byte when it was last reported as open without one."""
    retry_after_ms: int = 0
    """How long the provider asks us to stay away; 0 if it does not."""
    status: int = 0
    """Of the provider's answer; 0 without one."""

    @property
    def waited_ms(self) -> int:
        """How long the first byte took, or has not come for."""
        return self.took_ms if self.first_byte_ms is None else self.first_byte_ms


def outcome_of(status: int, *, is_whole: bool, has_failed: bool) -> Outcome:
    """Returns how an attempt ended.

    `status` is that of the provider's answer, 0 without one. `is_whole`: the last byte of the answer came.
    `has_failed`: Envoy names a failure of the connection or a time-out.
    """
    if status in _REFUSED or status >= 500 or 300 <= status < 400 or has_failed:
        return Outcome.FAILED
    if 200 <= status < 300 and is_whole:
        return Outcome.SERVED
    return Outcome.NEITHER
