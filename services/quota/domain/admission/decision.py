"""The one comparison of spend with a limit, for every scope, limit kind and window.

A scope is data here. There are no separate rules for keys and teams, so none can be forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.kernel.limit_kind import LimitKind
from services.quota.domain.admission.request_facts import Amounts
from services.quota.domain.counters.counter import Level
from services.quota.domain.directory.applied_limits import AppliedLimit
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit_status import counted

_WHOLE = 10_000
_OWN_REASONS = {LimitKind.REQUEST_COST: Denial.REQUEST_COST_LIMIT, LimitKind.BURN_RATE: Denial.BURN_RATE}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One limit that has no room for a call."""

    denial: Denial
    limit: AppliedLimit
    level: Level
    requested: int
    frees_up: bool
    """Only calls in flight stand in the way. They can give room back when they end."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict of all limits on one call."""

    refusal: Refusal | None
    """The refusal to report; None if every enforced limit has room."""
    shadowed: tuple[Refusal, ...]
    """The refusals of limits in shadow mode."""
    holds: Sequence[int]
    """What the call would hold in each limit."""


def fits(settled: int, reserved: int, doubt: int, held: int, bound: int) -> bool:
    """Whether a counter has room for a hold. The bound is inclusive."""
    return settled + reserved + doubt + held <= bound


def ceiling_of(limit: AppliedLimit, held: int) -> int | None:
    """The most that a limit's counter may reach with this hold; None: the limit cannot refuse the call."""
    return limit.bound if limit.enforced and (held or not _is_free(limit, held)) else None


def decide(limits: Sequence[AppliedLimit], levels: Sequence[Level], amounts: Amounts) -> Decision:
    """Admits only if every enforced limit has room for the call. `levels` belong to `limits`, in the same order.

    If several limits refuse, the decision reports the first `Denial` by precedence. Of equal ones it reports the one
    whose window ends last, because by then the others will have passed.
    """
    reported: Refusal | None = None
    shadowed: tuple[Refusal, ...] = ()
    holds = [amounts.held_in(limit.kind, soft=limit.soft) for limit in limits]
    for limit, level, held in zip(limits, levels, holds, strict=True):
        settled, reserved, doubt = level
        if fits(settled, reserved, doubt, held, limit.bound) or _is_free(limit, held):
            continue
        refusal = _refusal(limit, level, held)
        if not limit.enforced:
            shadowed += (refusal,)
        elif reported is None or _weight(refusal) < _weight(reported):
            reported = refusal
    return Decision(reported, shadowed, holds)


def _is_free(limit: AppliedLimit, held: int) -> bool:
    """Whether the call is free here. No limit on spend refuses a call that costs nothing, even if it is overdrawn."""
    return held == 0 and limit.kind.needs_price


def used_basis_points(limit: AppliedLimit, amount: int) -> int:
    """An amount as a part of a limit, in basis points."""
    return basis_points_of(limit.bound, amount)


def basis_points_of(bound: int, amount: int) -> int:
    """An amount as a part of a bound, in basis points rounded down. A bound of 0 is used up from the start."""
    return amount * _WHOLE // bound if bound else _WHOLE


def budget_used_basis_points(limits: Sequence[AppliedLimit], levels: Sequence[Level]) -> int:
    """The settled part of the tightest enforced limit of a day or longer. It only grows within a window."""
    used = 0
    for limit, level in zip(limits, levels, strict=True):
        if limit.steers and (part := basis_points_of(limit.bound, level[0])) > used:
            used = part
    return used


def is_degraded(limits: Sequence[AppliedLimit], levels: Sequence[Level]) -> bool:
    """Whether a threshold that sends calls to a cheaper tier is reached, whatever the model's own tiers say."""
    for limit, level in zip(limits, levels, strict=True):
        if limit.degrades_at is not None and level[0] >= limit.degrades_at:
            return True
    return False


def deny_of(refusal: Refusal, *, expected: Amounts, key: str, model: str, now_ms: int, contention_wait_ms: int) -> Deny:
    """The denial for a refusal, with all its figures.

    `expected`: the typical amounts of such a call. If the rest of a limit does not cover even those, the limit counts
    as exhausted, although the rest is not quite nothing. This does not apply to a call that would not fit even an
    unused limit. `contention_wait_ms`: how long calls in flight take to give room back.
    """
    limit = refusal.limit
    denial = refusal.denial
    settled, reserved, doubt = refusal.level
    typical = expected.of(limit.kind)
    if denial is Denial.REQUEST_EXCEEDS_REMAINING_BUDGET and not (
        limit.is_rate or typical > limit.bound or fits(settled, 0, doubt, typical, limit.bound)
    ):
        denial = Denial.BUDGET_EXHAUSTED
    used = counted(limit.kind, settled, reserved)
    until_reset_ms = limit.window_end_ms - now_ms
    retry_after_ms: int | None = None
    if denial.transient:
        if denial is Denial.BURN_RATE:
            until_reset_ms = limit.window.rolling_ms
        retry_after_ms = min(contention_wait_ms, until_reset_ms) if refusal.frees_up else until_reset_ms
    return Deny(
        denial,
        model=model,
        key=key,
        policy=limit.counter.policy,
        scope=limit.counter.scope,
        limit_kind=limit.kind,
        limit_id=limit.counter.limit_id,
        limit=limit.bound,
        used=used,
        reserved=settled + reserved - used,
        doubt=doubt,
        requested=refusal.requested,
        window=limit.window,
        window_start_ms=limit.counter.window_start_ms,
        resets_at_ms=limit.window_end_ms,
        overridden_until_ms=limit.overridden_until_ms,
        contended=refusal.frees_up,
        retry_after_ms=retry_after_ms,
        decided_at_ms=now_ms,
        exhausted_status=limit.exhausted_status,
    )


def _refusal(limit: AppliedLimit, level: Level, held: int) -> Refusal:
    """Names the reason why `fits` said no.

    | what holds                              | a budget               | a rate (in an hour or less)      |
    |-----------------------------------------|------------------------|----------------------------------|
    | the limit is 0                          | BUDGET_EXHAUSTED       | BUDGET_EXHAUSTED                 |
    | used and doubt have reached the limit   | BUDGET_EXHAUSTED       | RATE_LIMITED                     |
    | the call alone is more than the limit   | REQUEST_EXCEEDS_...    | REQUEST_EXCEEDS_... (goes first) |
    | it would not fit with nothing in flight | REQUEST_EXCEEDS_...    | RATE_LIMITED                     |
    | it fits but for what is in flight       | RESERVATION_CONTENTION | RATE_LIMITED                     |

    Requests in flight count as used: a call counts as one request however it ends, so waiting for it gives nothing
    back. Waiting does not lift doubt either, because no call in flight holds it. The limit on the cost of one call has
    only one reason, REQUEST_COST_LIMIT; the limit on the burn rate has only one, too.
    """
    used, bound = counted(limit.kind, level.settled, level.reserved), limit.bound
    fits_alone = fits(used, 0, level.doubt, held, bound)
    if limit.kind in _OWN_REASONS:
        denial = _OWN_REASONS[limit.kind]
    elif bound == 0 or (used + level.doubt >= bound and not limit.is_rate):
        denial = Denial.BUDGET_EXHAUSTED
    elif held > bound:
        denial = Denial.REQUEST_EXCEEDS_REMAINING_BUDGET
    elif limit.is_rate:
        denial = Denial.RATE_LIMITED
    elif fits_alone:
        denial = Denial.RESERVATION_CONTENTION
    else:
        denial = Denial.REQUEST_EXCEEDS_REMAINING_BUDGET
    return Refusal(denial, limit, level, held, frees_up=fits_alone)


def _weight(refusal: Refusal) -> tuple[int, int]:
    return refusal.denial.precedence, -refusal.limit.window_end_ms
