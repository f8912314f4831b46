"""The keys of counters and reservations in Redis.

All keys of a gateway have the same hash tag, so that a cluster keeps them in one slot and a script can touch all of
them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields

import orjson

from services.quota.domain.counters.counter import CounterKey

# Names of keys in Redis that differ from their fields: the first release wrote them.
_STORED_AS = {"reported": "told"}


def tag_of(pepper: bytes) -> str:
    """The hash tag of the gateway with this pepper. All its quota processes use it, and no other gateway does."""
    return hashlib.blake2b(pepper, digest_size=8, person=b"counters").hexdigest()


@dataclass(frozen=True, slots=True)
class RedisKeys:
    """The keys of one gateway."""

    counters: str
    """Hash. For each counter, `s` and its name: settled; `r`: reserved; `d`: doubt; `b`: settled when it was
    restored."""
    windows: str
    """Sorted set: names of counters by the moment from which nobody needs them."""
    reservations: str
    """Hash: id to record."""
    doubts: str
    """Hash: id of a call to its doubt."""
    index: str
    """Sorted set of one score: open reservations by id, by request and by run of Envoy, doubts by id. See `by_id`."""
    reported: str
    """Sorted set of one score: what was reported of counters. See `reported_of`."""
    crossings: str
    """Sorted set: the last crossings by sequence number."""
    sequence: str
    """The last sequence number."""
    gone: str
    """Sorted set: Envoy's ids of the last released requests. A process that hung may still try to hold one."""
    adjusted: str
    """Sorted set: the last adjustments by sequence number."""
    ready: str
    """Hash: the `generation` of the counters, and the `run_id` of their server."""
    policies: str
    """The version of the policies by which reservations are made. See `redis_adoption`."""

    @classmethod
    def tagged(cls, tag: str) -> RedisKeys:
        """The keys with this hash tag."""
        return cls(*(f"spendgate:{{{tag}}}:{_STORED_AS.get(field.name, field.name)}" for field in fields(cls)))

    @property
    def of_reserve(self) -> tuple[str, ...]:
        """The keys that `reserve.lua` takes."""
        return self.counters, self.windows, self.reservations, self.index, self.ready, self.gone, self.policies

    @property
    def of_end(self) -> tuple[str, ...]:
        """The keys that `end.lua` takes."""
        return (
            *(self.counters, self.windows, self.reservations, self.doubts, self.index),
            *(self.reported, self.crossings, self.sequence, self.ready, self.adjusted),
        )

    @property
    def of_names(self) -> tuple[str, ...]:
        """The keys that `forget.lua` and `rename.lua` take."""
        return self.counters, self.windows, self.reported

    @property
    def of_reservations(self) -> tuple[str, ...]:
        """The keys that `rewrite.lua` takes for the holds of calls."""
        return self.counters, self.windows, self.reservations, self.index, self.ready

    @property
    def of_doubts(self) -> tuple[str, ...]:
        """The keys that `rewrite.lua` takes for doubts."""
        return self.counters, self.windows, self.doubts, self.index, self.ready

    @property
    def of_loss(self) -> tuple[str, ...]:
        """The keys that `lose.lua` takes."""
        return self.ready, self.counters, self.windows, self.reservations, self.doubts, self.index


def name_of(counter: CounterKey) -> str:
    """The name of a counter."""
    return orjson.dumps(list(counter)).decode()


def counter_of(name: str) -> CounterKey:
    """The counter of a name."""
    return CounterKey(*orjson.loads(name))


def fields_of(counters: Iterable[CounterKey]) -> list[str]:
    """The fields of `RedisKeys.counters` with the settled, reserved and doubt of each counter, in turn."""
    return [kind + name for name in map(name_of, counters) for kind in ("s", "r", "d")]


def reported_of(counter: CounterKey) -> str:
    """The prefix of a counter's members of `RedisKeys.reported`. The basis points or another kind follow.

    The windows of one policy, limit and scope are adjacent, ordered by their start.
    """
    return _reported_at(counter, counter.window_start_ms)


def reports_between(since_ms: int, counter: CounterKey) -> tuple[str, str]:
    """The range of reports about a counter, and about earlier ones whose windows began at this moment or later."""
    return f"[{_reported_at(counter, since_ms)}", after(reported_of(counter))


def beginning_with(text: str) -> tuple[str, str]:
    """The range of members with this prefix."""
    return f"[{text}", after(text)


def after(text: str) -> str:
    """The end of a range that includes all members with this prefix."""
    return f"({text}\x7f"


def _reported_at(counter: CounterKey, start_ms: int) -> str:
    return f"{orjson.dumps(list(counter[:3])).decode()}\x1f{max(0, start_ms):016d}\x1f"


def by_id(reservation: str) -> str:
    """The index member of a reservation."""
    return f"i\x1f{reservation}"


def by_doubt(reservation: str) -> str:
    """The index member of a call's doubt."""
    return f"d\x1f{reservation}"


def by_request(request_id: str, reservation: str = "") -> str:
    """The index member of a request's reservation, or without one the prefix of the request's members."""
    return f"q\x1f{request_id}\x1f{reservation}"


def by_epoch(epoch: str, reservation: str = "") -> str:
    """The index member of a reservation in a run of Envoy, or without one the prefix of the run's members."""
    return f"e\x1f{epoch}\x1f{reservation}"


def id_in(member: str) -> str:
    """The reservation's id in an index member."""
    return member.rpartition("\x1f")[2]
