"""What the use cases need from outside, said by them and kept by the adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.kernel.change import AuditEntry
from services.router.domain.backend import Backend
from services.router.domain.configuration import Configuration
from services.router.domain.secret import CredentialProblem, SecretReference, SecretValue


class ConfigurationStore(Protocol):
    """Keeps what must survive a restart. Never the value of a secret."""

    def load(self) -> Configuration:
        """The configuration in force; an empty one at first.

        Raises:
            InvalidInput: what is stored is not a configuration that this release accepts.
        """
        ...

    def save(self, configuration: Configuration, entries: Sequence[AuditEntry]) -> None:
        """Replaces the configuration and adds the audit entries that tell of it, in one transaction."""
        ...

    def load_backends(self) -> tuple[Backend, ...]:
        """The backends on which requests may be, as they were last saved."""
        ...

    def save_backends(self, backends: tuple[Backend, ...]) -> None:
        """Replaces the backends."""
        ...


class Credentials(Protocol):
    """Reads the values of references."""

    def read(self, reference: SecretReference) -> SecretValue | CredentialProblem:
        """The value now, or why there is none. Never raises."""
        ...
