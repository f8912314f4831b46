"""Limit kinds: one row for each, with everything that differs between kinds.

Quota holds, settles and words limits by these rows. The ledger computes expected counters by them, and the command line
reads their names from the configuration file. A new kind that counts something calls already have is one more row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple, Protocol, Self


class CallQuantities(NamedTuple):
    """The amounts of one call."""

    cost_nano_usd: int
    input_tokens: int
    output_tokens: int
    calls: int = 1


class Quantities(Protocol):
    """The amounts of one call, or of several together."""

    @property
    def cost_nano_usd(self) -> int:
        """Total cost."""
        ...

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt, including cached ones."""
        ...

    @property
    def output_tokens(self) -> int:
        """Tokens of the answer, including reasoning."""
        ...

    @property
    def calls(self) -> int:
        """Number of calls."""
        ...


Measure = Callable[[Quantities], int]
"""Picks the amount of a call that a kind adds up.

The measure of several calls together is the sum of their measures: quota adds up calls, and the ledger measures sums.
"""


# Each decision measures a call for each of its limits, and a getter needs no frame of Python.
cost: Measure = attrgetter("cost_nano_usd")
"""Nano-USD."""
input_tokens: Measure = attrgetter("input_tokens")
"""Tokens of the prompt, including cached ones."""
output_tokens: Measure = attrgetter("output_tokens")
"""Tokens of the answer, including reasoning."""
calls: Measure = attrgetter("calls")
"""Calls, however they end."""


def all_tokens(of: Quantities) -> int:
    """Input plus output."""
    return of.input_tokens + of.output_tokens


_MONEY = "nano-USD"


@dataclass(frozen=True, slots=True)
class LimitKindRow:
    """The properties of a kind."""

    unit: str
    """Unit of its amounts. Money is in nano-USD; everything else is a count."""
    measure: Measure
    has_window: bool = True
    """It adds up over a period that a policy chooses."""
    is_held: bool = True
    """Calls in flight hold the most of it that they can take."""
    is_taken: bool = True
    """Ended calls leave an amount of it behind."""
    has_counter: bool = True
    """Something of it is kept between calls."""
    follows_key: bool = False
    """It has a counter per key, compared with what that key typically takes."""
    bounds: bool = False
    """Every call takes some of it, so a limit on it bounds all calls together."""


class LimitKind(StrEnum):
    """The quantity that a limit counts."""

    SPEND = "spend", LimitKindRow(_MONEY, cost, bounds=True)
    # Calls to a free model take no money, but they cost none either.
    TOKENS = "tokens", LimitKindRow("tokens", all_tokens, bounds=True)
    """Input plus output."""
    INPUT_TOKENS = "input_tokens", LimitKindRow("input tokens", input_tokens, bounds=True)
    # Does not bound: a call may have no output.
    OUTPUT_TOKENS = "output_tokens", LimitKindRow("output tokens", output_tokens)
    REQUESTS = "requests", LimitKindRow("requests", calls, bounds=True)
    CONCURRENCY = "concurrency", LimitKindRow("calls", calls, has_window=False, is_taken=False)
    """Calls that have not ended."""
    REQUEST_COST = (
        "request_cost",
        LimitKindRow(_MONEY, cost, has_window=False, is_taken=False, has_counter=False),
    )
    """The most that one call can cost. It has no counter."""
    BURN_RATE = (
        "burn_rate",
        LimitKindRow(_MONEY, cost, has_window=False, is_held=False, follows_key=True),
    )
    """A key's spend in a minute, compared with its typical spend. Calls in flight hold nothing of it."""

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
    """Its amounts are nano-USD."""
    is_tokens: bool
    """Its amounts are tokens of some sort."""
    needs_price: bool
    """A call without a price cannot be judged."""
    is_of_size: bool
    """A larger call holds more of it, so the size of a call must be bounded."""

    is_budget: bool
    """It has room that calls use up, hold and give back."""
    is_certain: bool
    """A call's hold equals its final amount, however the call ends."""

    def __new__(cls, value: str, row: LimitKindRow) -> Self:
        """Makes a member from its row. Computes derived flags once, since each decision reads them several times."""
        member = str.__new__(cls, value)
        member._value_ = value
        for field in fields(row):
            setattr(member, field.name, getattr(row, field.name))
        member.is_money = row.measure is cost
        member.is_tokens = row.unit.endswith("tokens")
        member.needs_price = row.is_held and row.measure is cost
        member.is_of_size = row.is_held and row.measure is not calls
        member.is_budget = row.has_counter and row.is_held
        member.is_certain = row.is_held and row.is_taken and row.measure is calls
        return member


_BY_NAME = {kind.value: kind for kind in LimitKind}


def kind_named(name: str) -> LimitKind:
    """Returns the kind of this name, e.g. "spend".

    Raises:
        ValueError: there is none.
    """
    kind = _BY_NAME.get(name)
    if kind is None:
        raise ValueError(f"there is no limit kind {name!r}")
    return kind
