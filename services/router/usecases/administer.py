"""Administers the configuration: checks it, reports its changes, stores it and publishes it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.kernel.change import Authorship, Change, audit_entries
from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput
from services.kernel.repetition import Answered
from services.router.domain.backend import Backend, backends_of, name_clusters
from services.router.domain.configuration import (
    EMPTY,
    Configuration,
    check_configuration,
    describe,
    differences,
)
from services.router.domain.drained import DrainedTarget
from services.router.domain.lead import TargetStates
from services.router.domain.listener import Listener
from services.router.domain.model import Model
from services.router.domain.plan import ModelPlan, RoutePlan, compile_model, compile_plan, providers_of
from services.router.domain.provider import Provider
from services.router.domain.secret import CredentialProblem, SecretReference, SecretSource, SecretValue
from services.router.ports import ConfigurationStore, Credentials
from services.router.usecases.publish import Publisher
from services.router.usecases.target_health import TargetHealth
from services.router.usecases.watch_names import Findings, NameWatch, names_of_servers

_log = logging.getLogger("spendgate.router.administer")

Offer = tuple[tuple[Backend, ...], Mapping[str, SecretValue], RoutePlan, tuple[Listener, ...]]
Readings = Mapping[SecretReference, SecretValue | CredentialProblem]


@dataclass(frozen=True, slots=True)
class Applied:
    """The changes that a configuration made, or would make."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


class Administrator:
    """Holds the configuration in force."""

    def __init__(
        self,
        store: ConfigurationStore,
        credentials: Credentials,
        publisher: Publisher,
        health: TargetHealth,
        names: NameWatch,
        clock: Clock,
    ) -> None:
        self.plans: tuple[ModelPlan, ...] = ()
        """The newest plan, whether or not Envoy and quota have it already."""
        self._health = health
        self._names = names
        self.drained: Mapping[str, DrainedTarget] = {}
        """The drained targets by name, whether or not a model has them at the moment."""
        self._store = store
        self._clock = clock
        self._credentials = credentials
        self._publisher = publisher
        self._configuration = EMPTY
        # Values of the references, as of their last successful read.
        self._values: dict[SecretReference, SecretValue] = {}
        self._problems: dict[SecretReference, CredentialProblem] = {}

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self._configuration

    def credential_problem(self, provider: Provider) -> str:
        """Returns why the provider's credential cannot be used, or must not be. Empty when it can."""
        problem = self._problems.get(provider.api_key)
        return self._names.problem_of(provider) or (problem.text if problem is not None else "")

    def look_up(self, providers: Iterable[Provider]) -> Findings:
        """Looks where the names of providers lead, for `take_names`. It may take seconds; call it from any thread."""
        return self._names.look(names_of_servers(providers))

    def take_names(self, findings: Findings) -> None:
        """Notes what the names of providers resolve to, and publishes a change."""
        if self._names.take(findings):
            self._publish()

    def restore(self) -> None:
        """Publishes what was stored before a restart.

        Raises:
            InvalidInput: this release does not accept the stored configuration.
        """
        self._configuration = self._store.load()
        self.drained = {one.name: one for one in self._store.load_drained()}
        held = self._store.load_backends()
        readings = self._read(
            [provider.api_key for provider in self._configuration.providers] + [backend.api_key for backend in held]
        )
        self._take(readings)
        usable = tuple(backend for backend in held if not isinstance(readings[backend.api_key], CredentialProblem))
        self._publisher.hold(usable, _secrets_of(usable, self._values))
        self._publish()

    def apply(
        self,
        providers: Sequence[Provider],
        models: Sequence[Model],
        listeners: Sequence[Listener] = (),
        *,
        validate_only: bool,
        by: Authorship,
    ) -> Applied:
        """Puts a configuration in force. Repeating it changes nothing.

        With a request id, a repetition gets the first answer, even if another configuration is in force by now.

        Raises:
            InvalidInput: a part of them is wrong, or another request had the same id. Nothing is changed.
            FailedPrecondition: the results for Envoy and quota do not fit together. Nothing is changed.
        """
        asked = None if validate_only else by.repeatable
        first = self._store.recall(asked, Applied, self._clock.now_ms()) if asked else None
        if first is not None:
            return first.answer
        after = check_configuration(providers, models, listeners)
        readings = self._read(provider.api_key for provider in providers)
        for at, provider in enumerate(providers):
            reading = readings[provider.api_key]
            if isinstance(reading, CredentialProblem) and reading.forbidden:
                raise InvalidInput(f"providers[{at}].api_key.{provider.api_key.source}", reading.text)
            if problem := self._names.problem_of(provider):
                raise InvalidInput(f"providers[{at}].base_url", problem)
        changes = differences(self._configuration, after)
        values = _values_of(readings)
        offer = self._offer_of(after, values)
        self._publisher.check(*offer[:3])
        applied = Applied(changes, tuple(_warnings(after, readings)))
        if not validate_only:
            if changes or asked:
                before, now_ms = self._configuration, self._clock.now_ms()
                entries = audit_entries(changes, describe(before), describe(after), by=by, time_ms=now_ms)
                self._store.save(after, entries, Answered(asked, applied, now_ms) if asked else None)
            self._configuration = after
            self._take(readings)
            self._put_in_force(offer)
            self._health.forget_unused()
        return applied

    def reread_credentials(self) -> None:
        """Publishes rotated credentials. One that cannot be read at the moment keeps its last value."""
        readings = self._read(provider.api_key for provider in self._configuration.providers)
        fresh = _values_of(readings)
        changed = [reference for reference, value in fresh.items() if self._values.get(reference) != value]
        self._note_problems(readings)
        if changed:
            _log.info("credentials changed: %s", ", ".join(sorted(str(reference) for reference in changed)))
            self._values |= fresh
            self._publish()

    def _read(self, references: Iterable[SecretReference]) -> Readings:
        return {reference: self._credentials.read(reference) for reference in dict.fromkeys(references)}

    def _take(self, readings: Readings) -> None:
        self._values = _values_of(readings)
        self._note_problems(readings)

    def _note_problems(self, readings: Readings) -> None:
        problems = {name: value for name, value in readings.items() if isinstance(value, CredentialProblem)}
        for reference, problem in problems.items():
            if self._problems.get(reference) != problem:
                _log.warning("a credential cannot be used: %s", problem.text)
        self._problems = problems

    def put_drained(self, drained: Mapping[str, DrainedTarget]) -> None:
        """Publishes chains without these targets. They are stored already."""
        self.drained = drained
        self._publish()

    def models_emptied_by(self, drained: frozenset[str]) -> tuple[str, ...]:
        """Returns the models that have a usable target, and would have none if exactly these were drained."""
        usable = frozenset(one.name for one in self._usable(self._configuration, self._values))
        states = TargetStates(drained=drained)
        return tuple(
            model.name
            for model in self._configuration.models
            if compile_model(model, usable).tiers and not compile_model(model, usable, states).tiers
        )

    def follow_health(self) -> None:
        """Publishes who leads now, by the health of targets."""
        self._publish()

    def _publish(self) -> None:
        offer = self._offer_of(self._configuration, self._values)
        self._publisher.check(*offer[:3])
        self._put_in_force(offer)

    def _put_in_force(self, offer: Offer) -> None:
        self._publisher.offer(*offer)
        self.plans = offer[2].models
        self._health.plan_made()

    def _usable(self, configuration: Configuration, values: Mapping[SecretReference, SecretValue]) -> list[Provider]:
        """Returns the providers that have their credential, and whose name leads where a provider may be."""
        return [one for one in configuration.providers if one.api_key in values and not self._names.problem_of(one)]

    def _offer_of(self, configuration: Configuration, values: Mapping[SecretReference, SecretValue]) -> Offer:
        """Returns what a configuration gives to Envoy and quota, with the credentials that are available."""
        usable = self._usable(configuration, values)
        names = name_clusters(usable, self._publisher.in_use)
        backends = backends_of(usable, names)
        states = self._health.begin_plan(frozenset(self.drained))
        plan = compile_plan(configuration.models, usable, names, states)
        return backends, _secrets_of(backends, values), plan, configuration.listeners


def _values_of(readings: Readings) -> dict[SecretReference, SecretValue]:
    return {reference: value for reference, value in readings.items() if isinstance(value, SecretValue)}


def _secrets_of(backends: Iterable[Backend], values: Mapping[SecretReference, SecretValue]) -> dict[str, SecretValue]:
    return {
        backend.cluster.secret_name: SecretValue(backend.header_value(values[backend.api_key].reveal()))
        for backend in backends
        if backend.api_key.source is not SecretSource.NONE
    }


def _warnings(configuration: Configuration, readings: Readings) -> Iterable[str]:
    unusable = set()
    for provider in configuration.providers:
        problem = readings[provider.api_key]
        if isinstance(problem, CredentialProblem):
            unusable.add(provider.name)
            yield f"provider {provider.name}: {problem.text}; no call goes to it until that is fixed"
    for model in configuration.models:
        if providers_of(model) <= unusable:
            yield f"model {model.name}: none of its targets can be used, so its calls are answered with status 503"
