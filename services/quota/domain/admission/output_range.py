"""The output range of a call: the most and the least that it accepts if its ceilings do not fit.

Far from a limit a call reserves the ceilings of its targets. Near a limit quota cuts the output to the room that is
left, and the gateway writes the cut into the request. So the limit holds, and calls that fit still pass.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from services.kernel.endpoint import Operation
from services.quota.domain.admission.request_facts import RequestFacts, Tokens

# OpenAI refuses a smaller bound of a response.
_LEAST_OF_RESPONSE = 16


# Output tokens of each choice, while the typical answers of a key and model are unknown.
_LEAST_UNLEARNED = 64


# The smallest thinking budget that Anthropic accepts. The script that writes a cap lowers the budget below it, in
# proportion: https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking
_LEAST_THINKING = 1_024


_SHARE_UNLEARNED = 1_024


_SHARE_OF_LEARNED = 2


_ALL_THERE_IS = 2**62


@dataclass(frozen=True, slots=True)
class OutputRange:
    """The output tokens of each choice that a call asks for, from least to most."""

    least: int
    """The typical output of such calls. With less the call is not worth making."""
    most: int
    """The most that the call asks for; at least `least`."""


def output_range_of(facts: RequestFacts, learned: Tokens | None, *, contended: bool) -> OutputRange:
    """The output range that a call asks for.

    `contended`: others were refused a moment ago because of calls in flight. The call then leaves room for them;
    otherwise it may take all the room. A cap must stay above a thinking budget, or the provider refuses the request; so
    a call keeps its thinking budget, or is cut as a whole if that budget fills its bound.
    """
    typical = _LEAST_UNLEARNED if learned is None else max(1, -(-learned.output // facts.choices))
    if facts.operation is Operation.RESPOND:
        typical = max(typical, _LEAST_OF_RESPONSE)
    share = _SHARE_UNLEARNED if learned is None else _SHARE_OF_LEARNED * typical
    own = _ALL_THERE_IS if facts.max_output_tokens is None else facts.max_output_tokens
    # Claude Code asks for 32,000 tokens, 31,999 of them for thinking: that is the most it takes, not what it needs.
    is_filled = own - facts.thinking_tokens < typical
    thinking = min(facts.thinking_tokens, _LEAST_THINKING) if is_filled else facts.thinking_tokens
    least = min(typical + thinking, own)
    return OutputRange(least, min(share + thinking, own) if contended else own)


def largest_fitting(fits: Callable[[int], bool], least: int, most: int) -> int:
    """The largest cap from `least` to `most` that fits; `least - 1` if none does. Smaller caps fit as well."""
    return least - 1 + bisect_left(range(least, most + 1), True, key=lambda cap: not fits(cap))
