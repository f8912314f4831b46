"""Denials. A denial is a value, not an exception, and holds everything that the answer to the client needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowRule
from services.quota.domain.identity.key import KeyState
from services.quota.domain.policies.limit_status import LimitStatus
from services.quota.domain.policies.policy import TOO_MANY_REQUESTS


class Denial(StrEnum):
    """Why a call is refused, in order of precedence: if several reasons hold, the answer gives the first.

    The first reasons say that we cannot decide at all. Then come those about the key, those about the request, and
    those about room. In the last group lasting reasons come first: an answer must not say "try again shortly" while
    another limit stays shut.
    """

    POLICY_UNAVAILABLE = "policy_unavailable"
    """We cannot decide now: there is no plan yet, the store fails, or the disk is nearly full."""
    MALFORMED = "malformed"
    """We cannot parse the request."""
    MISSING_KEY = "missing_key"
    INVALID_KEY = "invalid_key"
    DISABLED_KEY = "disabled_key"
    EXPIRED_KEY = "expired_key"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    """The key may not use this model."""
    MODEL_NOT_FOUND = "model_not_found"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    """The model exists, but the gateway has no credential for any of its providers."""
    NO_FIT_TARGET = "no_fit_target"
    """The model exists, but none of its targets can serve this request in the client's dialect."""
    UNBOUNDED_KEY = "unbounded_key"
    """No policy bounds what this key can take of this model, and the key is not marked as unlimited."""
    UNKNOWN_MEMBER = "unknown_member"
    """The request has members or header values that the gateway does not know, and a policy refuses such calls."""
    UNPRICED_MODEL = "unpriced_model"
    """A spend policy applies, and no target that fits has a price. Unknown is never zero."""
    REQUEST_COST_LIMIT = "request_cost_limit"
    """This call alone would take more than a policy allows a single call."""
    BUDGET_EXHAUSTED = "budget_exhausted"
    """The settled amount and the doubt together have reached the limit."""
    REQUEST_EXCEEDS_REMAINING_BUDGET = "request_exceeds_remaining_budget"
    """This call alone would take more than the settled amount and the doubt leave. A smaller call may pass."""
    BURN_RATE = "burn_rate"
    """The key spends far faster than is typical for it."""
    RATE_LIMITED = "rate_limited"
    """The calls have reached a limit on requests or tokens per minute or hour."""
    RESERVATION_CONTENTION = "reservation_contention"
    """Calls in flight hold the room that this call needs. They give most of it back when they end."""

    @property
    def transient(self) -> bool:
        """Whether the same request can pass shortly without a change of the request or the budget."""
        return self in _TRANSIENT

    @property
    def precedence(self) -> int:
        """The position in the order above; 0 is first."""
        return _PRECEDENCE[self]


# A part of the gateway that fails is restarted at once, so it is back within seconds.
_UNAVAILABLE_RETRY_MS = 1_000
# An operator has to supply the credential; the gateway then finds it within seconds.
_NO_CREDENTIAL_RETRY_MS = 5_000
_TRANSIENT = {
    Denial.POLICY_UNAVAILABLE,
    Denial.UPSTREAM_UNAVAILABLE,
    Denial.BURN_RATE,
    Denial.RATE_LIMITED,
    Denial.RESERVATION_CONTENTION,
}
_PRECEDENCE = {denial: position for position, denial in enumerate(Denial)}
_OF_STATE = {KeyState.DISABLED: Denial.DISABLED_KEY, KeyState.EXPIRED: Denial.EXPIRED_KEY}


def denial_of(state: KeyState) -> Denial | None:
    """The reason to refuse a key in this state; None: the key works."""
    return _OF_STATE.get(state)


@dataclass(frozen=True, slots=True)
class Deny:
    """A denial with its figures. Amounts are in nano-USD for spend, else in tokens or requests."""

    denial: Denial
    detail: str = ""
    """Further explanation, a clause without a full stop. It holds no secret."""
    model: str = ""
    parameter: str = ""
    """The member of the request that is at fault; empty if none is."""
    key: str = ""
    """The name of the key; empty until we know it."""
    policy: str = ""
    scope: str = ""
    limit_kind: LimitKind | None = None
    limit_id: str = ""
    """The id under which the limit's counters are stored."""
    limit: int = 0
    """The bound."""
    used: int = 0
    """Settled."""
    reserved: int = 0
    doubt: int = 0
    """What unmeasured calls may have taken beyond the amount that was settled for them."""
    requested: int = 0
    """The least that this call could have held: its output can be cut to the typical output of such calls."""
    window: WindowRule | None = None
    window_start_ms: int = 0
    resets_at_ms: int = 0
    overridden_until_ms: int = 0
    """When the override that sets `limit` ends; 0: the bound is the policy's own."""
    contended: bool = False
    """Only calls in flight stand in the way. They can give room back when they end."""
    retry_after_ms: int | None = None
    """How long the client should wait before it tries again; None if waiting does not help."""
    max_affordable_output_tokens: int = 0
    """With an output bound this large the call would fit beside the settled amount. 0: no bound would help."""
    exhausted_status: int = TOO_MANY_REQUESTS
    """The HTTP status for a denial that lasts until the window ends or the client sends a smaller call."""
    decided_at_ms: int = 0
    limit_statuses: tuple[LimitStatus, ...] = ()
    """The tightest enforced limit of each kind; empty if the denial came before any limit was read."""

    @classmethod
    def unavailable(cls, detail: str) -> Deny:
        """We cannot decide now; `detail` says why."""
        return cls(Denial.POLICY_UNAVAILABLE, detail, retry_after_ms=_UNAVAILABLE_RETRY_MS)

    @classmethod
    def without_credential(cls, providers: tuple[str, ...], *, model: str, key: str) -> Deny:
        """No target of `model` is usable: the credentials of `providers`, its only providers, are missing."""
        which = (
            f"credential of provider {providers[0]} is"
            if len(providers) == 1
            else (f"credentials of providers {', '.join(providers)} are")
        )
        return cls(
            Denial.UPSTREAM_UNAVAILABLE,
            f"the {which} missing",
            model=model,
            key=key,
            retry_after_ms=_NO_CREDENTIAL_RETRY_MS,
        )

    @classmethod
    def drained(cls, *, model: str, key: str) -> Deny:
        """No target of `model` takes calls, because an operator drained all of them."""
        return cls(
            Denial.UPSTREAM_UNAVAILABLE,
            "an operator has taken all of its targets out",
            model=model,
            key=key,
            retry_after_ms=_NO_CREDENTIAL_RETRY_MS,
        )
