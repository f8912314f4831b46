"""Publishes configurations in the one order that loses no request.

    1. Envoy gets the clusters, including those that the previous plan names.
    2. Once every connected Envoy has acknowledged them, quota gets the plan that names them.
    3. Once quota has taken that plan, clusters that no plan names retire: they stay for as long as a request can live.
    4. Then Envoy drops them.

A refusal (NACK) stops the sequence at step 1: quota keeps the previous plan, and the next version starts over. The
publisher runs on one thread. Its only I/O is saving what Envoy holds, so that a restart does not forget step 3.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from services.kernel.clock import Clock
from services.kernel.errors import FailedPrecondition
from services.router.domain.backend import Backend
from services.router.domain.listener import Listener
from services.router.domain.plan import RoutePlan
from services.router.domain.secret import SecretValue
from services.router.domain.snapshot import ClusterSpec, Snapshot
from services.router.ports import ConfigurationStore

_log = logging.getLogger("spendgate.router.publish")
_HASH_DIGITS = 12
_MAX_REFUSAL_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Version:
    """One numbered version of everything that Envoy should hold."""

    number: int
    """Increases by one with each version, from 1 at each start."""
    snapshot: Snapshot
    secrets: Mapping[str, SecretValue]
    """Complete values of credential headers by name of the secret: one for each secret in the snapshot."""


@dataclass(frozen=True, slots=True)
class VersionedPlan:
    """A plan as quota gets it."""

    version: str
    plan: RoutePlan


@dataclass(slots=True)
class Node:
    """A connected Envoy."""

    epoch: str
    connect_time_ms: int
    sent: Version | None = None
    acknowledged: Version | None = None
    refusal: str = ""


@dataclass(slots=True)
class Watcher:
    """A connected quota."""

    version_taken: str = ""


@dataclass(slots=True)
class _Proven:
    """A backend that Envoy has taken and some plan has named, so that requests may be using it.

    Only these outlive their configuration. If a backend that an Envoy refused were kept, the Envoy would refuse it
    again and again.
    """

    backend: Backend
    remove_at_ms: int | None = None
    """None: quota may name it."""


@dataclass(slots=True)
class _Pending:
    """A plan that waits for every Envoy to acknowledge a version."""

    plan: VersionedPlan
    needs_version: int


@dataclass(slots=True)
class Publisher:
    """The versions on offer, what each Envoy holds, and what quota may name."""

    clock: Clock
    store: ConfigurationStore
    retire_after_ms: int
    version: Version | None = None
    plan: VersionedPlan | None = None
    """The plan for quota. None until the first Envoy has acknowledged."""
    nodes: list[Node] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    _desired: dict[str, Backend] = field(default_factory=dict)
    _wanted_of_listeners: tuple[Listener, ...] = ()
    _proven: dict[str, _Proven] = field(default_factory=dict)
    _secrets: dict[str, SecretValue] = field(default_factory=dict)
    _pending: _Pending | None = None
    _plans_made: int = 0
    _listeners: list[Callable[[], None]] = field(default_factory=list)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` after each new version or plan, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def hold(self, backends: tuple[Backend, ...], secrets: Mapping[str, SecretValue]) -> None:
        """Takes over what Envoy held before a restart. It retires unless the next offer asks for it."""
        self._proven = {backend.cluster.name: _Proven(backend) for backend in backends}
        self._secrets.update(secrets)

    def check(self, backends: tuple[Backend, ...], secrets: Mapping[str, SecretValue], plan: RoutePlan) -> None:
        """Checks an offer.

        Raises:
            FailedPrecondition: its parts for Envoy and quota do not fit together, by a mistake of ours.
        """
        snapshot = Snapshot("", _clusters_of(self._held_with(backends)))
        at_hand = snapshot.secret_names & (self._secrets.keys() | secrets.keys())
        if problems := snapshot.check(plan, at_hand | secrets.keys()):
            raise FailedPrecondition(f"nothing was changed, since this does not fit together: {'; '.join(problems)}")

    def offer(
        self,
        backends: tuple[Backend, ...],
        secrets: Mapping[str, SecretValue],
        plan: RoutePlan,
        listeners: tuple[Listener, ...] = (),
    ) -> None:
        """Starts publishing a configuration. `secrets` holds each secret that `backends` refer to."""
        self._wanted_of_listeners = listeners
        self._desired = {backend.cluster.name: backend for backend in backends}
        for name in self._desired.keys() & self._proven.keys():
            self._proven[name].remove_at_ms = None
        self._secrets |= secrets
        number = self._make_version()
        self._make_plan(plan, needs_version=number)
        self._advance()

    def tick(self) -> None:
        """Drops clusters whose time is over. Called about once a second."""
        self._start_retirement()
        now_ms = self.clock.now_ms()
        due = [
            name
            for name, proven in self._proven.items()
            if proven.remove_at_ms is not None and proven.remove_at_ms <= now_ms
        ]
        if due:
            for name in due:
                del self._proven[name]
            self._save_proven()
            _log.info("removing unused clusters: %s", ", ".join(sorted(due)))
            self._make_version()
            self._advance()

    def connect_node(self, epoch: str) -> Node:
        """Registers an Envoy that opened its stream."""
        node = Node(epoch, self.clock.now_ms())
        self.nodes.append(node)
        return node

    def disconnect_node(self, node: Node) -> None:
        """Removes an Envoy whose stream has ended. Nothing waits for it from now on."""
        self.nodes.remove(node)
        self._advance()

    def acknowledged(self, node: Node, version: Version) -> None:
        """Notes that the Envoy holds everything of `version`."""
        if node.acknowledged is not None and node.acknowledged.number >= version.number:
            return
        node.acknowledged = version
        node.refusal = ""
        self._advance()

    def refused(self, node: Node, reason: str) -> None:
        """Notes that the Envoy refused a resource. It keeps what it had."""
        node.refusal = reason[:_MAX_REFUSAL_CHARS]
        _log.error("Envoy %s refused its configuration, the plan before stays: %s", node.epoch, node.refusal)

    def connect_watcher(self) -> Watcher:
        """Registers a quota that opened its stream."""
        watcher = Watcher()
        self.watchers.append(watcher)
        return watcher

    def disconnect_watcher(self, watcher: Watcher) -> None:
        """Removes a quota whose stream has ended. It has stored its plan and may continue with it."""
        self.watchers.remove(watcher)

    def plan_taken(self, watcher: Watcher, version: str) -> None:
        """Notes that from now on quota names only what the plan of this version names."""
        watcher.version_taken = version
        self._start_retirement()

    @property
    def in_use(self) -> Mapping[str, Backend]:
        """The backends that requests may be using, by name of the cluster."""
        return {name: proven.backend for name, proven in self._proven.items()}

    @property
    def plan_version_taken(self) -> str:
        """The version that every connected quota has taken. Empty if there is none."""
        versions = {watcher.version_taken for watcher in self.watchers}
        return versions.pop() if len(versions) == 1 else ""

    def _make_version(self) -> int:
        """Numbers what Envoy should hold now, unless nothing changed. Returns the number of the version."""
        clusters = _clusters_of(self._held_with(tuple(self._desired.values())))
        secrets = {
            cluster.secret_name: self._secrets[cluster.secret_name] for cluster in clusters if cluster.secret_name
        }
        before = self.version
        listeners = self._wanted_of_listeners
        same = before is not None and (before.snapshot.clusters, before.snapshot.listeners) == (clusters, listeners)
        if before is not None and same and before.secrets == secrets:
            return before.number
        number = 1 if before is None else before.number + 1
        # The hash leaves secrets out, because versions are logged and shown.
        version = f"{number}-{_hash((clusters, listeners))}"
        self.version = Version(number, Snapshot(version, clusters, listeners), secrets)
        self._forget_secrets()
        self._notify()
        return number

    def _held_with(self, desired: Iterable[Backend]) -> Mapping[str, Backend]:
        """Returns what Envoy should hold: the desired backends, and those that requests may still be using."""
        return {**self.in_use, **{backend.cluster.name: backend for backend in desired}}

    def _forget_secrets(self) -> None:
        """Keeps the secrets that Envoy holds, and those it falls back to if it refuses the next version."""
        backends = [*self._desired.values(), *(proven.backend for proven in self._proven.values())]
        named = {backend.cluster.secret_name for backend in backends}
        self._secrets = {name: value for name, value in self._secrets.items() if name in named}

    def _make_plan(self, plan: RoutePlan, *, needs_version: int) -> None:
        newest = self._pending.plan if self._pending is not None else self.plan
        if newest is None or newest.plan != plan:
            self._plans_made += 1
            newest = VersionedPlan(f"{self._plans_made}-{_hash(plan)}", plan)
        if newest != self.plan:
            self._pending = _Pending(newest, needs_version)

    def _advance(self) -> None:
        """Gives quota the pending plan once every connected Envoy, and at least one, holds what it names."""
        pending = self._pending
        if pending is None or not self.nodes:
            return
        for node in self.nodes:
            if node.acknowledged is None or node.acknowledged.number < pending.needs_version:
                return
        for name in pending.plan.plan.clusters:
            self._proven[name] = _Proven(self._desired[name])
        # Saved first. If quota never gets to name a cluster, it retires after a restart, which costs nothing.
        self._save_proven()
        self.plan, self._pending = pending.plan, None
        _log.info("plan %s is in force", self.plan.version)
        self._notify()

    def _start_retirement(self) -> None:
        if self.plan is None or self._pending is not None or self.plan_version_taken != self.plan.version:
            return
        for name, proven in self._proven.items():
            if proven.remove_at_ms is None and name not in self._desired and name not in self.plan.plan.clusters:
                proven.remove_at_ms = self.clock.now_ms() + self.retire_after_ms

    def _save_proven(self) -> None:
        self.store.save_backends(tuple(self._proven[name].backend for name in sorted(self._proven)))

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()


def _clusters_of(backends: Mapping[str, Backend]) -> tuple[ClusterSpec, ...]:
    return tuple(backends[name].cluster for name in sorted(backends))


def _hash(content: object) -> str:
    """Hashes frozen dataclasses of text and numbers, whose `repr` is complete."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:_HASH_DIGITS]
