"""The doubts of calls in the counters of a Redis.

Redis has the doubts that count. The file that all quota processes share has a copy. We write the copy before Redis, so
that a loss of Redis loses nothing. We delete the copy after Redis, so that a process that dies in between clears too
little but never too much.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

from services.kernel.errors import Unavailable
from services.quota.adapters.redis_keys import RedisKeys, after, by_doubt, id_in, name_of
from services.quota.adapters.redis_link import RedisLink
from services.quota.adapters.redis_wire import (
    ANY_GENERATION,
    MOST_AT_ONCE,
    Kept,
    Rewrite,
    chunks,
    held_in,
    read_doubt,
    rewrite_arguments,
    write_doubt,
)
from services.quota.adapters.sqlite_doubts import SqliteDoubts
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.doubt import Doubt, Goes
from services.quota.domain.counters.reservation import Hold
from services.quota.domain.directory.adoption import Adoption

# Somebody else may clear or lower a doubt after we read it. Each try reads it again.
_TRIES = 8
# The most doubts to forget at once: about a minute's worth.
_FORGOTTEN_AT_ONCE = 20_000
_COMPARED_AT_ONCE = 1_000


class RedisDoubts:
    """Lists, adopts, clears and forgets doubts. Safe to use from any thread.

    Raises: services.kernel.errors.Unavailable: Redis or the file cannot be read or written now.
    """

    def __init__(self, link: RedisLink, keys: RedisKeys, copy: SqliteDoubts) -> None:
        self._link = link
        self._keys = keys
        self._copy = copy
        self._rewrite = link.script("rewrite")
        self._compared_to = ""
        self._fresh = set[str]()
        """The doubts left since an adoption began, while it lasts. All settlements pass through one quota process."""

    def write_down(self, doubts: Collection[Doubt]) -> None:
        """Writes doubts down before Redis settles the calls that leave them."""
        self._copy.put(doubts)
        self._fresh.update(doubt.reservation.id for doubt in doubts)

    def adopt(self, adoption: Adoption) -> None:
        """Extends the existing doubts to the limits of policies that are not in force yet."""
        self._fresh = set()
        for names in self._all():
            self._adopt_these(names, adoption)

    def adopt_fresh(self, adoption: Adoption) -> None:
        """Extends the doubts left since that, in the same way."""
        for some in chunks(list(self._fresh)):
            self._adopt_these(some, adoption)

    def forget_old_names(self, adoption: Adoption) -> None:
        """Drops doubts under the former names of policies."""
        if adoption.renamed:
            for names in self._all():
                self.clear(names, adoption.is_under_old_name, ANY_GENERATION)

    def _adopt_these(self, names: Sequence[str], adoption: Adoption) -> None:
        left = names
        for _ in range(_TRIES):
            changes: dict[str, tuple[Rewrite, Doubt]] = {}
            for name, value in self._values(left):
                if value:
                    before = read_doubt(name, value)
                    now = adoption.redoubted(before)
                    if now is not before:
                        steps = held_in(before.reservation, now.reservation)
                        changes[name] = Rewrite(name, by_doubt(name), value, write_doubt(now), steps), now
            written = self._run([rewrite for rewrite, _ in changes.values()], ANY_GENERATION)
            self._copy.put([now for name, (_, now) in changes.items() if name in written])
            left = [name for name in changes if name not in written]
            if not left:
                return
        raise Unavailable("other processes keep changing the doubts")

    def _all(self) -> Iterator[list[str]]:
        """The ids of calls with doubt, in parts."""
        name = ""
        while some := self.after(name, MOST_AT_ONCE):
            yield [doubt.reservation.id for doubt in some]
            name = some[-1].reservation.id

    def drop_unmade(self, names: Collection[str], generation: str) -> None:
        """Drops copies that Redis does not have, because others had already ended those calls."""
        for some in chunks(list(names)):
            self._copy.drop(self._missing(some, generation))

    def after(self, reservation: str, limit: int) -> list[Doubt]:
        """The doubts of at most `limit` calls after this id, oldest first."""
        low, high = f"({by_doubt(reservation)}", after(by_doubt(""))
        members = self._link.command("ZRANGEBYLEX", self._keys.index, low, high, "LIMIT", 0, limit, batch=True)
        return [read_doubt(name, value) for name, value in self._values([id_in(each) for each in members]) if value]

    def clear(self, reservations: Sequence[str], goes: Goes, generation: str) -> list[Doubt]:
        """Clears the parts of these calls' doubts that `goes` selects, and returns them."""
        cleared: list[Doubt] = []
        for some in chunks(reservations):
            left: Sequence[str] = some
            for _ in range(_TRIES):
                left = self._clear(left, goes, generation, cleared)
                if not left:
                    break
        return cleared

    def put_back(self, still_open: Collection[str]) -> None:
        """Restores the doubts that Redis lost, except for calls that hold room again: they have not settled yet."""
        name = ""
        while some := self._copy.after(name, MOST_AT_ONCE):
            name = some[-1].reservation.id
            lost = (doubt for doubt in some if doubt.reservation.id not in still_open)
            self._run([_making(doubt) for doubt in lost], ANY_GENERATION)

    def forget(self, ended_before_ms: int, generation: str) -> None:
        """Clears doubt in counters that nobody has needed since before this moment."""
        for some in chunks(self._copy.ending(ended_before_ms, _FORGOTTEN_AT_ONCE)):
            doubts = [read_doubt(name, value) for name, value in self._values(some) if value]
            ends_ms = self._ends_ms({hold.counter for doubt in doubts for hold in doubt.reservation.holds})
            over = {counter for counter, end_ms in ends_ms.items() if end_ms <= ended_before_ms}
            self.clear(some, partial(_is_in, over), generation)
            self._prolong(some, ends_ms)
        self._compare_copy(ended_before_ms, generation)

    def _clear(self, names: Sequence[str], goes: Goes, generation: str, cleared: list[Doubt]) -> list[str]:
        """Tries once. Adds the cleared doubts to `cleared`; returns the ids that somebody else changed meanwhile."""
        changes: list[Rewrite] = []
        parts: dict[str, tuple[Doubt, Doubt | None]] = {}
        for name, value in self._values(names):
            if value:
                gone, stays = read_doubt(name, value).split(goes)
                if gone is not None:
                    parts[name] = gone, stays
                    changes.append(_clearing(gone, value, stays))
        written = self._run(changes, generation)
        done = [part for name, part in parts.items() if name in written]
        self._copy.put([stays for _, stays in done if stays is not None])
        self._copy.drop([gone.reservation.id for gone, stays in done if stays is None])
        cleared += [gone for gone, _ in done]
        return [name for name in parts if name not in written]

    def _run(self, changes: Sequence[Rewrite], generation: str) -> set[str]:
        """Makes the changes, and returns the ids of those that succeeded."""
        if not changes:
            return set()
        arguments = rewrite_arguments(Kept.DOUBT, changes, generation)
        said, *written = self._link.run(self._rewrite, self._keys.of_doubts, arguments, batch=True)
        if said == "lost":
            raise Unavailable("the counters were lost and are being rebuilt from the ledger")
        return set(written)

    def _prolong(self, names: Sequence[str], ends_ms: dict[CounterKey, int]) -> None:
        """Notes later ends: a run that continues counts for longer, and we need not look at its doubt before that."""
        doubts = [read_doubt(name, value) for name, value in self._values(names) if value]
        self._copy.put([doubt.until(lambda counter: ends_ms.get(counter, 0)) for doubt in doubts])

    def _compare_copy(self, settled_before_ms: int, generation: str) -> None:
        """Drops copies that Redis no longer has, because a process died in between. It checks one part at a time.

        `settled_before_ms`: a moment so long ago that every call written down before it has settled, or never will.
        """
        some = self._copy.after(self._compared_to, _COMPARED_AT_ONCE)
        self._compared_to = some[-1].reservation.id if len(some) == _COMPARED_AT_ONCE else ""
        old = [doubt.reservation.id for doubt in some if doubt.since_ms < settled_before_ms]
        self.drop_unmade(old, generation)

    def _missing(self, names: Sequence[str], generation: str) -> list[str]:
        """The ids that Redis does not have. A Redis that just lost everything has none, which proves nothing."""

        def look_up(client: Any) -> Any:
            pipeline = client.pipeline()
            pipeline.hget(self._keys.ready, "generation")
            pipeline.hmget(self._keys.doubts, names)
            return pipeline.execute()

        found, values = self._link.ask(look_up, batch=True)
        if found != generation:
            return []
        return [name for name, value in zip(names, values, strict=True) if value is None]

    def _values(self, names: Collection[str]) -> list[tuple[str, str | None]]:
        found: list[tuple[str, str | None]] = []
        for some in chunks(list(names)):
            values = self._link.command("HMGET", self._keys.doubts, *some, batch=True)
            found += zip(some, values, strict=True)
        return found

    def _ends_ms(self, counters: Collection[CounterKey]) -> dict[CounterKey, int]:
        """The moments from which nobody needs these counters."""
        if not counters:
            return {}
        names = [name_of(counter) for counter in counters]
        scores = self._link.command("ZMSCORE", self._keys.windows, *names, batch=True)
        return {counter: int(float(score or 0)) for counter, score in zip(counters, scores, strict=True)}


def _making(doubt: Doubt) -> Rewrite:
    call = doubt.reservation
    steps = [(hold.counter, hold.window_end_ms, hold.held) for hold in call.holds]
    return Rewrite(call.id, by_doubt(call.id), "", write_doubt(doubt), steps)


def _clearing(gone: Doubt, read: str, stays: Doubt | None) -> Rewrite:
    call = gone.reservation
    steps = [(hold.counter, hold.window_end_ms, -hold.held) for hold in call.holds]
    return Rewrite(call.id, by_doubt(call.id), read, write_doubt(stays) if stays else "", steps)


def _is_in(counters: Collection[CounterKey], _doubt: Doubt, hold: Hold) -> bool:
    return hold.counter in counters
