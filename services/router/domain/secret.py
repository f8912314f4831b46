"""References to credentials. References are stored and shown; their values never are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from services.kernel.errors import InvalidInput

_ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
_OWN_PREFIX = "SPENDGATE_"
_MAX_PATH_CHARS = 255


class SecretSource(StrEnum):
    """Where the value of a secret is kept."""

    ENV = "env"
    """An environment variable of the router."""
    FILE = "file"
    """A file in the `secrets` folder of the data directory."""
    NONE = "none"
    """Nowhere: the provider takes no credential."""


@dataclass(frozen=True, slots=True)
class SecretReference:
    """The location of a secret: the name of a variable, or a path relative to the `secrets` folder."""

    source: SecretSource
    name: str = ""

    def __str__(self) -> str:
        match self.source:
            case SecretSource.ENV:
                return f"environment variable {self.name}"
            case SecretSource.FILE:
                return f"file secrets/{self.name}"
            case SecretSource.NONE:
                return "no credential"


class SecretValue:
    """A credential in memory. Logs, tracebacks and comparisons of other objects do not reveal it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Returns the value, for the one place that sends it to Envoy."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretValue) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "SecretValue(***)"


@dataclass(frozen=True, slots=True)
class CredentialProblem:
    """Why a reference gives no value. The sentence names the reference, never its content."""

    text: str
    forbidden: bool = False
    """True: it points outside what a configuration may read. False: the value is missing or unusable at present."""


def check_reference(field: str, reference: SecretReference) -> SecretReference:
    """Returns `reference` if a configuration may name it, whether or not it has a value.

    Raises:
        InvalidInput: it may not.
    """
    match reference.source:
        case SecretSource.ENV:
            _check_env(f"{field}.env", reference.name)
        case SecretSource.FILE:
            _check_file(f"{field}.file", reference.name)
        case SecretSource.NONE:
            pass
    return reference


def _check_env(field: str, name: str) -> None:
    if not _ENV_NAME.fullmatch(name):
        raise InvalidInput(
            field, f"{name[:80]!r} is not the name of a variable: write capital letters, digits and underscores"
        )
    if name.startswith(_OWN_PREFIX):
        raise InvalidInput(field, f"{name} belongs to Spendgate itself: keep credentials in a variable of another name")


def _check_file(field: str, name: str) -> None:
    path = PurePosixPath(name)
    if not name or len(name) > _MAX_PATH_CHARS or not name.isprintable():
        raise InvalidInput(field, f"{name[:80]!r} is not a path of 1 to {_MAX_PATH_CHARS} printable characters")
    if path.is_absolute() or ".." in path.parts or path == PurePosixPath():
        raise InvalidInput(
            field, f"{name[:80]!r} leaves the secrets folder: write a path relative to `secrets` in the data directory"
        )
