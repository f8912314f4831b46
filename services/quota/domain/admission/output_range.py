"""How much output a call asks for, and is content with, where its ceilings do not fit.

Far from a limit a call reserves the ceilings of its targets. Near it the output is cut to what there is room for, and
the cut is written into the request, so that the limit holds without refusing calls that fit.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from services.quota.domain.admission.request_facts import RequestFacts, Tokens

# Of each choice, while nobody knows how long the answers of a key and model are.
_LEAST_UNLEARNED = 64


_SHARE_UNLEARNED = 1_024


_SHARE_OF_LEARNED = 2


_ALL_THERE_IS = 2**62


@dataclass(frozen=True, slots=True)
class OutputRange:
    """Output tokens of each choice."""

    least: int
    """With fewer the call is not worth making: what such calls usually take."""
    most: int
    """At least `least`."""


def output_range_of(facts: RequestFacts, learned: Tokens | None, *, contended: bool) -> OutputRange:
    """What a call asks for.

    `contended`: others were refused a moment ago for what is in flight. A call then leaves room for them; else it may
    take all that there is. A cap must stay above a thinking budget, or the provider refuses the request.
    """
    typical = _LEAST_UNLEARNED if learned is None else max(1, -(-learned.output // facts.choices))
    share = _SHARE_UNLEARNED if learned is None else _SHARE_OF_LEARNED * typical
    own = _ALL_THERE_IS if facts.max_output_tokens is None else facts.max_output_tokens
    least = min(typical + facts.thinking_tokens, own)
    return OutputRange(least, min(share + facts.thinking_tokens, own) if contended else own)


def largest_fitting(fits: Callable[[int], bool], least: int, most: int) -> int:
    """The largest cap from `least` to `most` that fits, `least - 1` when none does. What fits, fits with less too."""
    return least - 1 + bisect_left(range(least, most + 1), True, key=lambda cap: not fits(cap))
