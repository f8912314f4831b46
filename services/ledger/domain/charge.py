"""Decides which usage a call books and what it costs.

The provider's own count wins, explicit zeros included. Without one, the charge depends on how far the call got:

    no provider saw it, or the last one refused it                     nothing, cost 0
    the answer began and no count came (client left, stream cut)       an estimate from its evidence
    the request went out and nothing came back (timeout, reset)        the expected usage
    a proxy's time was up (408, 504, 524), or the status is strange    the expected usage

`services.ledger.domain.outcome` tells a refusal from the others. `services.ledger.domain.unmeasured` makes the
estimates and bounds each of them.

A provider may bill an attempt that went out, got no answer and was followed by another. Such an attempt is added at its
expected usage. One call is one entry, however many attempts it took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.kernel.money import NanoUsd
from services.kernel.price import FREE, Price, charge
from services.kernel.settlement import UNBOUNDED, Most
from services.kernel.usage import Usage, UsageSource, add_up
from services.ledger.domain.call import SpooledAttempt, SpooledCall
from services.ledger.domain.outcome import Outcome, is_unbilled
from services.ledger.domain.unmeasured import add_up_most, estimated_usage, most_of_answer, most_of_silence

_NOTHING = Usage()

PriceOf = Callable[[str, int], Price | None]
"""Returns the price of a target ("provider/model") at a time in ms, or None when it has no price."""


@dataclass(frozen=True, slots=True)
class UnansweredCharge:
    """An attempt that may be billed although nobody saw its answer."""

    attempt: int
    target: str
    usage: Usage
    cost_nano_usd: NanoUsd | None


@dataclass(frozen=True, slots=True)
class Charge:
    """The usage and cost of a call."""

    target: str
    """Target that answered or may have worked. Empty when none did."""
    usage: Usage
    """Usage of the answer plus usage of the unanswered attempts."""
    source: UsageSource
    """`provider` only if nothing in `usage` is estimated."""
    outcome: Outcome
    """Outcome of the last attempt. If that took nothing: of the last earlier attempt that may have."""
    cost_nano_usd: NanoUsd | None
    """None when a target that worked has no price for its work. Unknown is not zero."""
    unanswered: tuple[UnansweredCharge, ...]
    """Unanswered attempts before the last one."""
    most: Most | None
    """Upper bound over all attempts together. None when the usage is known."""


def charge_call(call: SpooledCall, attempts: Iterable[SpooledAttempt], price_of: PriceOf) -> Charge:
    """Charges `call`. `attempts` are its known attempts, in any order."""
    usage, source = usage_of_answer(call)
    if call.is_free:
        price_of = _costs_nothing
    worked = source is not UsageSource.NONE
    target = _target(call, call.attempts) if worked or call.began else ""
    price = price_of(target, call.time_ms) if worked else None
    cost = _cost(usage, price) if worked else NanoUsd(0)
    most = most_of_answer(call, usage, price) if source is UsageSource.ESTIMATED else None
    hung = [attempt for attempt in attempts if attempt.attempt < call.attempts and attempt.is_unanswered]
    if not hung:
        return Charge(target, usage, source, call.outcome, cost, (), most)
    known = Most(UNBOUNDED if cost is None else cost, usage.input_tokens, usage.output_tokens)
    unanswered, parts = [], [most or known]
    for attempt in hung:
        name = _target(call, attempt.attempt)
        price = price_of(name, call.time_ms)
        unanswered.append(UnansweredCharge(attempt.attempt, name, call.expected, _cost(call.expected, price)))
        parts.append(most_of_silence(call, price))
    return Charge(
        target=target,
        usage=add_up([usage, *(part.usage for part in unanswered)]),
        source=UsageSource.ESTIMATED,
        outcome=call.outcome if worked else max(hung, key=lambda attempt: attempt.attempt).outcome,
        cost_nano_usd=_sum_costs([cost, *(part.cost_nano_usd for part in unanswered)]),
        unanswered=tuple(unanswered),
        most=add_up_most(parts),
    )


def usage_of_answer(call: SpooledCall) -> tuple[Usage, UsageSource]:
    """Returns the usage of the last attempt and its source."""
    if call.usage is not None:
        return call.usage, UsageSource.PROVIDER
    if call.outcome is Outcome.NEVER_SENT or (call.began and is_unbilled(call.status)):
        return _NOTHING, UsageSource.NONE
    if not call.began:
        return call.expected, UsageSource.ESTIMATED
    return estimated_usage(call), UsageSource.ESTIMATED


def _target(call: SpooledCall, attempt: int) -> str:
    """Returns the target of the nth attempt. Empty when the line names no such target."""
    return call.chain[attempt - 1] if 1 <= attempt <= len(call.chain) else ""


def _costs_nothing(_: str, __: int) -> Price:
    return FREE


def _cost(usage: Usage, price: Price | None) -> NanoUsd | None:
    return None if price is None else charge(usage, price)


def _sum_costs(costs: list[NanoUsd | None]) -> NanoUsd | None:
    known = [cost for cost in costs if cost is not None]
    return NanoUsd(sum(known)) if len(known) == len(costs) else None
