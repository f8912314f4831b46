"""A case: a call that asks to spend, with everything that its evaluation needs."""

from __future__ import annotations

from dataclasses import dataclass

from services.quota.domain.admission.request_facts import RequestFacts, Tokens
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.routing.compile import Draw
from services.quota.domain.routing.probes import Probes


@dataclass(frozen=True, slots=True)
class Case:
    """One call before its evaluation. The levels of its counters come separately, because we read them last."""

    key: VirtualKey
    model: str
    """The model, as the client named it."""
    facts: RequestFacts
    limits: AppliedLimits
    learned: Tokens | None
    """What calls of this key for this model typically take; None: not known yet."""
    contended: bool
    """Quota refused calls a moment ago because others in flight held the room."""
    contention_wait_ms: int
    """How long calls in flight take to give room back."""
    now_ms: int
    draw: Draw
    probes: Probes | None = None
    """None: the call tries no slot that is not well."""
