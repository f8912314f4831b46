"""The doubts of calls in the counters of one file: lists, extends, clears and forgets them, some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.quota.adapters.slices import RECORDS_AT_ONCE, in_chunks
from services.quota.adapters.sqlite_doubts import doubts_after, doubts_ending, doubts_named, drop_doubts, put_doubts
from services.quota.adapters.sqlite_state import SqliteState
from services.quota.domain.counters.doubt import Doubt, Goes
from services.quota.domain.directory.adoption import Adoption

# A doubt is read and written, and to extend it takes longer than both.
_CLEARED_AT_ONCE = RECORDS_AT_ONCE // 2
_EXTENDED_AT_ONCE = RECORDS_AT_ONCE // 8
_LISTED_AT_ONCE = 200
# The most doubts to forget at once: about a minute's worth.
_FORGOTTEN_AT_ONCE = 20_000


class SqliteHeldDoubts:
    """The doubts of one file. Safe to use from any thread that does not have the lock of decisions."""

    def __init__(self, state: SqliteState) -> None:
        self._state = state

    def after(self, reservation: str, limit: int) -> list[Doubt]:
        """The doubts of at most `limit` calls after this id, oldest first."""
        with self._state.file.reading() as connection:
            return doubts_after(connection, reservation, limit)

    def clear(self, reservations: Sequence[str], goes: Goes) -> list[Doubt]:
        """Clears the parts of these calls' doubts that `goes` selects, and returns them."""
        cleared: list[Doubt] = []
        for names in self._state.turns.between(in_chunks(reservations, _CLEARED_AT_ONCE)):
            cleared += self._clear(names, goes)
        return cleared

    def extend(self, adoption: Adoption) -> None:
        """Extends all doubts to the limits that apply to their calls under these policies."""
        chunks = (some for names in self._names() for some in in_chunks(names, _EXTENDED_AT_ONCE))
        for names in self._state.turns.between(chunks):
            with self._state.deciding:
                self._extend(names, adoption)

    def forget_old_names(self, adoption: Adoption) -> None:
        """Drops doubt under the former names of policies."""
        for names in self._names():
            self.clear(names, adoption.is_under_old_name)

    def forget(self, ended_before_ms: int) -> None:
        """Drops doubt in counters that nobody has needed since this moment."""
        levels = self._state.levels
        with self._state.file.reading() as connection:
            ending = doubts_ending(connection, ended_before_ms, _FORGOTTEN_AT_ONCE)
        for names in self._state.turns.between(in_chunks(ending, _CLEARED_AT_ONCE)):
            self._clear(names, lambda _, hold: levels.end_ms_of(hold.counter) <= ended_before_ms)
            # A run that continues counts for longer, so we note later ends and need not look at its doubt before.
            with self._state.file.writing() as connection:
                put_doubts(connection, [doubt.until(levels.end_ms_of) for doubt in doubts_named(connection, names)])

    def _clear(self, names: Sequence[str], goes: Goes) -> list[Doubt]:
        with self._state.deciding:
            with self._state.file.writing() as connection:
                parts = [doubt.split(goes) for doubt in doubts_named(connection, names)]
                cleared = [gone for gone, _ in parts if gone is not None]
                drop_doubts(connection, [gone.reservation.id for gone in cleared])
                put_doubts(connection, [stays for gone, stays in parts if gone is not None and stays is not None])
            self._state.levels.clear(cleared)
        return cleared

    def _extend(self, names: Sequence[str], adoption: Adoption) -> None:
        with self._state.file.writing() as connection:
            doubts = [(each, adoption.redoubted(each)) for each in doubts_named(connection, names)]
            changed = [(before, after) for before, after in doubts if after is not before]
            put_doubts(connection, [after for _, after in changed])
        self._state.levels.clear(before for before, _ in changed)
        self._state.levels.doubt(after for _, after in changed)

    def _names(self) -> Iterator[list[str]]:
        """The ids of calls with doubt, in parts."""
        name = ""
        while some := self.after(name, _LISTED_AT_ONCE):
            yield [doubt.reservation.id for doubt in some]
            name = some[-1].reservation.id
