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

from dataclasses import dataclass, field
from typing import NamedTuple

from services.kernel.money import NanoUsd
from services.kernel.price import Bounds, Price, charge_at_most
from services.kernel.usage import AUDIO_INPUT, IMAGE_OUTPUT
from services.quota.domain.plan import PlannedTarget
from services.quota.domain.policy import MAX_COUNT, LimitKind
from services.quota.domain.price_options import extras_of

_IMAGE_TOKENS = 10_000
_DEAR_IMAGE_TOKENS = 48_169
_DEAR_IMAGE_MODELS = ("gpt-4o-mini",)
# Providers add instructions of their own to a request that has tools or a schema: 313 to 804 tokens at Anthropic.
_INSTRUCTION_TOKENS = 1_000
_INSTRUCTED = frozenset({"tools", "response_format"})
FETCHED = frozenset({"files", "stored_input", "server_tools"})
"""Features of requests with input that does not follow from their bytes."""
# For a target of which nobody knows better. It is written into the request, so that it holds.
OUTPUT_CEILING_WHEN_UNKNOWN = 32_768
_UNLEARNT_DIVISOR = 10
# The mean of answers whose lengths are log-normal lies above their median: with a quarter more, half of the calls still
# hold less than twice what they take.
_SOFT_GUARD_PERCENT = 125
# More than any limit. Larger amounts, from absurd requests, say nothing more and could overflow a counter.
_NEVER_FITS = MAX_COUNT + 1


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What Envoy's scan says about a request."""

    body_bytes: int
    data_uri_bytes: int = 0
    """Of the body: data of its images, not text."""
    images: int = 0
    audio_bytes: int = 0
    """Of the body: data of sound."""
    growth_bytes: int = 0
    """On top of the body: what its numbers may grow by when a server writes them again."""
    choices: int = 1
    max_output_tokens: int | None = None
    """The client's bound for each choice. None: it gave none."""
    thinking_tokens: int = 0
    """Of the output of each choice: the budget for thinking that the request sets. 0: it sets none."""
    features: frozenset[str] = field(default=frozenset())
    """Names as in `services.kernel.envoy_contract.RequestKey.FEATURES`."""
    stream: bool = False
    include_usage: bool = False
    """The client itself asked for the usage chunk of an OpenAI stream."""
    unknown_members: tuple[str, ...] = ()
    """Paths of members that the scan knows no meaning of, and values of headers that nobody knows."""
    window_tokens: int = 0
    """The context window that a header of the request opens; 0: that of the target."""
    price_options: tuple[str, ...] = ()
    """What it asks for that changes its price, as in `services.kernel.envoy_contract.RequestKey.PRICE_OPTIONS`."""

    @property
    def text_bytes(self) -> int:
        """All of the body but the data of its images."""
        return max(0, self.body_bytes - self.data_uri_bytes)

    @property
    def reaches_beyond(self) -> bool:
        """Whether input may count that is not in its bytes."""
        return bool(self.unknown_members) or not self.features.isdisjoint(FETCHED)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of a call."""

    input: int
    output: int


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a call takes of each kind of limit."""

    spend_nano_usd: int
    input_tokens: int
    output_tokens: int
    requests: int = 1
    usual: Amounts | None = None
    """What soft limits hold of the call instead, where one applies."""

    def held_in(self, kind: LimitKind, *, soft: bool) -> int:
        """The amount that a call holds in a limit of this kind. Never more than the most that it can take."""
        most = self.of(kind)
        return min(most, self.usual.of(kind)) if soft and self.usual is not None else most

    def of(self, kind: LimitKind) -> int:
        """The amount that a limit of this kind counts."""
        if kind is LimitKind.SPEND or kind is LimitKind.REQUEST_COST:
            return self.spend_nano_usd
        if kind is LimitKind.REQUESTS or kind is LimitKind.CONCURRENCY:
            return self.requests
        if kind is LimitKind.BURN_RATE:
            return 0
        if kind is LimitKind.TOKENS:
            return self.input_tokens + self.output_tokens
        return self.input_tokens if kind is LimitKind.INPUT_TOKENS else self.output_tokens


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What an estimate needs to know about a target."""

    output_ceiling: int
    """Most output tokens of one choice. One that is not known is written into the request, so that it holds."""
    context_window: int
    """0 when unknown."""
    image_tokens: int
    price: Price | None
    """None: unpriced. Its spend is then unknown and held as 0, which only limits that refuse nothing allow."""
    longest_output: int = 0
    """Most output tokens of one choice whatever the request says; 0 when unknown."""

    @classmethod
    def of(cls, target: PlannedTarget, price: Price | None) -> TargetFacts:
        """Reads them off a planned target."""
        dear = target.upstream_model.startswith(_DEAR_IMAGE_MODELS)
        return cls(
            output_ceiling=target.max_output_tokens or OUTPUT_CEILING_WHEN_UNKNOWN,
            context_window=target.context_window_tokens,
            image_tokens=_DEAR_IMAGE_TOKENS if dear else _IMAGE_TOKENS,
            price=price,
            longest_output=target.max_output_tokens or target.context_window_tokens,
        )


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


def usual_amounts(facts: RequestFacts, target: TargetFacts, learnt: Tokens | None) -> Amounts:
    """What soft limits hold of a call: what it probably takes and a guard, for one attempt at this target."""
    tokens = expected_tokens(facts, target, learnt)
    input_tokens, output_tokens = (-(-each * _SOFT_GUARD_PERCENT // 100) for each in (tokens.input, tokens.output))
    spend = _most(facts, Tokens(input_tokens, output_tokens), target.price) if target.price else None
    return Amounts(spend or 0, input_tokens, output_tokens)


def expected_tokens(facts: RequestFacts, target: TargetFacts, learnt: Tokens | None) -> Tokens:
    """What a call probably takes: what its key and model took before, else a tenth of the bound. Never above it."""
    most = bound(facts, target)
    if learnt is None:
        return Tokens(-(-most.input // _UNLEARNT_DIVISOR), -(-most.output // _UNLEARNT_DIVISOR))
    return Tokens(min(learnt.input, most.input), min(learnt.output, most.output))


def expected_amounts(facts: RequestFacts, target: TargetFacts, learnt: Tokens | None) -> Amounts:
    """The same as amounts of each kind of limit, for one attempt at this target."""
    tokens = expected_tokens(facts, target, learnt)
    spend = _most(facts, tokens, target.price) if target.price else None
    return Amounts(spend or 0, tokens.input, tokens.output)


class Lesson(NamedTuple):
    """What one call of a key for a model took."""

    key_id: str
    model: str
    usage: Tokens
    cut: bool = False
    """It used up the output to which the gateway had cut it: left alone it might have taken more."""
    text_bytes: int = 0
    """Of its request, all of whose input was text; 0: not all of it was."""
    answer_text_bytes: int = 0
    """Of its answer, as far as it was seen to be text; 0: nobody looked."""


def learn(before: Tokens | None, lesson: Lesson) -> Tokens:
    """Moves what is expected an eighth of the way to what a call took; the first call is taken as it is.

    A call that was cut can only raise what is expected, else cutting calls would teach to cut them further.
    """
    usage = lesson.usage
    if before is None:
        return usage
    output = max(before.output, usage.output) if lesson.cut else usage.output
    return Tokens(_towards(before.input, usage.input), _towards(before.output, output))


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


def _towards(before: int, now: int) -> int:
    return (7 * before + now + 4) // 8
