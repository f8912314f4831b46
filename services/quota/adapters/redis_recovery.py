"""Handles the return of Redis, with all its data or with none.

A mark in Redis names the generation of the counters and the run of the server that has them. Without the mark, or after
a restart of the server, the counters are lost. Nobody can then make or end a bounded reservation until `restore` has
set the counters from the ledger and put back the holds of all quota processes.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Collection, Sequence
from typing import Any

import redis

from services.chassis.loops import Loop
from services.kernel.errors import SpendgateError, Unavailable
from services.quota.adapters.redis_held import RedisHeld
from services.quota.adapters.redis_keys import by_id, name_of
from services.quota.adapters.redis_session import RedisSession
from services.quota.ports.counters import Sum
from services.quota.ports.directory import SnapshotStore

_EVERY_MS = 250
_FIRST_LOOKS = 5
_PRUNE_EVERY = 4
_CHUNK = 500
_NOTE = "counters"

_log = logging.getLogger("spendgate.quota")


class RedisRecovery:
    """Watches one Redis in its own thread."""

    def __init__(self, session: RedisSession, notes: SnapshotStore, held: RedisHeld, *, fresh: bool) -> None:
        """`notes` name, after a restart, the counters that this process knows; `fresh`: nothing was ever counted."""
        self._session = session
        self._link = link = session.link
        self._keys = session.keys
        self._notes = notes
        self._held = held
        self._declare, self._lose = link.script("declare"), link.script("lose")
        self.knows_counters = notes.load(_NOTE) is not None
        """Whether this gateway has ever counted, in this Redis or an earlier one."""
        self._may_begin = fresh and not self.knows_counters
        self._logged_loss = False
        self._rounds = 0
        self._following = threading.Lock()
        self._looking = Loop("the look at Redis", self.look, every_ms=_EVERY_MS)

    def start(self) -> None:
        """Looks at Redis a few times at once, in case it is only slow at first, and then goes on in the background."""
        for _ in range(_FIRST_LOOKS):
            self.look()
            if self._session.generation:
                break
        self._looking.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._looking.stop()

    def is_ready(self) -> bool:
        """Whether the counters are reliable now."""
        return self._link.ask(self._read_mark, batch=True) is not None

    def restore(self, sums: Sequence[Sum], ended: Collection[str]) -> None:
        """Sets settled amounts. If the counters were lost, it also restores holds and declares the counters ready."""
        lost = self._link.ask(self._read_mark, batch=True) is None
        for at in range(0, len(sums), _CHUNK):
            self._write_sums(sums[at : at + _CHUNK], lost=lost)
        if lost:
            self._session.journal.drop(ended)
            self._held.put_all_back(list(self._session.journal.of_all_quotas()))
        self._link.ask(self._declare_ready, batch=True)
        self.look()

    def look(self) -> None:
        """Looks at Redis once: reconnects, joins its counters, and tidies up."""
        with self._following:
            try:
                if self._link.is_up or self._link.reconnect(self._verify):
                    self._follow()
            except SpendgateError as error:
                _log.debug("Redis will be looked at again: %s", error)

    def _verify(self, client: redis.Redis, about: dict[str, Any]) -> None:
        """Refuses a Redis that drops counters when it is full, and one with counters of an earlier server run."""
        if int(about.get("maxmemory", 0)) and str(about.get("maxmemory_policy", "")).startswith("allkeys"):
            raise Unavailable("it may drop any key when it is full: set its maxmemory-policy to noeviction")
        run_id: Any = client.hget(self._keys.ready, "run_id")
        if run_id not in {None, about["run_id"]}:
            self._lose(self._keys.of_loss, [run_id], client)

    def _follow(self) -> None:
        generation = self._link.ask(self._read_mark)
        if generation is None and self._may_begin:
            generation = self._link.ask(self._declare_ready)
        if generation is None:
            self._log_loss()
            return
        # Other processes may keep more such calls until they find Redis, too, so each look takes in all there are.
        self._held.take_in_kept()
        if generation != self._session.generation:
            self._notes.save(_NOTE, generation, generation.encode())
            self._session.generation = generation
            self.knows_counters = True
            self._may_begin = self._logged_loss = False
            _log.info("uses generation %s of the counters", generation)
        if uncertain := self._session.uncertain.take():
            self._held.release(uncertain)
        self._rounds += 1
        if self._rounds % _PRUNE_EVERY == 0:
            self._prune()

    def _log_loss(self) -> None:
        self._session.generation = ""
        if not self._logged_loss:
            self._logged_loss = True
            _log.error("the counters are lost: calls under a limit are refused until they are rebuilt from the ledger")

    def _prune(self) -> None:
        """Forgets reservations that other processes ended, because a settlement reaches only one of them."""
        names = self._session.journal.ids()
        for at in range(0, len(names), _CHUNK):
            self._session.journal.drop(self._ended(names[at : at + _CHUNK]))

    def _ended(self, names: Sequence[str]) -> list[str]:
        """The ids that Redis no longer holds. A Redis that just lost everything holds none, which does not end them."""

        def look_up(client: Any) -> Any:
            pipeline = client.pipeline()
            pipeline.hget(self._keys.ready, "generation")
            pipeline.zmscore(self._keys.index, [by_id(name) for name in names])
            return pipeline.execute()

        generation, scores = self._link.ask(look_up, batch=True)
        if generation != self._session.generation:
            return []
        return [name for name, score in zip(names, scores, strict=True) if score is None]

    def _read_mark(self, client: redis.Redis) -> str | None:
        """The generation; None if the counters were lost."""
        generation: Any = client.hget(self._keys.ready, "generation")
        return None if generation is None else str(generation)

    def _declare_ready(self, client: redis.Redis) -> str:
        """Makes a new generation unless there is one, and returns the generation."""
        run_id = client.info("server")["run_id"]
        self._declare((self._keys.ready, self._keys.sequence), [uuid.uuid4().hex, run_id], client)
        return str(client.hget(self._keys.ready, "generation"))

    def _write_sums(self, sums: Sequence[Sum], *, lost: bool) -> None:
        self._link.ask(lambda client: self._write_sums_to(client.pipeline(), sums, lost=lost), batch=True)

    def _write_sums_to(self, pipeline: Any, sums: Sequence[Sum], *, lost: bool) -> None:
        for counter, window_end_ms, settled in sums:
            name = name_of(counter)
            fields = {f"s{name}": settled, f"b{name}": settled} if lost else {f"s{name}": settled}
            pipeline.hset(self._keys.counters, mapping=fields)
            pipeline.zadd(self._keys.windows, {name: window_end_ms}, gt=True)
        pipeline.execute()
