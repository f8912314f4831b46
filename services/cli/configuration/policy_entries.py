"""The shape of policies in the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from services.cli.configuration.entry import Entry, at_least_one
from services.cli.configuration.scalars import (
    Amount,
    Count,
    DurationMs,
    Factor,
    ModelName,
    Name,
    Share,
    TimezoneName,
    UserName,
)
from services.cli.configuration.source import Number
from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit

WeekdayName = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

_SOFT_KINDS = tuple(kind for kind in LimitKind if kind.is_of_size and kind.has_window)
_PERIODS = tuple(unit for unit in WindowUnit if unit is not WindowUnit.ROLLING)
"""What `per` names. A rolling window has a field of its own, since it has a length."""
_MINUTE_MS = 60_000


def _period(value: object) -> WindowUnit:
    for unit in _PERIODS:
        if unit == value:
            return unit
    *others, last = (repr(unit.value) for unit in _PERIODS)
    raise ValueError(f"write {', '.join(others)} or {last}")


Period = Annotated[WindowUnit, BeforeValidator(_period)]


class MatchEntry(Entry):
    """The calls that a policy applies to. An absent field matches any call."""

    team: Name | None = None
    project: Name | None = None
    environment: Name | None = None
    user: UserName | None = None
    key: Name | None = None
    model: ModelName | None = None


class LimitEntry(Entry):
    """One bound: exactly one kind, and the window in which it counts."""

    spend: Amount | None = None
    tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    requests: Count | None = None
    concurrency: Count | None = None
    request_cost: Amount | None = None
    burn_rate: Factor | None = None
    floor: Amount | None = None
    """For a burn rate: nano-USD per minute."""
    per: Period | None = None
    rolling: DurationMs | None = None
    timezone: TimezoneName | None = None
    week_start: WeekdayName | None = None
    anchor_day: Count | None = None
    bound: Literal["hard", "soft"] = "hard"

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(getattr(self, kind) is not None for kind in LimitKind) != 1:
            raise ValueError(f"write exactly one of {', '.join(LimitKind)}")
        if self.bound == "soft" and self.kind not in _SOFT_KINDS:
            raise ValueError(f"a limit of {self.kind} is exact: `bound: soft` goes with {', '.join(_SOFT_KINDS)}")
        if (self.burn_rate is None) != (self.floor is None):
            raise ValueError("write a burn rate with its floor: {burn_rate: 10x, floor: 0.50}")
        return self

    @model_validator(mode="after")
    def _one_window(self) -> Self:
        given = sum((self.per is not None, self.rolling is not None))
        if not self.kind.has_window:
            if given:
                raise ValueError(f"{self.kind} holds at every moment: leave `per` and `rolling` out")
        elif given != 1:
            known = ", ".join(_PERIODS)
            raise ValueError(f"write one window: `per: month` (or another of {known}), or `rolling: 24h`")
        return self

    @model_validator(mode="after")
    def _window_details(self) -> Self:
        if self.timezone is not None and not (self.per and self.per.has_timezone):
            raise ValueError("`timezone` goes with `per: day`, week, month, quarter or year; the rest counts in UTC")
        if self.week_start is not None and self.per is not WindowUnit.WEEK:
            raise ValueError("`week_start` goes with `per: week`")
        if self.anchor_day is not None and (self.per is not WindowUnit.MONTH or not 1 <= self.anchor_day <= 31):
            raise ValueError("`anchor_day` goes with `per: month` and is 1 to 31")
        if self.rolling is not None and self.rolling % _MINUTE_MS:
            raise ValueError("write `rolling` in whole minutes, hours or days")
        return self

    @property
    def kind(self) -> LimitKind:
        """The kind that is given."""
        return next(kind for kind in LimitKind if getattr(self, kind) is not None)

    @property
    def value(self) -> int:
        """The bound: nano-USD for money, else a count."""
        return self.floor if self.floor is not None else int(getattr(self, self.kind))


class ThresholdEntry(Entry):
    """A part of a limit, whom to notify there, and what to do."""

    at: Share
    notify: tuple[Name, ...] = ()
    action: Literal["notify", "degrade", "deny"] = "notify"


def _exhausted_status(value: object) -> object:
    if isinstance(value, Number) and value.text in {"402", "429"}:
        return int(value.text)
    raise ValueError("write 429, or 402 for clients that retry every 429")


class StoreFailureEntry(Entry):
    """What happens while the counters cannot be read or written."""

    serve_up_to: Amount
    """Nano-USD per day."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.serve_up_to == 0:
            raise ValueError("write an amount above 0, or `on_store_failure: deny`")
        return self


def _unless_denied(value: object) -> object:
    if value == "deny":
        return None
    if isinstance(value, Mapping):
        return value
    raise ValueError("write deny, or the dollars that calls may cost in a day meanwhile: {serve_up_to: 20}")


class PolicyEntry(Entry):
    """Limits on the calls that match."""

    name: Name
    match: MatchEntry = MatchEntry()
    each: Annotated[Dimension, Field(strict=False)] | None = None
    limits: Annotated[tuple[LimitEntry, ...], AfterValidator(at_least_one)]
    thresholds: tuple[ThresholdEntry, ...] = ()
    mode: Literal["enforce", "shadow", "disabled"] = "enforce"
    default: bool = False
    exhausted_status: Annotated[Literal[402, 429], BeforeValidator(_exhausted_status)] = 429
    unpriced: Literal["deny", "allow"] = "deny"
    on_store_failure: Annotated[StoreFailureEntry | None, BeforeValidator(_unless_denied)] = None
    """None denies."""
    unmeasured: Literal["reserve", "estimate"] = "reserve"
    """What its limits keep reserved for calls whose end nobody measured."""
    unknown_members: Literal["hold", "refuse"] = "hold"
