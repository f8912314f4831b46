"""What a call can take at most, and what it probably takes.

The body itself never reaches us; its size does. No tokenizer makes more tokens than there are bytes of text, so bytes
bound tokens. What is not text is bounded by rule:

* an image by `_IMAGE_TOKENS`: OpenAI's patch budgets, Anthropic's full resolution and Gemini's highest media resolution
  stay below it. The small GPT-4o models count an image dearly on purpose (2 833 + 8 x 5 667 tokens at most).
* audio by the bytes of its base64: no codec in use stores speech at less than one byte per token.
* files, references to stored input, what tools of the provider fetch, and whatever stands in members that nobody here
  knows by the context window, as none of it follows from the bytes of the request. An unknown member may be a bound on
  output under another name, too: then the output is bounded by what the target can write at most.
"""

from __future__ import annotations

from services.kernel.money import NanoUsd
from services.kernel.price import Bounds, Price, charge_at_most
from services.kernel.usage import AUDIO_INPUT, IMAGE_OUTPUT
from services.quota.domain.admission.price_options import extras_of
from services.quota.domain.admission.request_facts import Amounts, RequestFacts, Tokens
from services.quota.domain.policies.limit_id import MAX_COUNT
from services.quota.domain.routing.target_facts import TargetFacts

# Providers add instructions of their own to a request that has tools or a schema: 313 to 804 tokens at Anthropic.
_INSTRUCTION_TOKENS = 1_000


_INSTRUCTED = frozenset({"tools", "response_format"})


_UNLEARNED_DIVISOR = 10


# The mean of answers whose lengths are log-normal lies above their median: with a quarter more, half of the calls still
# hold less than twice what they take.
_SOFT_GUARD_PERCENT = 125


# More than any limit. Larger amounts, from absurd requests, say nothing more and could overflow a counter.
_NEVER_FITS = MAX_COUNT + 1


def bound(facts: RequestFacts, target: TargetFacts) -> Tokens:
    """The most tokens that one attempt at this target can take."""
    output = target.longest_output if facts.unknown_members else output_cap(facts, target)
    extras = extras_of(facts.price_options)
    return Tokens(_input_bound(facts, target) * extras.readings, (output + extras.output_tokens) * facts.choices)


def output_cap(facts: RequestFacts, target: TargetFacts) -> int:
    """The most output tokens of one choice: what the client allows itself, or the target's ceiling if that is less."""
    if facts.max_output_tokens is None:
        return target.output_ceiling
    return min(facts.max_output_tokens, target.output_ceiling)


def is_boundable(facts: RequestFacts, target: TargetFacts) -> bool:
    """Whether the input has a bound at all: what is not in the body has none but the context window."""
    return target.context_window > 0 or not facts.reaches_beyond


def is_priceable(facts: RequestFacts, target: TargetFacts) -> bool:
    """Whether the target has a price for all that the call may need: sound, and an hour of caching, have their own."""
    return target.price is not None and _most(facts, bound(facts, target), target.price) is not None


def held_by_chain(facts: RequestFacts, targets: tuple[TargetFacts, ...]) -> Amounts:
    """What a chain can take at most: each of its attempts may end in a timeout after the provider did the work.

    With as many retries as targets less one, "the dearest and the next dearest for each retry" is all of them.
    """
    spend = input_tokens = output_tokens = 0
    for target in targets:
        tokens = bound(facts, target)
        input_tokens += tokens.input
        output_tokens += tokens.output
        if target.price is not None:
            # Unknown is held as 0 as well: see `TargetFacts.price`.
            spend += _most(facts, tokens, target.price) or 0
    return Amounts(min(spend, _NEVER_FITS), min(input_tokens, _NEVER_FITS), min(output_tokens, _NEVER_FITS))


def typical_amounts(facts: RequestFacts, target: TargetFacts, learned: Tokens | None) -> Amounts:
    """What soft limits hold of a call: what it probably takes and a guard, for one attempt at this target."""
    tokens = expected_tokens(facts, target, learned)
    input_tokens, output_tokens = (-(-each * _SOFT_GUARD_PERCENT // 100) for each in (tokens.input, tokens.output))
    spend = _most(facts, Tokens(input_tokens, output_tokens), target.price) if target.price else None
    return Amounts(spend or 0, input_tokens, output_tokens)


def expected_tokens(facts: RequestFacts, target: TargetFacts, learned: Tokens | None) -> Tokens:
    """What a call probably takes: what its key and model took before, else a tenth of the bound. Never above it."""
    most = bound(facts, target)
    if learned is None:
        return Tokens(-(-most.input // _UNLEARNED_DIVISOR), -(-most.output // _UNLEARNED_DIVISOR))
    return Tokens(min(learned.input, most.input), min(learned.output, most.output))


def expected_amounts(facts: RequestFacts, target: TargetFacts, learned: Tokens | None) -> Amounts:
    """The same as amounts of each kind of limit, for one attempt at this target."""
    tokens = expected_tokens(facts, target, learned)
    spend = _most(facts, tokens, target.price) if target.price else None
    return Amounts(spend or 0, tokens.input, tokens.output)


def _most(facts: RequestFacts, tokens: Tokens, price: Price) -> NanoUsd | None:
    """The most that so many tokens of such a call cost. None when something that it may need has no rate."""
    extras = extras_of(facts.price_options)
    if extras.unpriceable or (extras.draws and not _has_rate(IMAGE_OUTPUT, price)):
        return None
    # What is fetched may be sound, where the target is paid for sound.
    may_hear = facts.reaches_beyond and ("audio" in facts.features or _has_rate(AUDIO_INPUT, price))
    bounds = Bounds(
        tokens.input,
        tokens.output,
        audio_input_tokens=tokens.input if may_hear else min(facts.audio_bytes, tokens.input),
        audio_output_tokens=tokens.output if extras.speaks else 0,
        writes_cache_1h="cache_1h" in facts.features,
        searches=extras.searches,
        service_tier=extras.service_tier,
    )
    return charge_at_most(bounds, price)


def _has_rate(meter: str, price: Price) -> bool:
    return all(tier.rate(meter) is not None for tier in price.tiers)


def _input_bound(facts: RequestFacts, target: TargetFacts) -> int:
    # A window that is not known stays unknown: what is in no body has no bound then.
    window = max(target.context_window, facts.window_tokens) if target.context_window else 0
    if window and facts.reaches_beyond:
        return window
    tokens = facts.text_bytes + facts.growth_bytes + facts.images * target.image_tokens
    if facts.features & _INSTRUCTED:
        tokens += _INSTRUCTION_TOKENS
    return min(tokens, window) if window else tokens
