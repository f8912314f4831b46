"""The shape of the configuration file. Field for field what the documentation of the file shows.

Amounts are nano-USD, prices pico-USD per token, shares basis points, durations milliseconds: the scalars are read once,
here, and exact.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from services.cli.configuration.scalars import (
    Amount,
    Count,
    DurationMs,
    HttpUrl,
    ModelName,
    Moment,
    Name,
    Part,
    Share,
    Target,
    TimezoneName,
    TokenPrice,
    UserName,
    VariableName,
    WebhookUrl,
    read_weight,
)
from services.cli.configuration.source import Number

LimitKindName = Literal["spend", "tokens", "input_tokens", "output_tokens", "requests", "concurrency", "request_cost"]
WindowName = Literal["minute", "hour", "day", "week", "month", "quarter", "year", "lifetime", "run"]
WeekdayName = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
FieldName = Literal["team", "project", "environment", "user", "key", "model"]
DialectName = Literal["openai", "anthropic", "gemini"]

LIMIT_KINDS: tuple[LimitKindName, ...] = get_args(LimitKindName)
WEEKDAYS: tuple[WeekdayName, ...] = get_args(WeekdayName)
_WITHOUT_WINDOW = {"concurrency", "request_cost"}
_OF_MONEY = {"spend", "request_cost"}
_OF_DAYS = {"day", "week", "month", "quarter", "year"}
_MINUTE_MS = 60_000


class Entry(BaseModel):
    """Base of all entries: no unknown fields, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _at_least_one(values: tuple[object, ...]) -> tuple[object, ...]:
    if not values:
        raise ValueError("give at least one")
    return values


def _none_allowed(value: object) -> object:
    return {"none": True} if value == "none" else value


def _version_one(value: object) -> Literal[1]:
    if not (isinstance(value, Number) and value.text == "1"):
        raise ValueError("this release reads `version: 1`")
    return 1


def _group(value: object) -> object:
    """A place in a chain: "p/m", or several equal ones with weights, [p/m, {q/m: 3}]."""
    if isinstance(value, str):
        return {"targets": ({"target": value, "weight": 1},)}
    if isinstance(value, tuple):
        return {"targets": tuple(_weighted(item) for item in value)}
    raise ValueError("write provider/model, or a list of equals like [a/m, {b/m: 3}]")


def _weighted(item: object) -> object:
    if isinstance(item, str):
        return {"target": item, "weight": 1}
    if isinstance(item, dict) and len(item) == 1:
        [(target, weight)] = item.items()
        return {"target": target, "weight": read_weight(weight)}
    raise ValueError("write an equal as provider/model, or with its weight as {provider/model: 3}")


class SecretReference(Entry):
    """Where a secret is kept: exactly one of the three."""

    env: VariableName | None = None
    file: str | None = Field(default=None, min_length=1, max_length=1024)
    none: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum((self.env is not None, self.file is not None, self.none)) != 1:
            raise ValueError("write {env: NAME}, {file: PATH} or none")
        return self


class ProviderEntry(Entry):
    """A vendor, or any server that speaks one of the three dialects."""

    preset: DialectName | None = None
    protocol: DialectName | None = None
    base_url: HttpUrl | None = None
    api_key: Annotated[SecretReference, BeforeValidator(_none_allowed)]

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.preset is None and (self.protocol is None or self.base_url is None):
            raise ValueError("write `preset`, or `protocol` and `base_url`")
        if self.preset is not None and self.protocol is not None:
            raise ValueError("`preset` implies the protocol: leave `protocol` out")
        return self

    @model_validator(mode="after")
    def _file_inside_secrets(self) -> Self:
        file = self.api_key.file
        if file is not None and (file.startswith("/") or ".." in file.split("/")):
            raise ValueError("api_key: a file is named relative to the `secrets` folder of the data directory")
        return self


class WeightedTarget(Entry):
    """One of the equals of a place."""

    target: Target
    weight: int


class TargetGroup(Entry):
    """A place in a chain."""

    targets: Annotated[tuple[WeightedTarget, ...], AfterValidator(_at_least_one)]


Group = Annotated[TargetGroup, BeforeValidator(_group)]
Chain = Annotated[tuple[Group, ...], AfterValidator(_at_least_one)]


class Term(Entry):
    """One condition: exactly one measure, with the time over which it is taken unless it is the budget."""

    budget_used: Part | None = None
    error_rate: Part | None = None
    latency_p95: DurationMs | None = None
    ttft_p95: DurationMs | None = None
    over: DurationMs | None = None

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if self.is_empty and self.over is None:
            return self._empty()
        measured = (self.error_rate, self.latency_p95, self.ttft_p95)
        if sum(value is not None for value in (self.budget_used, *measured)) != 1:
            raise ValueError("write exactly one of budget_used, error_rate, latency_p95 and ttft_p95")
        if (self.budget_used is None) != (self.over is not None):
            raise ValueError("error_rate, latency_p95 and ttft_p95 need `over: 1m` or the like; budget_used takes none")
        if self.over is not None and self.over % 1_000:
            raise ValueError("write `over` in whole seconds")
        return self

    @property
    def is_empty(self) -> bool:
        """Whether it has no measure."""
        return (self.budget_used, self.error_rate, self.latency_p95, self.ttft_p95) == (None,) * 4

    def _empty(self) -> Self:
        raise ValueError("write a condition like {budget_used: 75%}")


class When(Term):
    """A term, or several of them of which `any` or `all` must hold."""

    any: Annotated[tuple[Term, ...], AfterValidator(_at_least_one)] | None = None
    all: Annotated[tuple[Term, ...], AfterValidator(_at_least_one)] | None = None

    def _empty(self) -> Self:
        if self.any is None and self.all is None:
            raise ValueError("write a condition like {budget_used: 75%}, {any: [...]} or {all: [...]}")
        return self

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if sum((self.any is not None, self.all is not None, not self.is_empty)) > 1:
            raise ValueError("write either one condition, or `any`, or `all`")
        return self

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms, whichever way they are written."""
        return self.any or self.all or (self,)


class FallbackEntry(Entry):
    """Next in order when an attempt fails; leads while its condition holds."""

    to: Chain
    when: When | None = None


class ModelEntry(Entry):
    """A model as clients ask for it."""

    targets: Chain
    fallbacks: tuple[FallbackEntry, ...] = ()
    first_byte_timeout: DurationMs | None = None


class PriceEntry(Entry):
    """Dollars per million tokens; `request` in dollars for each call. What is absent costs as `input` or `output`."""

    input: TokenPrice
    output: TokenPrice
    cached_input: TokenPrice | None = None
    cache_write_5m: TokenPrice | None = None
    cache_write_1h: TokenPrice | None = None
    reasoning: TokenPrice | None = None
    request: Amount = 0
    audio_input: TokenPrice | None = None
    audio_output: TokenPrice | None = None
    image: TokenPrice | None = None

    @model_validator(mode="after")
    def _billable(self) -> Self:
        for name in ("audio_input", "audio_output", "image"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} cannot be billed yet, so a price for it would only look like one: remove it")
        return self


class TeamEntry(Entry):
    """A team, its projects and members."""

    projects: tuple[Name, ...] = ()
    members: tuple[UserName, ...] = ()


class MatchEntry(Entry):
    """Which calls a policy is about; what is absent matches any."""

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
    per: WindowName | None = None
    rolling: DurationMs | None = None
    timezone: TimezoneName | None = None
    week_start: WeekdayName | None = None
    anchor_day: Count | None = None
    bound: Literal["hard", "soft"] = "hard"

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.bound == "soft":
            raise ValueError("`bound: soft` is not available yet: every limit is hard, leave `bound` out")
        if sum(getattr(self, kind) is not None for kind in LIMIT_KINDS) != 1:
            raise ValueError(f"write exactly one of {', '.join(LIMIT_KINDS)}")
        return self

    @model_validator(mode="after")
    def _one_window(self) -> Self:
        given = sum((self.per is not None, self.rolling is not None))
        if self.kind in _WITHOUT_WINDOW:
            if given:
                raise ValueError(f"{self.kind} holds at every moment: leave `per` and `rolling` out")
        elif given != 1:
            known = ", ".join(get_args(WindowName))
            raise ValueError(f"write one window: `per: month` (or another of {known}), or `rolling: 24h`")
        return self

    @model_validator(mode="after")
    def _window_details(self) -> Self:
        if self.timezone is not None and self.per not in _OF_DAYS:
            raise ValueError("`timezone` goes with `per: day`, week, month, quarter or year; the rest counts in UTC")
        if self.week_start is not None and self.per != "week":
            raise ValueError("`week_start` goes with `per: week`")
        if self.anchor_day is not None and (self.per != "month" or not 1 <= self.anchor_day <= 31):
            raise ValueError("`anchor_day` goes with `per: month` and is 1 to 31")
        if self.rolling is not None and self.rolling % _MINUTE_MS:
            raise ValueError("write `rolling` in whole minutes, hours or days")
        return self

    @property
    def is_money(self) -> bool:
        """Whether the bound is nano-USD."""
        return self.kind in _OF_MONEY

    @property
    def kind(self) -> LimitKindName:
        """The one kind that is given."""
        return next(kind for kind in LIMIT_KINDS if getattr(self, kind) is not None)

    @property
    def value(self) -> int:
        """The bound: nano-USD for money, else a count."""
        return int(getattr(self, self.kind))


class ThresholdEntry(Entry):
    """At which part of a limit whom to tell."""

    at: Share
    notify: tuple[Name, ...] = ()


class PolicyEntry(Entry):
    """Limits on the calls that match."""

    name: Name
    match: MatchEntry = MatchEntry()
    each: FieldName | None = None
    limits: Annotated[tuple[LimitEntry, ...], AfterValidator(_at_least_one)]
    thresholds: tuple[ThresholdEntry, ...] = ()
    mode: Literal["enforce", "shadow", "disabled"] = "enforce"


class ChannelEntry(Entry):
    """Where alerts go: an Apprise URL, or a signed webhook."""

    url: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9+.-]*://\S+$", max_length=2048)
    webhook: WebhookUrl | None = None
    secret: SecretReference | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.url is None) == (self.webhook is None):
            raise ValueError("write either `url` or `webhook`")
        if self.secret is not None and self.webhook is None:
            raise ValueError("`secret` signs a webhook: leave it out here")
        if self.secret is not None and self.secret.env is None:
            raise ValueError("the secret of a webhook is written {env: NAME}")
        return self


class KeyEntry(Entry):
    """A virtual key. Without `secret` it is declared only, and gets one by `spendgate keys rotate`."""

    name: Name
    team: Name | None = None
    project: Name | None = None
    environment: Name | None = None
    user: UserName | None = None
    secret: SecretReference | None = None
    models: tuple[ModelName, ...] = ()
    expires: Moment | None = None

    @model_validator(mode="after")
    def _kept_somewhere(self) -> Self:
        if self.secret is not None and self.secret.none:
            raise ValueError("the secret of a key is written {env: NAME} or {file: PATH}, or left out")
        return self


class ConfigurationFile(Entry):
    """The whole file."""

    version: Annotated[Literal[1], BeforeValidator(_version_one)]
    organization: Name
    providers: dict[Name, ProviderEntry] = {}
    models: dict[ModelName, ModelEntry] = {}
    prices: dict[Target, PriceEntry] = {}
    teams: dict[Name, TeamEntry] = {}
    policies: tuple[PolicyEntry, ...] = ()
    channels: dict[Name, ChannelEntry] = {}
    keys: tuple[KeyEntry, ...] = ()
