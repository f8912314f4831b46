"""The connection to Redis: few sockets, short waits, and no commands after a failure until Redis answers again.

A Redis that hangs must not keep calls waiting. The first calls wait for a tenth of a second. All others fail at once,
until a probe finds Redis again.
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
# Requests of the ledger and of administrators are larger and can wait longer.
_BATCH_WAIT_S = 2.0
# More than the threads: 4 for Checks, 4 for the admin API, and those in the background.
_MAX_CONNECTIONS = 16

_log = logging.getLogger("spendgate.quota")

T = TypeVar("T")


class Unanswered(StoreUnreachable):
    """The store did not answer a command. It may have executed the command, or may still do so."""


class RedisLink:
    """Sends commands to one Redis, from any thread. The link is down until `reconnect` finds Redis."""

    def __init__(self, url: str) -> None:
        """Prepares the link without connecting.

        Raises:
            SettingsError: `url` is not the URL of a Redis. The message does not repeat it, as it may hold a password.
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
        """Whether the last command got an answer."""
        return not self._down

    @property
    def problem(self) -> str:
        """Why the link is down; empty while it is up."""
        return self._down

    def script(self, name: str) -> Script:
        """The script with this name. Redis keeps it; if Redis forgets it, it gets it again."""
        source = importlib.resources.files("services.quota.adapters") / "redis_scripts" / f"{name}.lua"
        return self._for_checks.register_script(source.read_text(encoding="utf-8"))

    def command(self, *parts: str | int, batch: bool = False) -> Any:
        """The answer to one command. See `ask`."""
        return self.ask(lambda client: client.execute_command(*parts), batch=batch)

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any], *, batch: bool = False) -> Any:
        """The result of a script. See `ask`."""
        return self.ask(lambda client: script(keys, arguments, client), batch=batch)

    def run_all(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Sequence[Any]], *, batch: bool = True
    ) -> None:
        """Runs a script once for each list of arguments, and sends all of them at once. See `ask`."""

        def send(client: Any) -> None:
            pipeline = client.pipeline(transaction=False)
            for each in arguments:
                script(keys, each, pipeline)
            pipeline.execute()

        self.ask(send, batch=batch)

    def ask(self, command: Callable[[Any], T], *, batch: bool = False) -> T:
        """Runs `command` on a client. `batch`: wait 2 s for each answer instead of 0.1 s.

        Raises:
            Unanswered: Redis failed just now. StoreUnreachable: Redis failed before and is not back yet, or it refuses
            the command.
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
        """Looks for Redis, and lets `verify` check its INFO. The link is up if both succeed."""
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
        # The client must not repeat a command by itself: the caller resolves a missing answer.
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
        """Checks a new connection, because it may lead to a restarted server that lost data."""
        connection.on_connect()
        if not self._run_id:
            return
        connection.send_command("INFO", "server")
        if f"run_id:{self._run_id}\r\n" not in connection.read_response():
            raise redis.ConnectionError("it was restarted, or another server took its place")


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
