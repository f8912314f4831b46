"""Usage: what a provider says that a call took, in tokens.

Providers count differently: OpenAI and Gemini report input that includes what came from a cache, Anthropic reports it
apart. Here input always includes cached and cache-written tokens, output always includes reasoning, and `buckets`
gives the disjoint parts that are priced.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UsageSource(StrEnum):
    """Where the tokens of a call are known from."""

    PROVIDER = "provider"
    """The provider reported them, explicit zeros included."""
    ESTIMATED = "estimated"
    """The provider did not report, so they were estimated from bytes, or from what the call was expected to take."""
    NONE = "none"
    """The call took nothing: no provider did any work for it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. All counts are non-negative.

    Raises:
        ValueError: a part is larger than its whole, or negative.
    """

    input_tokens: int = 0
    """All input, cached and cache-written tokens included."""
    output_tokens: int = 0
    """All output, reasoning included."""
    cached_input_tokens: int = 0
    """Of the input: read from the provider's cache."""
    cache_write_5m_tokens: int = 0
    """Of the input: written to the provider's cache for five minutes (or for a time that it did not say)."""
    cache_write_1h_tokens: int = 0
    """Of the input: written to the provider's cache for an hour."""
    reasoning_tokens: int = 0
    """Of the output: reasoning that the client may not see."""

    def __post_init__(self) -> None:
        parts = (self.cached_input_tokens, self.cache_write_5m_tokens, self.cache_write_1h_tokens)
        if min(self.input_tokens, self.output_tokens, self.reasoning_tokens, *parts) < 0:
            raise ValueError(f"negative token count in {self!r}")
        if sum(parts) > self.input_tokens:
            raise ValueError(f"cached and cache-written tokens exceed the input in {self!r}")
        if self.reasoning_tokens > self.output_tokens:
            raise ValueError(f"reasoning exceeds the output in {self!r}")

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    @property
    def buckets(self) -> UsageBuckets:
        """The disjoint parts; they add up to `total_tokens`."""
        written = self.cache_write_5m_tokens + self.cache_write_1h_tokens
        return UsageBuckets(
            uncached_input=self.input_tokens - self.cached_input_tokens - written,
            cached_input=self.cached_input_tokens,
            cache_write_5m=self.cache_write_5m_tokens,
            cache_write_1h=self.cache_write_1h_tokens,
            visible_output=self.output_tokens - self.reasoning_tokens,
            reasoning=self.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class UsageBuckets:
    """Disjoint parts of a call's tokens: each token is in exactly one."""

    uncached_input: int
    cached_input: int
    cache_write_5m: int
    cache_write_1h: int
    visible_output: int
    reasoning: int
