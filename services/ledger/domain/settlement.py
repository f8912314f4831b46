"""Messages between ledger and quota: a settlement for each booked call, and threshold crossings in return."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.settlement import CrossingKind, Most


@dataclass(frozen=True, slots=True)
class Settlement:
    """The usage and cost of one call."""

    reservation: str
    cost_nano_usd: int | None
    """None when the price is unknown."""
    input_tokens: int
    output_tokens: int
    end_ms: int
    reported: bool
    """Whether the tokens are the provider's own count."""
    answer_text_bytes: int = 0
    """Bytes of the answer's text that were seen."""
    most: Most | None = None
    """The most that the call can have taken. None when its usage is known."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """An event of a counter that people should know of, as quota reports it."""

    sequence: int
    """Assigned by quota, ascending."""
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
    """How far an overrun exceeded what was held, in the same unit."""
    call: str = ""
    """Id of the entry that caused it, or of one of several. Empty when no entry did."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A crossing and the state of its delivery."""

    crossing: Crossing
    delivered_ms: int | None
    trace_id: str = ""
    """Labels of the call that caused it."""
    run: str = ""
    """The client's name for the run of that call."""
    target: str = ""
    """The target that served it."""
    key: str = ""
    team: str = ""
    unknown_members: tuple[str, ...] = ()
    """Unknown members of that call's request."""

    @property
    def position(self) -> tuple[int, int, int]:
        """Its place among all alerts; see `services.ledger.ports.AlertPosition`."""
        return self.crossing.crossed_ms, 0, self.crossing.sequence
