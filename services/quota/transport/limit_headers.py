"""The headers that show a client its limits in every answer, under its vendor's names and under ours.

We do not report the provider's own limits, because they belong to an account that many clients share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from services.kernel.clock import format_time
from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import BUDGET_REMAINING_HEADER, BUDGET_RESETS_HEADER, POLICY_HEADER
from services.kernel.limit_kind import LimitKind
from services.kernel.money import format_usd
from services.quota.domain.policies.limit_status import LimitStatus

Headers = Iterator[tuple[str, str]]

_TOKEN_KINDS = frozenset(kind for kind in LimitKind if kind.is_tokens)
_REQUESTS = frozenset({LimitKind.REQUESTS})
# Each name shows the first status of these kinds. "tokens" is the tightest limit on tokens of any kind.
_OPENAI = ((_REQUESTS, "requests"), (_TOKEN_KINDS, "tokens"))
_ANTHROPIC = (
    *_OPENAI,
    (frozenset({LimitKind.INPUT_TOKENS}), "input-tokens"),
    (frozenset({LimitKind.OUTPUT_TOKENS}), "output-tokens"),
)
_REMEMBERED_RESETS = 1_024


def limit_headers(dialect: Dialect, limit_statuses: Sequence[LimitStatus], now_ms: int) -> Headers:
    """The rate limits under the names of the dialect's vendor. Gemini has no such headers."""
    if dialect is Dialect.OPENAI:
        for status, name in _named(_OPENAI, limit_statuses):
            yield f"x-ratelimit-limit-{name}", str(status.bound)
            yield f"x-ratelimit-remaining-{name}", str(status.remaining)
            yield f"x-ratelimit-reset-{name}", format_duration(status.resets_at_ms - now_ms)
    elif dialect is Dialect.ANTHROPIC:
        for status, name in _named(_ANTHROPIC, limit_statuses):
            yield f"anthropic-ratelimit-{name}-limit", str(status.bound)
            yield f"anthropic-ratelimit-{name}-remaining", str(status.remaining)
            yield f"anthropic-ratelimit-{name}-reset", _reset_text(status.resets_at_ms)


def budget_headers(status: LimitStatus) -> Headers:
    """One limit under our own names."""
    money = status.kind.is_money
    yield POLICY_HEADER, status.policy
    yield BUDGET_REMAINING_HEADER, format_usd(status.remaining) if money else str(status.remaining)
    yield BUDGET_RESETS_HEADER, _reset_text(status.resets_at_ms)


def format_duration(length_ms: int) -> str:
    """A duration as OpenAI writes it: "1s", "6m0s", "26h0m1s". It is in whole seconds, rounded up."""
    seconds = -(-length_ms // 1000)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s"


def _named(
    names: Iterable[tuple[frozenset[LimitKind], str]], limit_statuses: Sequence[LimitStatus]
) -> Iterator[tuple[LimitStatus, str]]:
    for kinds, name in names:
        for status in limit_statuses:
            if status.kind in kinds:
                yield status, name
                break


# Windows have few ends, and very many answers contain each of them.
@lru_cache(maxsize=_REMEMBERED_RESETS)
def _reset_text(instant_ms: int) -> str:
    return format_time(instant_ms)
