"""The holds of calls in a Redis: ends them when calls settle, and restores them after a loss or failure of Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from services.kernel.errors import Unavailable
from services.quota.adapters.redis_adoption import RedisAdoption
from services.quota.adapters.redis_doubts import RedisDoubts
from services.quota.adapters.redis_reservations import Filed, RedisReservations
from services.quota.adapters.redis_session import RedisSession
from services.quota.adapters.redis_wire import Ending, chunks, end_arguments, reserve_arguments
from services.quota.adapters.slices import in_slices
from services.quota.domain.counters.adjustment import Adjustment
from services.quota.domain.counters.crossing import FindThresholdRule
from services.quota.domain.counters.reservation import Reservation
from services.quota.ports.counters import PutBack

# The most tries to end reservations while another process rewrites them.
_TRIES = 8

LOST = "the counters were lost and are being rebuilt from the ledger"


class RedisHeld:
    """Ends and restores the holds of calls. Safe to use from any thread.

    Raises: services.kernel.errors.Unavailable: Redis cannot be read or written now.
    """

    def __init__(self, session: RedisSession, adoption: RedisAdoption, doubts: RedisDoubts, put_back: PutBack) -> None:
        """`put_back` hands over the holds of calls admitted during a failure of Redis."""
        self._session = session
        self._adoption = adoption
        self._doubts = doubts
        self._kept = put_back
        self._open = RedisReservations(session.link, session.keys)
        self._reserve, self._end = map(session.link.script, ("reserve", "end"))

    def release(self, names: Iterable[str]) -> int:
        """Releases reservations without a charge. Returns how many were open."""
        return len(self.end(names, Ending.released, lambda _: None, 0))

    def end(
        self,
        names: Iterable[str],
        ending_of: Callable[[Reservation, str], Ending],
        find_rule: FindThresholdRule,
        now_ms: int,
    ) -> dict[str, Reservation]:
        """Ends reservations, and returns those that were open with their last holds. It reads rewritten ones again."""
        ended: dict[str, Reservation] = {}
        for some in chunks(list(names)):
            ended |= self._end_these(some, ending_of, find_rule, now_ms)
        return ended

    def _end_these(
        self,
        names: Sequence[str],
        ending_of: Callable[[Reservation, str], Ending],
        find_rule: FindThresholdRule,
        now_ms: int,
    ) -> dict[str, Reservation]:
        ended: dict[str, Reservation] = {}
        not_ended: list[str] = []
        left = names
        for _ in range(_TRIES):
            endings = [ending_of(reservation, read) for reservation, read in self._find(left).values()]
            self._doubts.write_down([ending.doubt for ending in endings if ending.doubt is not None])
            done = self._run_in_slices(endings, find_rule, now_ms)
            ended |= {each.reservation.id: each.reservation for each in endings if each.reservation.id in done}
            left = [each.reservation.id for each in endings if each.reservation.id not in done]
            not_ended += left
            if not left:
                break
        others = [name for name in not_ended if name not in ended]
        self._doubts.drop_unmade(others, self._session.generation)
        self._session.journal.drop([*ended, *others])
        return ended

    def _run_in_slices(self, endings: Sequence[Ending], find_rule: FindThresholdRule, now_ms: int) -> set[str]:
        done: set[str] = set()
        # It runs without endings, too: only Redis knows whether these calls ended or the counters are lost.
        for some in list(in_slices(endings, lambda ending: 1 + len(ending.reservation.holds))) or [[]]:
            done |= self.run_end(some, [], find_rule, now_ms)[1]
        return done

    def run_end(
        self, endings: Sequence[Ending], adjustments: Sequence[Adjustment], find_rule: FindThresholdRule, now_ms: int
    ) -> tuple[int, set[str]]:
        """Runs `end.lua`. Returns the number of adjusted counters, and the ids of the reservations that were open."""
        session = self._session
        arguments = end_arguments(endings, adjustments, find_rule, now_ms, session.generation)
        said, *rest = session.link.run(self._end, session.keys.of_end, arguments, batch=True)
        if said == "lost":
            raise Unavailable(LOST)
        moved, *ended = rest
        return int(moved), set(ended)

    def take_in_kept(self) -> None:
        """Holds room for the calls admitted during a failure of Redis."""
        self._kept(self._take_in, None)

    def write_down_kept(self) -> None:
        """Writes the same calls to the journal of a store that lost its counters."""
        self._kept(self._write_down, None)

    def put_all_back(self, reservations: Sequence[Reservation]) -> None:
        """Restores lost holds and doubts."""
        self._put_back(self._adoption.reheld(reservations))
        self._doubts.put_back({each.id for each in reservations})

    def _find(self, names: Iterable[str]) -> dict[str, Filed]:
        """The open reservations with these ids. It first puts back those admitted without Redis."""
        asked = list(names)
        found = self._open.read(asked)
        missing = [name for name in asked if name not in found]
        if missing:
            # Another thread may just have put them back. Then nothing is left to do here, and yet they are open now.
            self._kept(self._take_in, missing)
            found |= self._open.read(missing)
        return found

    def _take_in(self, reservations: Sequence[Reservation]) -> None:
        """Holds room for reservations that Redis does not have yet. It waits no longer than a Check does."""
        held = self._adoption.reheld(reservations)
        for each in held:
            self._session.journal.add(each)
        self._put_back(held, batch=False)
        self._session.journal.confirm(each.id for each in held)

    def _write_down(self, reservations: Sequence[Reservation]) -> None:
        for each in reservations:
            self._session.journal.add(each)
        self._session.journal.confirm(each.id for each in reservations)

    def _put_back(self, reservations: Sequence[Reservation], *, batch: bool = True) -> None:
        """Holds room for reservations again, whatever the bounds say."""
        session = self._session
        for some in chunks(reservations):
            unbounded = [[hold._replace(ceiling=None) for hold in each.holds] for each in some]
            arguments = [
                reserve_arguments(replace(each, policies=""), holds, "")
                for each, holds in zip(some, unbounded, strict=True)
            ]
            session.link.run_all(self._reserve, session.keys.of_reserve, arguments, batch=batch)
