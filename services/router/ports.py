"""The ports of the router's use cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.kernel.change import AuditEntry
from services.kernel.repetition import Answered, RequestMemory
from services.router.domain.backend import Backend
from services.router.domain.configuration import Configuration
from services.router.domain.drained import DrainedTarget
from services.router.domain.secret import CredentialProblem, SecretReference, SecretValue


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


class Credentials(Protocol):
    """Reads the values of references."""

    def read(self, reference: SecretReference) -> SecretValue | CredentialProblem:
        """Returns the current value, or why there is none. Never raises."""
        ...
