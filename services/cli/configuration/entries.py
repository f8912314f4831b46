"""The shape of the configuration file, field for field as the file's documentation shows it.

Amounts are nano-USD, prices pico-USD per token, shares basis points, durations milliseconds. Scalars are read once,
here, and exactly.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from services.cli.configuration.entry import Entry, at_least_one
from services.cli.configuration.listener_entries import ListenersEntry
from services.cli.configuration.policy_entries import PolicyEntry
from services.cli.configuration.price_entries import PriceEntry
from services.cli.configuration.scalars import (
    Count,
    DurationMs,
    EnvironmentName,
    HeaderName,
    HttpUrl,
    ModelName,
    Moment,
    Name,
    Part,
    Target,
    UserName,
    VariableName,
    WebhookUrl,
    read_weight,
)
from services.cli.configuration.source import Number
from services.kernel.dialect import CAPABILITIES, Dialect
from services.kernel.errors import InvalidInput
from services.kernel.header_names import read_allowed
from services.kernel.names import no_such
from services.kernel.preset import Preset

DEFAULT_ENVIRONMENTS = ("dev", "staging", "prod")


def _none_allowed(value: object) -> object:
    return {"none": True} if value == "none" else value


def _version_one(value: object) -> Literal[1]:
    if not (isinstance(value, Number) and value.text == "1"):
        raise ValueError("this release reads `version: 1`")
    return 1


def _group(value: object) -> object:
    """Reads a slot of a chain: "p/m", or several weighted targets, [p/m, {q/m: 3}]."""
    if isinstance(value, str):
        return {"targets": ({"target": value, "weight": 1},)}
    if isinstance(value, tuple):
        return {"targets": tuple(_weighted(item) for item in value)}
    raise ValueError("write provider/model, or a weighted list like [a/m, {b/m: 3}]")


def _weighted(item: object) -> object:
    if isinstance(item, str):
        return {"target": item, "weight": 1}
    if isinstance(item, dict) and len(item) == 1:
        [(target, weight)] = item.items()
        return {"target": target, "weight": read_weight(weight)}
    raise ValueError("write each target as provider/model, or with its weight as {provider/model: 3}")


def _capability(name: str) -> str:
    if name not in CAPABILITIES:
        raise ValueError(no_such("feature", name, CAPABILITIES))
    return name


class SecretReference(Entry):
    """The location of a secret: exactly one of the three."""

    env: VariableName | None = None
    file: str | None = Field(default=None, min_length=1, max_length=1024)
    none: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum((self.env is not None, self.file is not None, self.none)) != 1:
            raise ValueError("write {env: NAME}, {file: PATH} or none")
        return self


class HeadersEntry(Entry):
    """Headers that pass at a provider in both directions, besides those that always do."""

    allow: Annotated[tuple[HeaderName, ...], AfterValidator(at_least_one)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        try:
            read_allowed("", self.allow)
        except InvalidInput as error:
            raise ValueError(f"allow: {error.problem}") from error
        return self


class ProvidedModelEntry(Entry):
    """What is declared of a model of a provider. Where nothing is, the gateway's own list of known models counts."""

    context_window: Count | None = None
    max_output: Count | None = None
    carries: tuple[Annotated[str, AfterValidator(_capability)], ...] | None = None
    """Features. It lacks all others; an empty list lacks all."""


class ProviderEntry(Entry):
    """A vendor, or any server that speaks one of the three dialects."""

    preset: Annotated[Preset, Field(strict=False)] | None = None
    protocol: Annotated[Dialect, Field(strict=False)] | None = None
    base_url: HttpUrl | None = None
    api_key: Annotated[SecretReference, BeforeValidator(_none_allowed)]
    headers: HeadersEntry | None = None
    stops_on_disconnect: bool = False
    """It stops generating, and billing, when its client hangs up."""
    models: dict[ModelName, ProvidedModelEntry] = Field(default_factory=dict)
    """By the provider's own names."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.preset is None and (self.protocol is None or self.base_url is None):
            raise ValueError("write `preset`, or `protocol` and `base_url`")
        if self.preset is not None and self.protocol is not None:
            raise ValueError("`preset` implies the protocol: leave `protocol` out")
        if self.preset is not None and self.preset.is_own_address and self.base_url is None:
            raise ValueError(f"{self.preset} needs your own address: `base_url: {self.preset.base_url}`")
        return self

    @model_validator(mode="after")
    def _file_inside_secrets(self) -> Self:
        file = self.api_key.file
        if file is not None and (file.startswith("/") or ".." in file.split("/")):
            raise ValueError("api_key: a file is named relative to the `secrets` folder of the data directory")
        return self


class WeightedTarget(Entry):
    """One of several targets that share a slot."""

    target: Target
    weight: int


class TargetGroup(Entry):
    """A slot of a chain."""

    targets: Annotated[tuple[WeightedTarget, ...], AfterValidator(at_least_one)]


Group = Annotated[TargetGroup, BeforeValidator(_group)]
Chain = Annotated[tuple[Group, ...], AfterValidator(at_least_one)]


class Term(Entry):
    """One condition: exactly one measure, and its period unless the measure is the budget."""

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
    """A term, or several terms: `any` or `all` of them must hold. With `team`, it is for calls of that team only."""

    team: Name | None = None

    any: Annotated[tuple[Term, ...], AfterValidator(at_least_one)] | None = None
    all: Annotated[tuple[Term, ...], AfterValidator(at_least_one)] | None = None

    def _empty(self) -> Self:
        if self.any is None and self.all is None and self.team is None:
            raise ValueError("write a condition like {budget_used: 75%}, {any: [...]}, {all: [...]} or {team: NAME}")
        return self

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if sum((self.any is not None, self.all is not None, not self.is_empty)) > 1:
            raise ValueError("write either one condition, or `any`, or `all`")
        return self

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms, in whichever form they are written."""
        return self.any or self.all or (() if self.is_empty else (self,))


class FallbackEntry(Entry):
    """Comes next when an attempt fails, and leads while its condition holds."""

    to: Chain
    when: When | None = None


class ModelEntry(Entry):
    """A model, as clients ask for it."""

    targets: Chain
    fallbacks: tuple[FallbackEntry, ...] = ()
    first_byte_timeout: DurationMs | None = None
    aliases: tuple[ModelName, ...] = Field(default=(), max_length=32)


class TeamEntry(Entry):
    """A team, its projects and members."""

    projects: tuple[Name, ...] = ()
    members: tuple[UserName, ...] = ()


class ChannelEntry(Entry):
    """A destination for alerts: an Apprise URL, or a signed webhook."""

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
    """A virtual key. Without `secret` it is only declared, and gets a secret from `spendgate keys rotate`."""

    name: Name
    team: Name | None = None
    project: Name | None = None
    environment: Name | None = None
    user: UserName | None = None
    secret: SecretReference | None = None
    models: tuple[ModelName, ...] = ()
    expires: Moment | None = None
    unlimited: bool = False
    """Works even where no policy bounds it."""

    @model_validator(mode="after")
    def _kept_somewhere(self) -> Self:
        if self.secret is not None and self.secret.none:
            raise ValueError("the secret of a key is written {env: NAME} or {file: PATH}, or left out")
        return self


class ConfigurationFile(Entry):
    """The whole file."""

    version: Annotated[Literal[1], BeforeValidator(_version_one)]
    organization: Name
    providers: dict[Name, ProviderEntry] = Field(default_factory=dict)
    models: dict[ModelName, ModelEntry] = Field(default_factory=dict)
    prices: dict[Target, PriceEntry] = Field(default_factory=dict)
    environments: Annotated[tuple[EnvironmentName, ...], AfterValidator(at_least_one)] = DEFAULT_ENVIRONMENTS
    teams: dict[Name, TeamEntry] = Field(default_factory=dict)
    policies: tuple[PolicyEntry, ...] = ()
    default_policies: bool = True
    channels: dict[Name, ChannelEntry] = Field(default_factory=dict)
    keys: tuple[KeyEntry, ...] = ()
    listeners: ListenersEntry = ListenersEntry()
