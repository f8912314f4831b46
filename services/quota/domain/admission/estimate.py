"""Estimates: the most that a call can take, and what it probably takes.

We see the size of a body, but never the body itself. No tokenizer makes more tokens than there are bytes of text, so
bytes bound tokens. Rules bound everything else:

* Images: `_IMAGE_TOKENS` each. OpenAI's patch budgets, Anthropic's full resolution and Gemini's highest media
  resolution stay below it. The small GPT-4o models count images high on purpose (at most 2 833 + 8 x 5 667 tokens).
* Audio: the bytes of its base64. No codec in use stores speech at less than one byte per token.
* Files, references to stored input, pages that the provider's tools fetch, and unknown members: the context window,
  because the bytes of the request do not bound them. An unknown member may also be an output bound under another name.
  The most that the target can write then bounds the output.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from services.kernel.money import NanoUsd
from services.kernel.price import Bounds, Price, charge_at_most
from services.kernel.usage import AUDIO_INPUT, IMAGE_OUTPUT
from services.quota.domain.admission.price_options import extras_of
from services.quota.domain.admission.request_facts import Amounts, RequestFacts, Tokens
from services.quota.domain.policies.limit_id import MAX_COUNT
from services.quota.domain.routing.target_facts import TargetFacts

# Providers add their own instructions to a request with tools or a schema: 313 to 804 tokens at Anthropic.
_INSTRUCTION_TOKENS = 1_000


_INSTRUCTED = frozenset({"tools", "response_format"})


_UNLEARNED_DIVISOR = 10


# Lengths of answers are log-normal, so their mean lies above their median. Even with a quarter more, half of the calls
# hold less than twice what they take.
_SOFT_GUARD_PERCENT = 125


# More than any limit. Absurd requests could ask for more, which would only risk the overflow of a counter.
_NEVER_FITS = MAX_COUNT + 1


def bound(facts: RequestFacts, target: TargetFacts) -> Tokens:
    """The most tokens that one attempt at this target can take."""
    # An unknown member may be another bound of the output, where there is any.
    is_open = facts.unknown_members and facts.operation.writes
    output = target.longest_output if is_open else output_cap(facts, target)
    if not facts.price_options:
        return Tokens(_input_bound(facts, target), output * facts.choices)
    extras = extras_of(facts.price_options)
    return Tokens(_input_bound(facts, target) * extras.readings, (output + extras.output_tokens) * facts.choices)


def output_cap(facts: RequestFacts, target: TargetFacts) -> int:
    """The most output tokens of one choice: the client's own bound or the target's ceiling, whichever is less."""
    asked, ceiling = facts.max_output_tokens, target.output_ceiling
    return ceiling if asked is None or asked > ceiling else asked


def is_boundable(facts: RequestFacts, target: TargetFacts) -> bool:
    """Whether the input has a bound at all. Input from beyond the body has only the context window as its bound."""
    return target.context_window > 0 or not facts.reaches_beyond


class AttemptMost(NamedTuple):
    """The most that one attempt can take."""

    tokens: Tokens
    cost_nano_usd: NanoUsd | None
    """None: the target lacks a rate that the call may need. Audio and one-hour caching have rates of their own."""


def most_of(facts: RequestFacts, target: TargetFacts) -> AttemptMost:
    """The most that one attempt at this target can take."""
    tokens = bound(facts, target)
    return AttemptMost(tokens, _most(facts, tokens, target.price) if target.price is not None else None)


def held_by_chain(facts: RequestFacts, targets: Iterable[TargetFacts]) -> Amounts:
    """The most that a chain of these targets can take."""
    return held_by_attempts(most_of(facts, target) for target in targets)


def held_by_attempts(attempts: Iterable[AttemptMost]) -> Amounts:
    """The most that a chain can take: each attempt may end in a timeout after the provider did the work.

    The retries are one fewer than the targets. So "the most expensive one, and the next for each retry" are all
    targets.
    """
    spend = input_tokens = output_tokens = 0
    for tokens, cost_nano_usd in attempts:
        input_tokens += tokens.input
        output_tokens += tokens.output
        # An unknown amount is held as 0, too: see `TargetFacts.price`.
        spend += cost_nano_usd or 0
    if spend > MAX_COUNT or input_tokens > MAX_COUNT or output_tokens > MAX_COUNT:
        return Amounts(min(spend, _NEVER_FITS), min(input_tokens, _NEVER_FITS), min(output_tokens, _NEVER_FITS))
    return Amounts(spend, input_tokens, output_tokens)


def typical_amounts(facts: RequestFacts, target: TargetFacts, learned: Tokens | None) -> Amounts:
    """What a call holds in soft limits, for one attempt at this target: its probable use plus a guard."""
    tokens = expected_tokens(facts, target, learned)
    input_tokens, output_tokens = (-(-each * _SOFT_GUARD_PERCENT // 100) for each in (tokens.input, tokens.output))
    spend = _most(facts, Tokens(input_tokens, output_tokens), target.price) if target.price else None
    return Amounts(spend or 0, input_tokens, output_tokens)


def expected_tokens(facts: RequestFacts, target: TargetFacts, learned: Tokens | None) -> Tokens:
    """What a call probably takes: typical use of its key and model, or a tenth of the bound. Never above the bound."""
    most = bound(facts, target)
    if learned is None:
        return Tokens(-(-most.input // _UNLEARNED_DIVISOR), -(-most.output // _UNLEARNED_DIVISOR))
    return Tokens(min(learned.input, most.input), min(learned.output, most.output))


def expected_amounts(facts: RequestFacts, target: TargetFacts, learned: Tokens | None) -> Amounts:
    """The expected amount in each kind of limit, for one attempt at this target."""
    tokens = expected_tokens(facts, target, learned)
    spend = _most(facts, tokens, target.price) if target.price else None
    return Amounts(spend or 0, tokens.input, tokens.output)


def _most(facts: RequestFacts, tokens: Tokens, price: Price) -> NanoUsd | None:
    """The most that this many tokens of such a call can cost. None if the price lacks a rate that it may need."""
    features = facts.features
    if not (features or facts.price_options or facts.audio_bytes or facts.unknown_members):
        # Nearly every call: it can only take text.
        return charge_at_most(Bounds(tokens.input, tokens.output), price)
    extras = extras_of(facts.price_options)
    if extras.unpriceable or (extras.draws and not _has_rate(IMAGE_OUTPUT, price)):
        return None
    # If the target charges for audio, a tool may fetch audio.
    may_hear = facts.reaches_beyond and ("audio" in features or _has_rate(AUDIO_INPUT, price))
    bounds = Bounds(
        tokens.input,
        tokens.output,
        audio_input_tokens=tokens.input if may_hear else min(facts.audio_bytes, tokens.input),
        audio_output_tokens=tokens.output if extras.speaks else 0,
        writes_cache_1h="cache_1h" in features,
        searches=extras.searches,
        service_tier=extras.service_tier,
    )
    return charge_at_most(bounds, price)


def _has_rate(meter: str, price: Price) -> bool:
    return all(tier.rate(meter) is not None for tier in price.tiers)


def _input_bound(facts: RequestFacts, target: TargetFacts) -> int:
    # An unknown window stays unknown. Input from beyond the body then has no bound.
    window = target.context_window
    if window and facts.window_tokens > window:
        window = facts.window_tokens
    if window and facts.reaches_beyond:
        return window
    tokens = facts.text_bytes + facts.growth_bytes + facts.images * target.image_tokens
    if facts.features & _INSTRUCTED:
        tokens += _INSTRUCTION_TOKENS
    return window if 0 < window < tokens else tokens
