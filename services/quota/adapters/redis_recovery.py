"""What happens when Redis comes back: with all that it knew, or with nothing.

A mark in Redis names the generation of the counters and the run of the server that they are of. Without it, or after
the server was started again, the counters are lost, and no bounded reservation is made or ended until `restore` has set
them from the ledger and put back what calls hold, of all quotas.
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
    """Watches one Redis in a thread of its own."""

    def __init__(self, session: RedisSession, notes: SnapshotStore, held: RedisHeld, *, fresh: bool) -> None:
        """`notes` keep which counters this process knows, over a restart; `fresh`: nothing was ever counted."""
        self._session = session
        self._link = link = session.link
        self._keys = session.keys
        self._notes = notes
        self._held = held
        self._declare, self._lose = link.script("declare"), link.script("lose")
        self.knows_counters = notes.load(_NOTE) is not None
        """Of this gateway, in this Redis or in one before it."""
        self._may_begin = fresh and not self.knows_counters
        self._told_loss = False
        self._rounds = 0
        self._following = threading.Lock()
        self._looking = Loop("the look at Redis", self.look, every_ms=_EVERY_MS)

    def start(self) -> None:
        """Looks, and then goes on looking in the background. A Redis that is only slow at first is not missed."""
        for _ in range(_FIRST_LOOKS):
            self.look()
            if self._session.generation:
                break
        self._looking.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._looking.stop()

    def is_ready(self) -> bool:
        """Whether the counters can be believed now."""
        return self._link.ask(self._read_mark, batch=True) is not None

    def restore(self, sums: Sequence[Sum], ended: Collection[str]) -> None:
        """Sets what is settled. If the counters were lost, also puts back what calls hold, and declares them ready."""
        lost = self._link.ask(self._read_mark, batch=True) is None
        for at in range(0, len(sums), _CHUNK):
            self._write_sums(sums[at : at + _CHUNK], lost=lost)
        if lost:
            self._session.journal.drop(ended)
            self._held.put_all_back(list(self._session.journal.everybodys()))
        self._link.ask(self._declare_ready, batch=True)
        self.look()

    def look(self) -> None:
        """One look at Redis: finds it again, takes part in its counters, and tidies up."""
        with self._following:
            try:
                if self._link.is_up or self._link.reconnect(self._verify):
                    self._follow()
            except SpendgateError as error:
                _log.debug("Redis will be looked at again: %s", error)

    def _verify(self, client: redis.Redis, about: dict[str, Any]) -> None:
        """Refuses a Redis that drops counters when it is full, and counters of an earlier run of it."""
        if int(about.get("maxmemory", 0)) and str(about.get("maxmemory_policy", "")).startswith("allkeys"):
            raise Unavailable("it drops any key when it is full: set its maxmemory-policy to noeviction")
        run_id: Any = client.hget(self._keys.ready, "run_id")
        if run_id not in {None, about["run_id"]}:
            self._lose(self._keys.of_loss, [run_id], client)

    def _follow(self) -> None:
        generation = self._link.ask(self._read_mark)
        if generation is None and self._may_begin:
            generation = self._link.ask(self._declare_ready)
        if generation is None:
            self._tell_loss()
            return
        # Others may keep more of them until they have found Redis too, so each look takes in what there is.
        self._held.take_in_kept()
        if generation != self._session.generation:
            self._notes.save(_NOTE, generation, generation.encode())
            self._session.generation = generation
            self.knows_counters = True
            self._may_begin = self._told_loss = False
            _log.info("takes part in generation %s of the counters", generation)
        if uncertain := self._session.uncertain.take():
            self._held.release(uncertain)
        self._rounds += 1
        if self._rounds % _PRUNE_EVERY == 0:
            self._prune()

    def _tell_loss(self) -> None:
        self._session.generation = ""
        if not self._told_loss:
            self._told_loss = True
            _log.error("the counters are lost: calls under a limit are refused until they are rebuilt from the ledger")

    def _prune(self) -> None:
        """Forgets what others have ended: settlements reach one quota of several."""
        names = self._session.journal.ids()
        for at in range(0, len(names), _CHUNK):
            self._session.journal.drop(self._ended(names[at : at + _CHUNK]))

    def _ended(self, names: Sequence[str]) -> list[str]:
        """Those that the store does not hold any more. A store that was just lost holds nothing, which is no end."""

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
        """The generation, if the counters were not lost."""
        generation: Any = client.hget(self._keys.ready, "generation")
        return None if generation is None else str(generation)

    def _declare_ready(self, client: redis.Redis) -> str:
        """Makes a new generation, unless there is one; the one that there is then."""
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
