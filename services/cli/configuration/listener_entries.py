"""What the configuration file says of the gateway's listeners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from services.cli.configuration.entry import Entry, at_least_one
from services.cli.configuration.scalars import Origin

_MAX_ORIGINS = 100


class CorsEntry(Entry):
    """Which web pages may call."""

    origins: Annotated[tuple[Origin, ...], AfterValidator(at_least_one), Field(max_length=_MAX_ORIGINS)]


class ListenerEntry(Entry):
    """Settings of one listener."""

    cors: CorsEntry


class ListenersEntry(Entry):
    """The listeners with settings of their own."""

    data: ListenerEntry | None = None
    """Where applications call. No web page may ever call the listener of administrators."""

    def by_name(self) -> Iterator[tuple[str, ListenerEntry]]:
        """Yields those that are written, with their names."""
        if self.data is not None:
            yield "data", self.data
