"""A call that asks to spend, with all that its evaluation looks at."""

from __future__ import annotations

from dataclasses import dataclass

from services.quota.domain.admission.request_facts import RequestFacts, Tokens
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.routing.compile import Draw


@dataclass(frozen=True, slots=True)
class Case:
    """One call before its evaluation. Only the levels of its counters are apart, since those are read last."""

    key: VirtualKey
    model: str
    """As the client asked."""
    facts: RequestFacts
    limits: AppliedLimits
    learned: Tokens | None
    """What calls of this key for this model took before; None: nobody knows yet."""
    contended: bool
    """Calls were refused a moment ago because others in flight held the room."""
    contention_wait_ms: int
    """How long calls in flight need to give room back."""
    now_ms: int
    draw: Draw
