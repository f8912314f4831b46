"""The connection to Redis: few sockets, short waits, and after a failure silence until Redis answers again.

A Redis that hangs must not keep calls waiting. The first of them wait for a tenth of a second, the others are told at
once that there is no store, until a probe finds it again.
"""

from __future__ import annotations

import importlib.resources
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from services.chassis.settings import SettingsError
from services.kernel.errors import Unavailable
from services.quota.ports.counters import StoreUnreachable

# Envoy gives up a Check after 500 ms.
_CHECK_WAIT_S = 0.1
# What the ledger and administrators ask for is larger, and they are more patient.
_BATCH_WAIT_S = 2.0
# More than threads: 4 of Checks, 4 of the admin API, and those in the background.
_MAX_CONNECTIONS = 16

_log = logging.getLogger("spendgate.quota")

T = TypeVar("T")


class Unanswered(StoreUnreachable):
    """The store did not answer a command, which it may have executed, or may yet."""


class RedisLink:
    """Asks one Redis, from any thread. It is down until `reconnect` finds it."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet.

        Raises:
            SettingsError: `url` is not that of a Redis. Its text is not in the message: it may hold a password.
        """
        try:
            self._for_checks = self._client(url, _CHECK_WAIT_S)
            self._for_batches = self._client(url, _BATCH_WAIT_S)
        except ValueError as error:
            raise SettingsError(
                "SPENDGATE_COUNTERS: write sqlite, or redis://[USER:PASSWORD@]HOST:PORT[/DB]"
            ) from error
        self._run_id = ""
        self._down = "no connection yet"

    @property
    def is_up(self) -> bool:
        """Whether the last that was heard of Redis was an answer."""
        return not self._down

    @property
    def problem(self) -> str:
        """Why it is down; empty while it is up."""
        return self._down

    def script(self, name: str) -> Script:
        """The script of this name. Redis keeps it, and gets it again when it has forgotten it."""
        source = importlib.resources.files("services.quota.adapters") / "redis_scripts" / f"{name}.lua"
        return self._for_checks.register_script(source.read_text(encoding="utf-8"))

    def command(self, *parts: str | int, batch: bool = False) -> Any:
        """The answer to one command. See `ask`."""
        return self.ask(lambda client: client.execute_command(*parts), batch=batch)

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any], *, batch: bool = False) -> Any:
        """What a script returns. See `ask`."""
        return self.ask(lambda client: script(keys, arguments, client), batch=batch)

    def run_all(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Sequence[Any]], *, batch: bool = True
    ) -> None:
        """Runs a script once for each of these arguments, all of them sent at once. See `ask`."""

        def send(client: Any) -> None:
            pipeline = client.pipeline(transaction=False)
            for each in arguments:
                script(keys, each, pipeline)
            pipeline.execute()

        self.ask(send, batch=batch)

    def ask(self, command: Callable[[Any], T], *, batch: bool = False) -> T:
        """What `command` makes of a client. `batch`: waits 2 s for each answer instead of 0.1 s.

        Raises:
            Unanswered: Redis failed just now.
            StoreUnreachable: it failed before and has not been found again, or it refuses.
        """
        if self._down:
            raise StoreUnreachable(f"the counter store does not answer: {self._down}")
        try:
            return command(self._for_batches if batch else self._for_checks)
        except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ReadOnlyError) as error:
            self._lose(_text(error))
            raise Unanswered(f"the counter store does not answer: {error}") from error
        except redis.RedisError as error:
            raise StoreUnreachable(f"the counter store refuses: {error}") from error

    def reconnect(self, verify: Callable[[redis.Redis, dict[str, Any]], None]) -> bool:
        """Looks for Redis, lets `verify` look at what it says of itself (INFO), and is up if both went well."""
        self._run_id = ""
        try:
            about: dict[str, Any] = self._for_checks.info()
            verify(self._for_checks, about)
        except (redis.RedisError, Unavailable) as error:
            if self._down != _text(error):
                self._down = _text(error)
                _log.warning("no counter store: %s", error)
            return False
        self._run_id = about["run_id"]
        self._down = ""
        _log.info("counters are kept in Redis %s", about["redis_version"])
        return True

    def close(self) -> None:
        """Closes the connections."""
        self._for_checks.close()
        self._for_batches.close()

    def _lose(self, why: str) -> None:
        if not self._down:
            self._down = why
            _log.warning("the counter store is lost: %s", why)
            for client in (self._for_checks, self._for_batches):
                client.connection_pool.disconnect(inuse_connections=False)

    def _client(self, url: str, wait_s: float) -> redis.Redis:
        # Nothing is sent twice behind our back: what was not answered is settled by who asked.
        return redis.Redis.from_url(
            url,
            socket_timeout=wait_s,
            socket_connect_timeout=wait_s,
            retry=Retry(NoBackoff(), 0),
            max_connections=_MAX_CONNECTIONS,
            decode_responses=True,
            protocol=2,
            redis_connect_func=self._greet,
        )

    def _greet(self, connection: Any) -> None:
        """A new connection may lead to a server that was restarted, and knows less than the one before."""
        connection.on_connect()
        if not self._run_id:
            return
        connection.send_command("INFO", "server")
        if f"run_id:{self._run_id}\r\n" not in connection.read_response():
            raise redis.ConnectionError("it was restarted, or another one has taken its place")


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
