"""Reads credentials from environment variables, and from files in the `secrets` folder freshly each time.

A file may hold a sealed text, which is opened under the file's name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from services.chassis.credential_text import MAX_CREDENTIAL_CHARS, why_unusable, without_line_end
from services.chassis.sealed_text import SealError, SealingKeys, is_sealed
from services.chassis.settings import Environ
from services.router.domain.secret import CredentialProblem, SecretReference, SecretSource, SecretValue

# A sealed credential takes a third more than the credential.
_MAX_FILE_BYTES = 2 * MAX_CREDENTIAL_CHARS
# Our own files in the data directory. A link inside the folder must not reach them either.
_OWN_FILES = ("pepper", "admin-token")


class EnvironmentAndFiles:
    """The router's start-up environment, what its supervisor hands it by name, and `<data dir>/secrets`."""

    def __init__(
        self, environ: Environ, data_dir: Path, keys: SealingKeys, handed: Callable[[str], str | None]
    ) -> None:
        """`handed` returns the variable of a name, None without one, and raises OSError while nobody answers."""
        self._environ = environ
        self._handed = handed
        self._keys = keys
        self._data_dir = data_dir
        self._folder = data_dir / "secrets"

    def read(self, reference: SecretReference) -> SecretValue | CredentialProblem:
        """Returns the current value, or why there is none. A reference to nothing has the empty value."""
        match reference.source:
            case SecretSource.NONE:
                return SecretValue("")
            case SecretSource.ENV:
                return self._read_variable(reference)
            case SecretSource.FILE:
                return self._read_file(reference)

    def _read_variable(self, reference: SecretReference) -> SecretValue | CredentialProblem:
        try:
            value = self._environ.secret(reference.name) or self._handed(reference.name)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return CredentialProblem(f"{reference} cannot be asked of `spendgate up`: {reason}")
        if not value:
            return CredentialProblem(
                f"{reference} is not set where the gateway was started: set it and restart the gateway, or keep the "
                "credential in a file, which needs no restart"
            )
        return _checked(reference, value)

    def _read_file(self, reference: SecretReference) -> SecretValue | CredentialProblem:
        try:
            path = (self._folder / reference.name).resolve(strict=True)
            if not path.is_relative_to(self._folder.resolve(strict=True)) or self._is_our_own(path):
                return CredentialProblem(f"{reference} leads out of the secrets folder", forbidden=True)
            return self._opened(reference, _read_regular(path))
        except FileNotFoundError:
            return CredentialProblem(f"{reference} does not exist in {self._data_dir}")
        except UnicodeDecodeError:
            return CredentialProblem(f"{reference} is not text")
        except (OSError, RuntimeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            return CredentialProblem(f"{reference} cannot be read: {reason}")

    def _opened(self, reference: SecretReference, text: str) -> SecretValue | CredentialProblem:
        if not is_sealed(text):
            return _checked(reference, text)
        try:
            return _checked(reference, self._keys.open(reference.name, text.strip()))
        except SealError as error:
            return CredentialProblem(f"{reference} cannot be opened: {error}")

    def _is_our_own(self, path: Path) -> bool:
        own = (self._data_dir / name for name in _OWN_FILES)
        return any(file.exists() and file.samefile(path) for file in own)


def _read_regular(path: Path) -> str:
    # Opens without blocking, so that a pipe in the folder cannot stop the router.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a file")
        return file.read(_MAX_FILE_BYTES).decode()


def _checked(reference: SecretReference, text: str) -> SecretValue | CredentialProblem:
    value = without_line_end(text)
    problem = why_unusable(value)
    return SecretValue(value) if problem is None else CredentialProblem(f"{reference} {problem}")
