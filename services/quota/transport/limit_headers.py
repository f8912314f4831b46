"""The headers that show a client its limits in every answer, under its vendor's names and under ours.

We do not report the provider's own limits, because they belong to an account that many clients share.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from services.kernel.clock import format_time
from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import BUDGET_REMAINING_HEADER, BUDGET_RESETS_HEADER, POLICY_HEADER
from services.kernel.limit_kind import LimitKind
from services.kernel.money import format_usd
from services.quota.domain.policies.limit_status import LimitStatus

Headers = list[tuple[str, str]]

_TOKEN_KINDS = frozenset(kind for kind in LimitKind if kind.is_tokens)
_REQUESTS = frozenset({LimitKind.REQUESTS})


class _Shown(NamedTuple):
    """The headers that show the first status of these kinds."""

    kinds: frozenset[LimitKind]
    limit: str
    remaining: str
    reset: str


def _shown(template: str, kinds: frozenset[LimitKind], name: str) -> _Shown:
    return _Shown(kinds, *(template.format(name=name, part=part) for part in ("limit", "remaining", "reset")))


# "tokens" is the tightest limit on tokens of any kind.
_OF_BOTH = ((_REQUESTS, "requests"), (_TOKEN_KINDS, "tokens"))
_OPENAI = [_shown("x-ratelimit-{part}-{name}", *each) for each in _OF_BOTH]
_ANTHROPIC = [
    _shown("anthropic-ratelimit-{name}-{part}", *each)
    for each in (
        *_OF_BOTH,
        (frozenset({LimitKind.INPUT_TOKENS}), "input-tokens"),
        (frozenset({LimitKind.OUTPUT_TOKENS}), "output-tokens"),
    )
]
NEVER_REPEAT = frozenset({BUDGET_REMAINING_HEADER, *(shown.remaining for shown in (*_OPENAI, *_ANTHROPIC))})
"""The headers that nearly every call changes."""
_REMEMBERED_RESETS = 1_024


def limit_headers(dialect: Dialect, limit_statuses: Sequence[LimitStatus], now_ms: int) -> Headers:
    """The rate limits under the names of the dialect's vendor. Gemini has no such headers."""
    headers: Headers = []
    if dialect is Dialect.GEMINI:
        return headers
    of_openai = dialect is Dialect.OPENAI
    for kinds, limit, remaining, reset in _OPENAI if of_openai else _ANTHROPIC:
        for status in limit_statuses:
            if status.kind in kinds:
                resets_at_ms = status.resets_at_ms
                resets = format_duration(resets_at_ms - now_ms) if of_openai else _reset_text(resets_at_ms)
                headers += ((limit, str(status.bound)), (remaining, str(status.remaining)), (reset, resets))
                break
    return headers


def budget_headers(status: LimitStatus) -> Headers:
    """One limit under our own names."""
    return [
        (POLICY_HEADER, status.policy),
        (BUDGET_REMAINING_HEADER, format_usd(status.remaining) if status.kind.is_money else str(status.remaining)),
        (BUDGET_RESETS_HEADER, _reset_text(status.resets_at_ms)),
    ]


def format_duration(length_ms: int) -> str:
    """A duration as OpenAI writes it: "1s", "6m0s", "26h0m1s". It is in whole seconds, rounded up."""
    seconds = -(-length_ms // 1000)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3_600:
        return f"{seconds // 60}m{seconds % 60}s"
    return f"{seconds // 3_600}h{seconds // 60 % 60}m{seconds % 60}s"


# Windows have few ends, and very many answers contain each of them.
@lru_cache(maxsize=_REMEMBERED_RESETS)
def _reset_text(instant_ms: int) -> str:
    return format_time(instant_ms)
