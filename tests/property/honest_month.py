"""A month of honest calls, some of them aborted: how much is settled, and how much stays in doubt.

The estimate, the hold, the charge and the bound are the real ones; there is no network and no store.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from services.kernel.dialect import Dialect
from services.kernel.limit_kind import LimitKind
from services.kernel.price import Price
from services.kernel.settlement import Most
from services.ledger.domain.charge import charge_call
from services.quota.domain.admission.estimate import bound, held_by_chain
from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import RequestFacts, Tokens
from services.quota.domain.admission.unmeasured import NOTHING_TAUGHT, Guide, Taught, unmeasured_tokens
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.routing.target_facts import TargetFacts
from tests.worlds.flat_price import flat_price
from tests.worlds.spool_lines import NO_USAGE, call

PRICE = flat_price(input_price=2_500_000, output=10_000_000, cached_input=1_250_000)
_BYTES_PER_TOKEN = 4
_ENVELOPE_BYTES = 80
_EVENT_BYTES = 200
_CONTEXT = 200_000
_SPEND = f"{LimitKind.SPEND}/month"


@dataclass(frozen=True, slots=True)
class Habits:
    """How the calls of a month are."""

    dialect: Dialect
    prompt_bytes: int
    """Median; log-normal, like the answers."""
    answer_tokens: int
    max_tokens: int
    aborted_percent: int
    calls: int = 2_000


@dataclass(slots=True)
class Books:
    """The sums of the month, in nano-USD."""

    billed: int = 0
    settled: int = 0
    doubt: int = 0
    billed_at_most: int = 0
    """The bill of a provider that goes on to the request's bound after its client left."""


def live_through(habits: Habits, seed: int) -> Books:
    """The month, with a provider that stops when its client leaves."""
    source, books, taught = random.Random(seed), Books(), NOTHING_TAUGHT
    target = TargetFacts(habits.max_tokens, _CONTEXT, 10_000, PRICE)
    for number in range(habits.calls):
        # The first calls teach.
        aborted = number >= 20 and source.random() * 100 < habits.aborted_percent
        taught = _live(habits, target, taught, source, books, aborted=aborted)
    return books


def _live(
    habits: Habits, target: TargetFacts, taught: Taught, source: random.Random, books: Books, *, aborted: bool
) -> Taught:
    body_bytes = _ENVELOPE_BYTES + round(habits.prompt_bytes * source.lognormvariate(0, 0.8))
    facts = RequestFacts(body_bytes, max_output_tokens=habits.max_tokens, stream=True)
    input_tokens = (body_bytes - _ENVELOPE_BYTES) // _BYTES_PER_TOKEN + 4
    output_tokens = min(habits.max_tokens, max(2, round(habits.answer_tokens * source.lognormvariate(0, 0.7))))
    if not aborted:
        cost = _cost(input_tokens, output_tokens)
        books.billed += cost
        books.billed_at_most += cost
        books.settled += cost
        usage = Tokens(input_tokens, output_tokens)
        return taught.after(UsageSample("key", "model", usage, False, body_bytes, output_tokens * _BYTES_PER_TOKEN))
    sent = source.randint(1, output_tokens - 1)
    charge = charge_call(_line(habits, facts, target, taught, input_tokens=input_tokens, sent=sent), (), _price_of)
    assert charge.cost_nano_usd is not None
    assert charge.most is not None
    held = held_by_chain(facts, (target,)).cost_nano_usd
    settlement = Settlement(
        "rsv",
        charge.cost_nano_usd,
        charge.usage.input_tokens,
        charge.usage.output_tokens,
        0,
        reported=False,
        most=Most(*charge.most),
    )
    books.billed += _cost(input_tokens, sent)
    books.settled += charge.cost_nano_usd
    books.doubt += settlement.doubt(_SPEND, held)
    books.billed_at_most += _cost(input_tokens, habits.max_tokens)
    return taught


def _line(
    habits: Habits, facts: RequestFacts, target: TargetFacts, taught: Taught, *, input_tokens: int, sent: int
) -> Any:
    guide = Guide.of(taught, None)
    expected, most = unmeasured_tokens(facts, target, guide), bound(facts, target)
    seen = {"events": sent, "content": sent, "text": sent * _BYTES_PER_TOKEN, "bytes": sent * _EVENT_BYTES}
    usage: dict[str, Any] = {"meter": "open", "seen": seen}
    if habits.dialect is Dialect.OPENAI:
        del usage["meter"]
    else:
        usage["input_tokens"] = input_tokens
        usage["output_tokens"] = sent if habits.dialect is Dialect.GEMINI else 1
    line = dict(guide.answer._asdict()) if guide.answer else {"per_call": 0, "per_byte_micro": 1_000_000}
    return call(
        **NO_USAGE,
        flags="DC",
        details="downstream_remote_disconnect",
        stream=True,
        dialect=habits.dialect.value,
        bytes_sent=sent * _EVENT_BYTES,
        usage=usage,
        expected_input_tokens=expected.input,
        expected_output_tokens=expected.output,
        held_input_tokens=most.input,
        held_output_tokens=most.output,
        answer_tokens=line["per_call"],
        answer_microtokens_per_byte=line["per_byte_micro"],
    )


def _cost(input_tokens: int, output_tokens: int) -> int:
    return input_tokens * 2_500 + output_tokens * 10_000


def _price_of(target: str, time_ms: int) -> Price | None:
    del target, time_ms
    return PRICE
