"""Finds open reservations in a Redis by id, by request and by run of Envoy."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from services.kernel.names import first_reservation_id
from services.quota.adapters.redis_keys import (
    RedisKeys,
    after,
    beginning_with,
    by_epoch,
    by_id,
    by_request,
    id_in,
)
from services.quota.adapters.redis_link import RedisLink
from services.quota.adapters.redis_wire import MOST_AT_ONCE, chunks, read_value
from services.quota.domain.counters.reservation import Reservation


class Filed(NamedTuple):
    """An open reservation."""

    reservation: Reservation
    read: str
    """The stored value. A change names the value that it read."""


class RedisReservations:
    """Finds open reservations. Safe to use from any thread."""

    def __init__(self, link: RedisLink, keys: RedisKeys) -> None:
        self._link = link
        self._keys = keys

    def read(self, names: Iterable[str]) -> dict[str, Filed]:
        """The reservations with these ids that are open."""
        found: dict[str, Filed] = {}
        for some in chunks(list(names)):
            values = self._link.command("HMGET", self._keys.reservations, *some, batch=True)
            filed = {name: value for name, value in zip(some, values, strict=True) if value}
            found |= {name: Filed(read_value(name, value), value) for name, value in filed.items()}
        return found

    def overdue(self, ended_epochs: Collection[str], created_before_ms: int, limit: int) -> list[Reservation]:
        """At most `limit` reservations of these epochs, or made before this moment, oldest first."""
        before = by_id(first_reservation_id(max(0, created_before_ms)))
        names = set(self._indexed(f"[{by_id('')}", f"({before}", limit))
        for epoch in ended_epochs:
            names.update(self._indexed(*beginning_with(by_epoch(epoch)), limit))
        found = self.read(sorted(names)[:limit])
        return [found[name].reservation for name in sorted(found)]

    def after(self, reservation: str, limit: int) -> list[str]:
        """The ids of at most `limit` reservations after this id, oldest first."""
        return self._indexed(f"({by_id(reservation)}", after(by_id("")), limit)

    def of_request(self, request_id: str) -> list[str]:
        """The ids of the reservations of a request of Envoy."""
        return self._indexed(*beginning_with(by_request(request_id)), MOST_AT_ONCE)

    def count(self) -> int:
        """The number of open reservations."""
        return int(self._link.command("HLEN", self._keys.reservations, batch=True))

    def _indexed(self, low: str, high: str, limit: int) -> list[str]:
        members = self._link.command("ZRANGEBYLEX", self._keys.index, low, high, "LIMIT", 0, limit, batch=True)
        return [id_in(member) for member in members]
