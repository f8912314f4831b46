"""Which usage a call books, and what that costs.

The provider's word wins, explicit zeros included. Where it is missing, what the call took depends on how far it came:

    no provider saw it, or the last attempt ended 4xx, 5xx or 3xx      nothing, cost 0
    the answer began and no count came (client left, stream cut)       expected input, output estimated from its bytes
    the request went out and nothing came back (timeout, reset)        what the call was expected to take

An attempt that went out, got no answer and was followed by another may be billed by its provider all the same, so it
is added at what the call was expected to take. One call is one entry, however many attempts it took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.kernel.dialect import Dialect
from services.kernel.money import NanoUsd
from services.kernel.price import Price, charge
from services.kernel.usage import Usage, UsageSource, add_up
from services.ledger.domain.call import SpooledAttempt, SpooledCall
from services.ledger.domain.outcome import Outcome

_NOTHING = Usage()

_STREAM_BYTES_PER_TOKEN: dict[str, int] = {
    # One event for each token: some 200 bytes of ids and envelope around four of text.
    Dialect.OPENAI: 200,
    # Events of some 115 bytes around three tokens of text.
    Dialect.ANTHROPIC: 40,
    # Events of some 400 bytes around thirty tokens of text.
    Dialect.GEMINI: 14,
}
_JSON_BYTES_PER_TOKEN = 4
_JSON_ENVELOPE_BYTES = 400
_MOST_ESTIMATED_TOKENS = 128_000
"""Bound of an estimate when the reservation's own bound is not on the line."""

PriceOf = Callable[[str, int], Price | None]
"""Price of a target ("provider/model") at a time in ms, None when it has none."""


@dataclass(frozen=True, slots=True)
class UnansweredCharge:
    """An attempt that may be billed although nobody saw its answer."""

    attempt: int
    target: str
    usage: Usage
    cost_nano_usd: NanoUsd | None


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call took."""

    target: str
    """Target that answered or may have worked, empty when none did."""
    usage: Usage
    """The answer's usage with that of the unanswered attempts."""
    source: UsageSource
    """`provider` only if nothing in `usage` is estimated."""
    outcome: Outcome
    """How the last attempt ended; if it took nothing, the last one before it that may have."""
    cost_nano_usd: NanoUsd | None
    """None when any target that worked has no price for what it did: unknown is not zero."""
    unanswered: tuple[UnansweredCharge, ...]
    """Attempts before the last one."""


def charge_call(call: SpooledCall, attempts: Iterable[SpooledAttempt], price_of: PriceOf) -> Charge:
    """What `call` took. `attempts` are those of its attempts that are known, in any order."""
    usage, source = usage_of_answer(call)
    worked = source is not UsageSource.NONE
    target = _target(call, call.attempts) if worked or call.began else ""
    cost = _cost(usage, price_of(target, call.time_ms)) if worked else NanoUsd(0)
    hung = [attempt for attempt in attempts if attempt.attempt < call.attempts and attempt.is_unanswered]
    unanswered = tuple(
        UnansweredCharge(
            attempt.attempt,
            name := _target(call, attempt.attempt),
            call.expected,
            _cost(call.expected, price_of(name, call.time_ms)),
        )
        for attempt in hung
    )
    if not unanswered:
        return Charge(target, usage, source, call.outcome, cost, ())
    return Charge(
        target=target,
        usage=add_up([usage, *(part.usage for part in unanswered)]),
        source=UsageSource.ESTIMATED,
        outcome=call.outcome if worked else max(hung, key=lambda attempt: attempt.attempt).outcome,
        cost_nano_usd=_sum_costs([cost, *(part.cost_nano_usd for part in unanswered)]),
        unanswered=unanswered,
    )


def usage_of_answer(call: SpooledCall) -> tuple[Usage, UsageSource]:
    """What the last attempt took, and how that is known."""
    if call.usage is not None:
        return call.usage, UsageSource.PROVIDER
    if call.outcome is Outcome.NEVER_SENT or (call.began and not 200 <= call.status < 300):
        return _NOTHING, UsageSource.NONE
    if not call.began:
        return call.expected, UsageSource.ESTIMATED
    return _usage_of_part(call), UsageSource.ESTIMATED


def _usage_of_part(call: SpooledCall) -> Usage:
    """Usage of an answer of which a part came: the provider's own input, if it told that, and at least its output."""
    reading = call.reading
    input_tokens = call.expected.input_tokens if reading.input_tokens is None else reading.input_tokens
    return reading.usage_of(input_tokens, max(estimated_output_tokens(call), reading.output_tokens or 0))


def estimated_output_tokens(call: SpooledCall) -> int:
    """Output of an answer that was sent in part, or whose count is missing, from the bytes that the client was sent.

    A head without a single byte tells nothing about the output: then it is what was expected.
    """
    if not call.bytes_sent:
        return call.expected.output_tokens
    if call.stream:
        tokens = call.bytes_sent // _STREAM_BYTES_PER_TOKEN.get(call.dialect, _STREAM_BYTES_PER_TOKEN[Dialect.OPENAI])
    else:
        tokens = (call.bytes_sent - _JSON_ENVELOPE_BYTES) // _JSON_BYTES_PER_TOKEN
    return min(max(tokens, 1), call.held_output_tokens or _MOST_ESTIMATED_TOKENS)


def _target(call: SpooledCall, attempt: int) -> str:
    """Target of the nth attempt. Empty when the line names no such target."""
    return call.chain[attempt - 1] if 1 <= attempt <= len(call.chain) else ""


def _cost(usage: Usage, price: Price | None) -> NanoUsd | None:
    return None if price is None else charge(usage, price)


def _sum_costs(costs: list[NanoUsd | None]) -> NanoUsd | None:
    known = [cost for cost in costs if cost is not None]
    return NanoUsd(sum(known)) if len(known) == len(costs) else None
