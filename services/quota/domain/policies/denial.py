"""Refusals. A refusal to spend is a value that says everything that an answer needs, not an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowRule
from services.quota.domain.identity.key import KeyState
from services.quota.domain.policies.limit_status import LimitStatus
from services.quota.domain.policies.policy import TOO_MANY_REQUESTS


class Denial(StrEnum):
    """Why a call is refused, in order of precedence: when several reasons hold, the first one is told.

    First whether we can decide at all, then who asks, then for what, then whether there is room. Of the last group
    the lasting reasons come first: a client must not be told to try again shortly when another limit stays shut.
    """

    POLICY_UNAVAILABLE = "policy_unavailable"
    """No decision is possible now: no plan yet, the store fails, or the disk is nearly full."""
    MALFORMED = "malformed"
    """The request cannot be understood."""
    MISSING_KEY = "missing_key"
    INVALID_KEY = "invalid_key"
    DISABLED_KEY = "disabled_key"
    EXPIRED_KEY = "expired_key"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    """The key is not for this model."""
    MODEL_NOT_FOUND = "model_not_found"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    """The model exists, but the gateway lacks the credentials of all of its providers."""
    NO_FIT_TARGET = "no_fit_target"
    """The model exists, but no target of it can carry this request in the client's dialect."""
    UNBOUNDED_KEY = "unbounded_key"
    """No policy bounds what calls of this key for this model can take, and the key does not say that none need."""
    UNKNOWN_MEMBER = "unknown_member"
    """The request has members, or values of a header, that nobody here knows, and a policy refuses such calls."""
    UNPRICED_MODEL = "unpriced_model"
    """A spend policy applies and no fit target has a price. Unknown is never zero."""
    REQUEST_COST_LIMIT = "request_cost_limit"
    """This call alone is more than any one call may cost."""
    BUDGET_EXHAUSTED = "budget_exhausted"
    """What is settled, and what is in doubt beside it, has reached the limit."""
    REQUEST_EXCEEDS_REMAINING_BUDGET = "request_exceeds_remaining_budget"
    """This call alone is more than what is settled and in doubt leaves. A smaller one may pass."""
    BURN_RATE = "burn_rate"
    """The key spends far faster than it usually does."""
    RATE_LIMITED = "rate_limited"
    """A limit on requests or tokens per minute or hour is reached."""
    RESERVATION_CONTENTION = "reservation_contention"
    """There would be room if the calls in flight did not hold it. They give most of it back when they end."""

    @property
    def transient(self) -> bool:
        """Whether the same request can pass shortly, its client and its budget being as they are."""
        return self in _TRANSIENT

    @property
    def precedence(self) -> int:
        """Position in the order above, 0 first."""
        return _PRECEDENCE[self]


# Whatever is missing is back within seconds: every part of the gateway is restarted at once.
_UNAVAILABLE_RETRY_MS = 1_000


# Somebody has to put the credential there; then it is found within seconds.
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
    """Why a key in this state is refused; None: it works."""
    return _OF_STATE.get(state)


@dataclass(frozen=True, slots=True)
class Deny:
    """A refusal with its figures. Amounts are nano-USD for spend, else tokens or requests."""

    denial: Denial
    detail: str = ""
    """What more there is to say, a clause without a full stop. Holds no secret."""
    model: str = ""
    parameter: str = ""
    """The member of the request that is at fault, empty when none is."""
    key: str = ""
    """Name of the key, once it is known."""
    policy: str = ""
    scope: str = ""
    limit_kind: LimitKind | None = None
    limit_id: str = ""
    """What the counters of the limit are filed under."""
    limit: int = 0
    """The bound."""
    used: int = 0
    """Settled."""
    reserved: int = 0
    doubt: int = 0
    """What calls whose end nobody measured may have taken beyond what is settled of them."""
    requested: int = 0
    """The least that this call would have held: its output can be cut to what such calls usually take."""
    window: WindowRule | None = None
    window_start_ms: int = 0
    resets_at_ms: int = 0
    overridden_until_ms: int = 0
    """When the override ends that sets `limit`; 0: it is the policy's own."""
    contended: bool = False
    """Only calls in flight are in the way. They can give room back when they end."""
    retry_after_ms: int | None = None
    """How long to wait before asking again is worth it; None when waiting does not help."""
    max_affordable_output_tokens: int = 0
    """With a bound of so many output tokens the call would fit in what is settled. 0: with none, or that is no help."""
    exhausted_status: int = TOO_MANY_REQUESTS
    """HTTP status if nothing but the end of the window, or a smaller call, helps."""
    decided_at_ms: int = 0
    limit_statuses: tuple[LimitStatus, ...] = ()
    """The tightest enforced limit of each kind, when limits were looked at."""

    @classmethod
    def unavailable(cls, detail: str) -> Deny:
        """No decision is possible now."""
        return cls(Denial.POLICY_UNAVAILABLE, detail, retry_after_ms=_UNAVAILABLE_RETRY_MS)

    @classmethod
    def without_credential(cls, providers: tuple[str, ...], *, model: str, key: str) -> Deny:
        """No target of `model` is usable for want of the credentials of `providers`, its only ones."""
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
