"""The ports of the router's use cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.kernel.change import AuditEntry
from services.kernel.repetition import Answered, RequestMemory
from services.router.domain.backend import Backend
from services.router.domain.configuration import Configuration
from services.router.domain.drained import DrainedTarget
from services.router.domain.health import HealthMemory
from services.router.domain.secret import CredentialProblem, SecretReference, SecretValue
from services.router.domain.switch import NamedSwitch, NotedLead


class ConfigurationStore(RequestMemory, Protocol):
    """Keeps what must survive a restart. Never the value of a secret."""

    def load(self) -> Configuration:
        """Returns the configuration in force; at first an empty one.

        Raises:
            InvalidInput: this release does not accept the stored configuration.
        """
        ...

    def save(
        self, configuration: Configuration, entries: Sequence[AuditEntry], answered: Answered[object] | None = None
    ) -> None:
        """Replaces the configuration, adds its audit entries and remembers its request, in one transaction."""
        ...

    def load_drained(self) -> tuple[DrainedTarget, ...]:
        """Returns the drained targets."""
        ...

    def save_drained(
        self, drained: Sequence[DrainedTarget], entries: Sequence[AuditEntry], answered: Answered[object] | None = None
    ) -> None:
        """Replaces the drained targets, adds audit entries and remembers the request, in one transaction."""
        ...

    def load_backends(self) -> tuple[Backend, ...]:
        """Returns the backends that requests may be using, as last saved."""
        ...

    def save_backends(self, backends: tuple[Backend, ...]) -> None:
        """Replaces the backends."""
        ...


class Switches(Protocol):
    """Keeps who leads, and the switches that the ledger does not have yet."""

    def load_noted_leads(self) -> tuple[NotedLead, ...]:
        """Returns the tiers that another slot leads than their choice, as last saved."""
        ...

    def load_health(self) -> HealthMemory:
        """Returns what was known of sick targets, as last saved."""
        ...

    def save_switches(self, switches: Sequence[NamedSwitch], leads: Sequence[NotedLead], health: HealthMemory) -> None:
        """Adds switches to report, and replaces the noted leads and the health, in one transaction."""
        ...

    def unreported_switches(self, limit: int) -> list[NamedSwitch]:
        """Returns switches that the ledger does not have, oldest first."""
        ...

    def forget_switches(self, ids: Sequence[str]) -> None:
        """Forgets switches that the ledger has."""
        ...


class SwitchReceiver(Protocol):
    """The ledger."""

    def report(self, switches: Sequence[NamedSwitch]) -> None:
        """Hands over at most 100 switches. A repetition changes nothing.

        Raises:
            Unavailable: the ledger does not answer.
        """
        ...


class Credentials(Protocol):
    """Reads the values of references."""

    def read(self, reference: SecretReference) -> SecretValue | CredentialProblem:
        """Returns the current value, or why there is none. Never raises."""
        ...
