"""Reads settings from the environment once, in `main`. Errors name the variable.

Nothing below `main` reads the environment, so a process keeps the settings it was started with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class SettingsError(Exception):
    """A variable is missing or unreadable. The text names it and says what to write."""


class Environ:
    """Typed access to a mapping of environment variables. An empty value counts as absent."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def optional(self, name: str) -> str | None:
        """Returns the value, or None when it is absent."""
        return self._variables.get(name, "").strip() or None

    def text(self, name: str, default: str | None = None) -> str:
        """Returns the value.

        Raises:
            SettingsError: it is absent and there is no default.
        """
        value = self.optional(name)
        if value is not None:
            return value
        if default is None:
            raise SettingsError(f"{name} is not set")
        return default

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """Returns the value as a whole number from `low` to `high`, both inclusive.

        Raises:
            SettingsError: it is not such a number.
        """
        value = self.optional(name)
        if value is None:
            return default
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise SettingsError(f"{name}={value!r}: write a whole number from {low} to {high}")
        return number

    def path(self, name: str, default: str | None = None) -> Path:
        """Returns the value as an absolute path.

        Raises:
            SettingsError: it is absent and has no default, or is relative.
        """
        value = Path(self.text(name, default))
        if not value.is_absolute():
            raise SettingsError(f"{name}={str(value)!r}: write an absolute path")
        return value

    def address(self, name: str, default: str | None = None) -> tuple[str, int]:
        """Returns the value as HOST:PORT. An IPv6 host is in brackets.

        Raises:
            SettingsError: it has another form.
        """
        return parse_address(name, self.text(name, default))

    def secret(self, name: str) -> str | None:
        """Returns the exact value, or None when it is absent. For secrets that a configuration refers to."""
        return self._variables.get(name) or None


def parse_address(name: str, text: str) -> tuple[str, int]:
    """Splits HOST:PORT. Errors call it `name`.

    Raises:
        SettingsError: it has another form, or the port is not within 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{name}={text!r}: write HOST:PORT, for example 127.0.0.1:10000")
    return host.removeprefix("[").removesuffix("]"), int(port)
