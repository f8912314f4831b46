"""Settings of a listener that a configuration may change while the gateway runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.kernel.errors import InvalidInput
from services.kernel.names import check_origin, no_such

MAX_ORIGINS = 100


class ListenerName(StrEnum):
    """The listeners that a configuration may set. That of administrators is none: no web page may call it."""

    DATA = "data"
    """Applications call here."""


@dataclass(frozen=True, slots=True)
class Listener:
    """What a configuration says of one listener."""

    name: str
    cors_origins: tuple[str, ...] = ()
    """The origins whose web pages may read its answers, as `services.kernel.names` has them. Empty: none."""


def check_listener(field: str, listener: Listener) -> None:
    """Checks a listener.

    Raises:
        InvalidInput: there is no such listener, or an origin is wrong.
    """
    if listener.name not in set(ListenerName):
        raise InvalidInput(f"{field}.name", no_such("listener", listener.name, [name.value for name in ListenerName]))
    where = f"{field}.cors.origins"
    if len(listener.cors_origins) > MAX_ORIGINS:
        raise InvalidInput(where, f"{len(listener.cors_origins)} are too many: at most {MAX_ORIGINS}")
    for at, origin in enumerate(listener.cors_origins):
        check_origin(f"{where}[{at}]", origin)
        if origin in listener.cors_origins[:at]:
            raise InvalidInput(f"{where}[{at}]", f"{origin} is listed twice: remove one")
