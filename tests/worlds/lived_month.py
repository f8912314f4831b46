"""A month of honest calls, lived through: admitted, answered, booked and settled one by one over a real counter store.

Only Envoy and the wire are left out: lines of the spool are written as Envoy would, from what the admission carries.
Two policies match every call: `company` keeps doubt, and `trusting` says that it does not.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.kernel.clock import ManualClock
from services.kernel.dialect import Dialect
from services.kernel.price import Price
from services.ledger.domain.charge import Charge, charge_call
from services.ledger.domain.configuration import flat_price
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.domain.estimate import RequestFacts, bound
from services.quota.domain.plan import ModelPlan, PlanSnapshot, PriceSnapshot
from services.quota.domain.reservation import Most, Settlement
from services.quota.usecases.admit import Admitted
from tests.worlds.counter_store_notes import open_file
from tests.worlds.quota import World, spend, target, tier
from tests.worlds.spool_lines import NO_USAGE, call

ABORTED_PERCENT = 3
FEBRUARY_MS, DAYS, DAY_MS = 1_801_440_000_000, 28, 86_400_000
PRICE = flat_price(input_price=2_500_000, output=10_000_000, cached_input=1_250_000)
_BYTES_PER_TOKEN, _ENVELOPE_BYTES = 4, 80
_PROMPT_BYTES = (400, 4_000, 40_000)
"""Medians of three kinds of calls, as many of each."""
_ANSWER_TOKENS, _MAX_TOKENS = 300, 4_096
_TOKENS_A_SECOND = 80
_STREAMS: Mapping[Dialect, tuple[int, int]] = {
    Dialect.OPENAI: (1, 230),
    Dialect.ANTHROPIC: (4, 130),
    Dialect.GEMINI: (25, 450),
}
"""Tokens of an event, and the bytes around its text, as the vendors' own streams have them."""
_BUDGET_CENTS = 10_000_000
_LEARNT = 20


@dataclass(slots=True)
class Month:
    """What it came to, in nano-USD."""

    billed: int = 0
    """By a provider that stops when its client leaves."""
    billed_at_most: int = 0
    """By one that goes on to the request's bound."""
    settled: int = 0
    doubt: int = 0
    trusting_settled: int = 0
    trusting_doubt: int = 0
    doubt_in_march: int = 0

    @property
    def lost_basis_points(self) -> int:
        """What doubt takes, of what is settled."""
        return self.doubt * 10_000 // self.settled


def live_through(folder: Path, dialect: Dialect, *, stops: bool, calls: int = 1_500, seed: int = 1) -> Month:
    """The month of one team in one dialect. `stops`: its provider is declared to stop when its client hangs up."""
    with open_file(folder) as file:
        clock = ManualClock(FEBRUARY_MS)
        trusting = replace(spend("trusting", _BUDGET_CENTS), estimates_unmeasured=True)
        world = World((spend("company", _BUDGET_CENTS), trusting), counters=SqliteCounters(file), clock=clock)
        name = "lab/chat"
        chat = replace(target(name, dialect, max_output_tokens=_MAX_TOKENS), stops_on_disconnect=stops)
        world.current.set_prices(PriceSnapshot("p", {name: PRICE}))
        world.current.set_plan(PlanSnapshot("m", {"chat": ModelPlan("chat", (tier(0, name),))}, {name: chat}))
        month, source = Month(), random.Random(f"{dialect} {seed}")
        for number in range(calls):
            world.clock.advance(DAYS * DAY_MS * 9 // 10 // calls)
            aborted = number >= _LEARNT and source.random() * 100 < ABORTED_PERCENT
            _live(world, dialect, source, month, aborted=aborted)
        (month.settled, reserved), month.doubt = world.level("company"), world.doubt("company")
        (month.trusting_settled, _), month.trusting_doubt = world.level("trusting"), world.doubt("trusting")
        assert not reserved
        world.clock.advance(DAYS * DAY_MS)
        month.doubt_in_march = world.doubt("company")
        return month


def _live(world: World, dialect: Dialect, source: random.Random, month: Month, *, aborted: bool) -> None:
    body_bytes = _ENVELOPE_BYTES + round(source.choice(_PROMPT_BYTES) * source.lognormvariate(0, 0.5))
    facts = RequestFacts(body_bytes, max_output_tokens=_MAX_TOKENS, stream=True)
    input_tokens = (body_bytes - _ENVELOPE_BYTES) // _BYTES_PER_TOKEN + 4
    output_tokens = min(_MAX_TOKENS, max(2, round(_ANSWER_TOKENS * source.lognormvariate(0, 0.7))))
    admitted = world.ask("chat", facts, dialect=dialect)
    assert isinstance(admitted, Admitted), admitted
    made = source.randint(1, output_tokens - 1) if aborted else output_tokens
    world.clock.advance(made * 1_000 // _TOKENS_A_SECOND)
    charge = charge_call(_line(admitted, facts, dialect, (input_tokens, made), aborted=aborted), (), _price_of)
    world.settle_all([_settlement(admitted, charge, made * _BYTES_PER_TOKEN, world.clock.now_ms())], 0)
    month.billed += _cost(input_tokens, made)
    month.billed_at_most += _cost(input_tokens, _MAX_TOKENS if aborted else made)


def _line(admitted: Admitted, facts: RequestFacts, dialect: Dialect, tokens: tuple[int, int], *, aborted: bool) -> Any:
    """As Envoy writes it: of a stream that was left behind an event, and of one that was read to its end."""
    (attempt,), (input_tokens, made) = admitted.chain, tokens
    reservation, tokens_of_an_event = admitted.reservation, _STREAMS[dialect][0]
    events = -(-made // tokens_of_an_event)
    sent = events * _STREAMS[dialect][1] + made * _BYTES_PER_TOKEN
    usage: dict[str, Any] = {
        "seen": {"events": events, "content": events, "text": made * _BYTES_PER_TOKEN, "bytes": sent}
    }
    if not aborted:
        usage |= {"meter": "whole", "input_tokens": input_tokens, "output_tokens": made}
    elif dialect is not Dialect.OPENAI:
        told = made if dialect is Dialect.GEMINI else 1
        usage |= {"meter": "open", "input_tokens": input_tokens, "output_tokens": told}
    ended: dict[str, Any] = {"flags": "DC", "details": "downstream_remote_disconnect"} if aborted else {}
    return call(
        **NO_USAGE,
        **ended,
        stream=True,
        dialect=dialect.value,
        chain=attempt.fit.target.name,
        stops_on_disconnect=attempt.fit.target.name if attempt.fit.target.stops_on_disconnect else None,
        protocol="HTTP/1.1",
        bytes_sent=sent,
        first_byte_ms=400,
        duration_ms=400 + made * 1_000 // _TOKENS_A_SECOND,
        usage=usage,
        expected_input_tokens=reservation.expected_input_tokens,
        expected_output_tokens=reservation.expected_output_tokens,
        held_input_tokens=bound(facts, attempt.fit.facts).input,
        held_output_tokens=attempt.output_bound(facts),
        answer_tokens=admitted.answer.per_call,
        answer_microtokens_per_byte=admitted.answer.per_byte_micro,
    )


def _settlement(admitted: Admitted, charge: Charge, text_bytes: int, now_ms: int) -> Settlement:
    assert charge.cost_nano_usd is not None
    return Settlement(
        admitted.reservation.id,
        charge.cost_nano_usd,
        charge.usage.input_tokens,
        charge.usage.output_tokens,
        now_ms,
        reported=charge.most is None,
        answer_text_bytes=text_bytes,
        most=Most(*charge.most) if charge.most is not None else None,
    )


def _cost(input_tokens: int, output_tokens: int) -> int:
    return input_tokens * 2_500 + output_tokens * 10_000


def _price_of(name: str, time_ms: int) -> Price | None:
    del name, time_ms
    return PRICE
