"""What limits count: one row for each kind, from which everything follows that differs between kinds.

Quota holds, settles and words limits by these rows; the ledger adds up what their counters must say; the command line
reads them out of the configuration file. A new kind of what calls have already is a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol, Self


class CallQuantities(NamedTuple):
    """What one call takes."""

    cost_nano_usd: int
    input_tokens: int
    output_tokens: int
    calls: int = 1


class Quantities(Protocol):
    """What one call, or some calls together, take."""

    @property
    def cost_nano_usd(self) -> int:
        """What it costs."""
        ...

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt, cached ones included."""
        ...

    @property
    def output_tokens(self) -> int:
        """Tokens of the answer, reasoning included."""
        ...

    @property
    def calls(self) -> int:
        """How many calls they are."""
        ...


Measure = Callable[[Quantities], int]
"""What a kind adds up of a call."""


def cost(of: Quantities) -> int:
    """Nano-USD."""
    return of.cost_nano_usd


def all_tokens(of: Quantities) -> int:
    """Input and output together."""
    return of.input_tokens + of.output_tokens


def input_tokens(of: Quantities) -> int:
    """Tokens of the prompt, cached ones included."""
    return of.input_tokens


def output_tokens(of: Quantities) -> int:
    """Tokens of the answer, reasoning included."""
    return of.output_tokens


def calls(of: Quantities) -> int:
    """Calls, however they end."""
    return of.calls


_MONEY = "nano-USD"


@dataclass(frozen=True, slots=True)
class LimitKindRow:
    """What there is to know about a kind."""

    unit: str
    """Of its amounts. Money is in nano-USD; the rest is counted."""
    measure: Measure
    has_window: bool = True
    """It adds up over a period of time that a policy chooses."""
    is_held: bool = True
    """Calls in flight hold the most of it that they can take."""
    is_taken: bool = True
    """Calls that have ended leave an amount of it behind."""
    has_counter: bool = True
    """Something of it is kept between calls."""
    follows_key: bool = False
    """It counts each key apart, against what that key typically takes."""
    bounds: bool = False
    """Every call takes something of it, and that adds up: a limit of it bounds what calls can take in all."""


class LimitKind(StrEnum):
    """What a limit counts."""

    SPEND = "spend", LimitKindRow(_MONEY, cost, bounds=True)
    # A model that is free takes no money, and costs none.
    TOKENS = "tokens", LimitKindRow("tokens", all_tokens, bounds=True)
    """Input and output together."""
    INPUT_TOKENS = "input_tokens", LimitKindRow("input tokens", input_tokens, bounds=True)
    # A call may have no output.
    OUTPUT_TOKENS = "output_tokens", LimitKindRow("output tokens", output_tokens)
    REQUESTS = "requests", LimitKindRow("requests", calls, bounds=True)
    CONCURRENCY = "concurrency", LimitKindRow("calls", calls, has_window=False, is_taken=False)
    """Calls that have not ended."""
    REQUEST_COST = (
        "request_cost",
        LimitKindRow(_MONEY, cost, has_window=False, is_taken=False, has_counter=False),
    )
    """What one call can cost at most. Nothing adds up."""
    BURN_RATE = (
        "burn_rate",
        LimitKindRow(_MONEY, cost, has_window=False, is_held=False, follows_key=True),
    )
    """What a key spends in a minute, against what it typically does. Calls in flight hold nothing of it."""

    unit: str
    has_window: bool
    """See `LimitKindRow`."""
    is_held: bool
    is_taken: bool
    has_counter: bool
    follows_key: bool
    bounds: bool
    measure: Measure
    is_money: bool
    """Amounts of it are nano-USD."""
    needs_price: bool
    """A call without a price cannot be judged."""
    is_of_size: bool
    """A larger call holds more of it, so that the size of a call must have a bound."""

    is_budget: bool
    """It has room that calls use up, hold and give back."""
    is_certain: bool
    """What a call holds of it is what it will have taken, however it ends."""

    def __new__(cls, value: str, row: LimitKindRow) -> Self:
        """Makes a member from its row. What follows from it is worked out once: each decision asks several times."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.unit = row.unit
        member.has_window = row.has_window
        member.is_held = row.is_held
        member.is_taken = row.is_taken
        member.has_counter = row.has_counter
        member.follows_key = row.follows_key
        member.bounds = row.bounds
        member.measure = row.measure
        member.is_money = row.measure is cost
        member.needs_price = row.is_held and row.measure is cost
        member.is_of_size = row.is_held and row.measure is not calls
        member.is_budget = row.has_counter and row.is_held
        member.is_certain = row.is_held and row.is_taken and row.measure is calls
        return member


_BY_NAME = {kind.value: kind for kind in LimitKind}


def kind_named(name: str) -> LimitKind:
    """The kind of this name, e.g. "spend".

    Raises:
        ValueError: there is none.
    """
    kind = _BY_NAME.get(name)
    if kind is None:
        raise ValueError(f"there is no limit kind {name!r}")
    return kind
