"""What the ledger tells quota of each booked call, and what quota tells of thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.ledger.domain.unmeasured import Most


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one call took."""

    reservation: str
    cost_nano_usd: int | None
    """None when the price is unknown."""
    input_tokens: int
    output_tokens: int
    end_ms: int
    reported: bool
    """Whether the tokens are the provider's own count."""
    answer_text_bytes: int = 0
    """Bytes of text that were seen of the answer."""
    most: Most | None = None
    """The most that the call can have taken. None: what it took is known."""


class CrossingKind(StrEnum):
    """What happened to a counter."""

    THRESHOLD = "threshold"
    """It passed a threshold: once per policy, limit, scope, window and threshold."""
    OVERRUN = "overrun"
    """A call took more than it held, since a provider billed more than it was allowed: once per window."""
    UNPRICED = "unpriced"
    """A call whose cost is unknown went through a limit on spend: once per window."""
    UNKNOWN_MEMBERS = "unknown_members"
    """A call with members that nobody here knows went through a limit on spend: once per window."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """What quota says that somebody is to be told of a counter."""

    sequence: int
    """Quota's own, ascending."""
    policy: str
    limit: str
    scope: str
    window_start_ms: int
    basis_points: int
    """8000 is 80 %. 0 for the other kinds."""
    notify: tuple[str, ...]
    crossed_ms: int
    settled: int
    """Nano-USD, tokens or requests."""
    bound: int
    """In the same unit."""
    kind: CrossingKind = CrossingKind.THRESHOLD
    excess: int = 0
    """By how much an overrun was above what was held, in the same unit."""
    call: str = ""
    """Id of the entry that brought it about, or of one of several that did. Empty: none did."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A crossing and what became of telling it."""

    crossing: Crossing
    delivered_ms: int | None
    trace_id: str = ""
    """Of the call that brought it about."""
    run: str = ""
    """What the client named the run of that call."""
    target: str = ""
    """The target that served it."""
    key: str = ""
    team: str = ""
    unknown_members: tuple[str, ...] = ()
    """Of the request of that call."""
