"""Providers, models and a store as the tests of the router use them."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from services.chassis.audit import AuditLog
from services.kernel.clock import ManualClock
from services.kernel.dialect import Dialect
from services.kernel.preset import Preset
from services.router.adapters.provider_call import ProviderCall
from services.router.adapters.sql_configuration import AUDIT, METADATA, SqlConfigurationStore
from services.router.domain.metadata_address import IpAddress
from services.router.domain.model import ChainSlot, Condition, Fallback, Measure, Model, Term, WeightedTarget
from services.router.domain.provider import Provider
from services.router.domain.secret import CredentialProblem, SecretReference, SecretSource, SecretValue
from services.router.usecases.administer import Administrator
from services.router.usecases.drain import DrainTargets
from services.router.usecases.note_switches import NoteSwitches
from services.router.usecases.publish import Publisher
from services.router.usecases.target_health import TargetHealth
from services.router.usecases.try_provider import TryProvider
from services.router.usecases.watch_names import NameWatch


def env(name: str = "LAB_KEY") -> SecretReference:
    return SecretReference(SecretSource.ENV, name)


def lab(name: str = "lab", base_url: str = "http://127.0.0.1:8081/v1", key: str = "LAB_KEY") -> Provider:
    """A provider with one cluster: its dialect is the one that is not translated."""
    return Provider(name=name, api_key=env(key), protocol=Dialect.GEMINI, base_url=base_url)


def vendor(preset: Preset, base_url: str = "") -> Provider:
    return Provider(name=preset.value, api_key=env(f"{preset.upper()}_API_KEY"), preset=preset, base_url=base_url)


def group(*targets: str | tuple[str, int]) -> ChainSlot:
    return ChainSlot(tuple(WeightedTarget(one) if isinstance(one, str) else WeightedTarget(*one) for one in targets))


def budget(basis_points: int) -> Condition:
    return Condition((Term(Measure.BUDGET_USED, basis_points),))


def fallback(*targets: str, when: Condition | None = None) -> Fallback:
    return Fallback(tuple(group(target) for target in targets), when or Condition())


def model(name: str, *targets: str, fallbacks: tuple[Fallback, ...] = ()) -> Model:
    return Model(name, tuple(group(target) for target in targets), fallbacks)


class Vault:
    """Credentials that a test sets by hand."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)

    def read(self, reference: SecretReference) -> SecretValue | CredentialProblem:
        if reference.source is SecretSource.NONE:
            return SecretValue("")
        value = self.values.get(reference.name)
        return SecretValue(value) if value is not None else CredentialProblem(f"{reference} is not set")


def _numbered() -> Callable[[int], bytes]:
    """Entropy that never repeats, over all routers of a test."""
    return lambda count: next(_NUMBERS).to_bytes(count, "big")


_NUMBERS = itertools.count(1)


def new_engine() -> sa.Engine:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    METADATA.create_all(engine)
    return engine


class Router:
    """The use cases over a real store, with a clock and credentials that are turned by hand."""

    def __init__(
        self,
        engine: sa.Engine | None = None,
        retire_after_ms: int = 1_000,
        clock: ManualClock | None = None,
        **credentials: str,
    ) -> None:
        self.clock = clock or ManualClock()
        self.engine = engine or new_engine()
        self.store = SqlConfigurationStore(self.engine)
        self.vault = Vault({"LAB_KEY": "sk-lab", "OTHER_KEY": "sk-other"} | credentials)
        self.publisher = Publisher(self.clock, self.store, retire_after_ms)
        self.health = TargetHealth(self.clock)
        self.note_switches = NoteSwitches(self.store, self.health, self.clock, _numbered())
        self.addresses: dict[str, str] = {}
        """What names resolve to; any other does not."""
        self.names = NameWatch(self._resolve)
        self.administrator = Administrator(self.store, self.vault, self.publisher, self.health, self.names, self.clock)
        self.drain = DrainTargets(self.store, self.administrator, self.clock)
        self.trials = TryProvider(self.vault, ProviderCall(""))
        self.administrator.restore()

    def look_up(self) -> None:
        """One round of the watch over the names of providers."""
        self.administrator.take_names(self.administrator.look_up(self.administrator.configuration.providers))

    def _resolve(self, name: str) -> list[IpAddress]:
        if name not in self.addresses:
            raise OSError(name)
        return [ipaddress.ip_address(address) for address in self.addresses[name].split()]

    @property
    def audit(self) -> AuditLog:
        return AuditLog(self.engine, AUDIT)

    @property
    def clusters(self) -> list[str]:
        version = self.publisher.version
        assert version is not None
        return [cluster.name for cluster in version.snapshot.clusters]

    @property
    def planned(self) -> frozenset[str]:
        """Clusters that quota may name."""
        return self.publisher.plan.plan.clusters if self.publisher.plan is not None else frozenset()
