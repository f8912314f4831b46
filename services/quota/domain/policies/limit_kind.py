"""What a limit counts: one row for each kind."""

from __future__ import annotations

from enum import StrEnum

from services.kernel.money import NANO_PER_USD

# Counters of larger stores compare in doubles, which are exact up to 2^53 nano-USD: about $9.0 million.
MAX_SPEND_NANO_USD = 9_000_000 * NANO_PER_USD


MAX_COUNT = 2**53


SOFT_MARK = "/soft"


class LimitKind(StrEnum):
    """What a limit counts."""

    SPEND = "spend"
    """Nano-USD."""
    TOKENS = "tokens"
    """Input and output together."""
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    REQUESTS = "requests"
    CONCURRENCY = "concurrency"
    """Calls that have not ended."""
    REQUEST_COST = "request_cost"
    """Nano-USD that one call can take at most. Nothing adds up."""
    BURN_RATE = "burn_rate"
    """Nano-USD that a key spends in a minute, against what it usually does. Calls in flight hold nothing of it."""

    @property
    def is_money(self) -> bool:
        """Whether amounts of it are nano-USD."""
        return self in _OF_MONEY

    @property
    def needs_price(self) -> bool:
        """Whether a call without a price cannot be judged."""
        return self in _PRICED

    @property
    def has_window(self) -> bool:
        """Whether it adds up over a period of time that a policy chooses."""
        return self not in _WITHOUT_WINDOW

    @property
    def is_of_size(self) -> bool:
        """Whether a larger call holds more of it, so that the size of a call must have a bound."""
        return self not in _OF_ONE_SIZE

    @property
    def is_of_every_call(self) -> bool:
        """Whether every call takes something of it, and that adds up."""
        return self in _OF_EVERY_CALL


# Asked several times in each decision, where a set that is built anew costs more than the question.
_PRICED = frozenset({LimitKind.SPEND, LimitKind.REQUEST_COST})


_OF_MONEY = _PRICED | {LimitKind.BURN_RATE}


_WITHOUT_WINDOW = frozenset({LimitKind.CONCURRENCY, LimitKind.REQUEST_COST, LimitKind.BURN_RATE})


_OF_ONE_SIZE = frozenset({LimitKind.REQUESTS, LimitKind.CONCURRENCY, LimitKind.BURN_RATE})


# Every call takes something of these, and it adds up. A model that is free takes no money, and costs none.
_OF_EVERY_CALL = frozenset({LimitKind.SPEND, LimitKind.TOKENS, LimitKind.INPUT_TOKENS, LimitKind.REQUESTS})


def is_soft(limit_id: str) -> bool:
    """Whether a `Limit.limit_id` is that of a soft limit."""
    return limit_id.endswith(SOFT_MARK)


def kind_of(limit_id: str) -> LimitKind:
    """The kind that a `Limit.limit_id` begins with."""
    return LimitKind(limit_id.partition("/")[0])


def holds_most(limit_id: str) -> bool:
    """Whether calls hold of a limit the most that they can take, which depends on the call."""
    return kind_of(limit_id).is_of_size and not is_soft(limit_id)
