"""Open reservations in a Redis, looked up by id, by request and by run of Envoy."""

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
    """What is filed of it: whoever changes it says what was read."""


class RedisReservations:
    """Looks them up. May be used from any thread."""

    def __init__(self, link: RedisLink, keys: RedisKeys) -> None:
        self._link = link
        self._keys = keys

    def read(self, names: Iterable[str]) -> dict[str, Filed]:
        """Those of them that are open."""
        found: dict[str, Filed] = {}
        for some in chunks(list(names)):
            values = self._link.command("HMGET", self._keys.reservations, *some, batch=True)
            filed = {name: value for name, value in zip(some, values, strict=True) if value}
            found |= {name: Filed(read_value(name, value), value) for name, value in filed.items()}
        return found

    def overdue(self, ended_epochs: Collection[str], created_before_ms: int, limit: int) -> list[Reservation]:
        """At most `limit` of these epochs, or made before this moment, oldest first."""
        before = by_id(first_reservation_id(max(0, created_before_ms)))
        names = set(self._indexed(f"[{by_id('')}", f"({before}", limit))
        for epoch in ended_epochs:
            names.update(self._indexed(*beginning_with(by_epoch(epoch)), limit))
        found = self.read(sorted(names)[:limit])
        return [found[name].reservation for name in sorted(found)]

    def after(self, reservation: str, limit: int) -> list[str]:
        """Ids of at most `limit` behind this id, oldest first."""
        return self._indexed(f"({by_id(reservation)}", after(by_id("")), limit)

    def of_request(self, request_id: str) -> list[str]:
        """Ids of those that are held for a request of Envoy's."""
        return self._indexed(*beginning_with(by_request(request_id)), MOST_AT_ONCE)

    def count(self) -> int:
        """How many there are."""
        return int(self._link.command("HLEN", self._keys.reservations, batch=True))

    def _indexed(self, low: str, high: str, limit: int) -> list[str]:
        members = self._link.command("ZRANGEBYLEX", self._keys.index, low, high, "LIMIT", 0, limit, batch=True)
        return [id_in(member) for member in members]
