"""Starts a complete gateway in order, keeps it running, and stops it without losing anything."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Self

from services.chassis.installed import envoy_files
from services.chassis.named_variables import SOCKET_NAME
from services.cli.supervisor import probes
from services.cli.supervisor.child import Child, ChildSpec, StartError
from services.cli.supervisor.data_directory import DataDirectory
from services.cli.supervisor.environment import plain_environ, quota_environ, router_environ, service_command
from services.cli.supervisor.envoy import (
    FILES_VARIABLE,
    EnvoyAdmin,
    EpochSource,
    envoy_command,
)
from services.cli.supervisor.listening import check_exposure, reserve
from services.cli.supervisor.messenger import Messenger, MessengerLost
from services.cli.supervisor.settings import SupervisorSettings
from services.cli.supervisor.variable_server import serve_variables
from services.kernel.clock import Clock
from services.kernel.envoy_contract import Socket

_SOCKETS: dict[str, str] = {"quota": Socket.QUOTA_ADMIN, "router": Socket.ROUTER, "ledger": Socket.LEDGER}
_POLL_S = 0.05
# No call waits for these. Under full load they still get a part of a core: see docs/operator.md.
_NICENESS = {"ledger": 5, "router": 5}


class Supervisor:
    """A gateway: Envoy and the three services on one data directory."""

    def __init__(
        self,
        settings: SupervisorSettings,
        *,
        environ: Mapping[str, str],
        clock: Clock,
        configuration: Path | None = None,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """`report` gets a line for each event. `configuration` is a file that is applied at start."""
        self.settings = settings
        self._environ = environ
        self._clock = clock
        self._configuration = configuration
        self._report = report
        self._messenger = Messenger(environ)
        # The first quota is "quota", the others are "quota-2" and so on.
        self._more_quotas = {f"quota-{number}": number for number in range(2, settings.quotas + 1)}
        self._sockets = _SOCKETS | {name: Socket.QUOTA_ADMIN.of(number) for name, number in self._more_quotas.items()}
        self._children: dict[str, Child] = {}
        self._resources = contextlib.AsyncExitStack()
        self._directory: DataDirectory | None = None
        self._envoy: EnvoyAdmin | None = None

    @property
    def url(self) -> str:
        """Base address of the data plane, without a path."""
        return f"{self._scheme}://{self.settings.listen.authority}"

    @property
    def admin(self) -> str:
        """HOST:PORT of the admin plane."""
        return self.settings.admin_listen.reachable

    @property
    def _scheme(self) -> str:
        return "http" if self.settings.tls is None else "https"

    def pid(self, name: str) -> int | None:
        """Returns the process id of "envoy", "quota", "quota-2", "router" or "ledger"; None while it does not run."""
        return self._children[name].pid

    def restarts(self, name: str) -> int:
        """Returns how often a process was restarted."""
        return self._children[name].restarts

    async def __aenter__(self) -> Self:
        """Starts."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops."""
        await self.stop()

    async def start(self) -> None:
        """Returns once the first request would succeed.

        Raises:
            Misuse: the configuration has mistakes.
            DataDirectoryError, ListenError: the data directory or an address cannot be used.
            StartError: a process did not come up.
            Refused: a service does not accept the configuration.
        """
        async with self._messenger:
            if self._configuration is not None:
                await self._messenger.load(self._configuration)
            self._reserve_listeners()
            self._directory = self._resources.enter_context(DataDirectory(self.settings.data_dir))
            try:
                await self._start(self._directory)
            except BaseException:
                self.kill()
                await self._end_children(timeout_s=1.0)
                await self._resources.aclose()
                raise

    async def stop(self) -> None:
        """Finishes the calls in flight, books and settles them, then ends every process."""
        if self._directory is None:
            return
        async with self._messenger:
            await self._drain()
            await self._children["envoy"].stop(self.settings.stop_timeout_s)
            await self._wait_booked(self._directory)
        await self._end_children(self.settings.stop_timeout_s)
        await self._resources.aclose()
        self._directory = None

    def kill(self) -> None:
        """Ends every process at once. The next start books the rest."""
        for child in self._children.values():
            child.kill()

    def _reserve_listeners(self) -> None:
        settings = self.settings
        for listen in (settings.listen, settings.admin_listen):
            check_exposure(listen, encrypted=settings.tls is not None, insecure=settings.insecure)
        self.settings = replace(settings, listen=reserve(settings.listen), admin_listen=reserve(settings.admin_listen))

    async def _start(self, directory: DataDirectory) -> None:
        deadline = time.monotonic() + self.settings.start_timeout_s
        epochs = EpochSource(self._clock, directory.path / "spool")
        for name in self._sockets:
            self._add(name, directory)
        self._add_envoy(directory, epochs)
        variables = serve_variables(self._environ, directory.socket(SOCKET_NAME))
        await self._resources.enter_async_context(variables)
        self._report("starting quota, router and ledger")
        for name in _SOCKETS:
            await self._children[name].start()
        await self._wait_ready("router", directory, deadline)
        await self._start_more_quotas(directory, deadline)
        self._report("starting Envoy")
        await self._children["envoy"].start()
        for name in ("quota", "ledger"):
            await self._wait_ready(name, directory, deadline)
        envoy = EnvoyAdmin(directory.socket(Socket.ENVOY_ADMIN))
        await self._children["envoy"].wait_until(envoy.is_ready, _left(deadline))
        await self._children["envoy"].wait_until(self._admin_answers, _left(deadline))
        await self._apply(directory)
        await self._wait_serving(directory, epochs, deadline)
        self._envoy = envoy

    async def _start_more_quotas(self, directory: DataDirectory, deadline: float) -> None:
        """Starts them after the first, which updates the tables that they share."""
        if self._more_quotas:
            await self._wait_ready("quota", directory, deadline)
        for name in self._more_quotas:
            await self._children[name].start()
        for name in self._more_quotas:
            await self._wait_ready(name, directory, deadline)

    def _add(self, name: str, directory: DataDirectory) -> None:
        service = "quota" if name in self._more_quotas else name
        spec = ChildSpec(
            name=name,
            command=lambda: service_command(service),
            environ=self._environ_of(name),
            working_dir=directory.run,
            log=directory.log(name),
            # Their databases survive it, and no process is left that could hold a socket or a file.
            orphan_signal=signal.SIGKILL,
            niceness=_NICENESS.get(name, 0),
        )
        self._children[name] = Child(spec, self._report)

    def _environ_of(self, name: str) -> dict[str, str]:
        if name == "router":
            return router_environ(self._environ, self.settings)
        if name == "ledger":
            return plain_environ(self._environ, self.settings)
        return quota_environ(self._environ, self.settings, self._more_quotas.get(name, 1))

    def _add_envoy(self, directory: DataDirectory, epochs: EpochSource) -> None:
        files = Path(self._environ.get(FILES_VARIABLE) or envoy_files())
        spec = ChildSpec(
            name="envoy",
            command=envoy_command(files, self.settings.envoy_concurrency, epochs),
            environ=plain_environ(self._environ, self.settings),
            working_dir=directory.run,
            log=directory.log("envoy"),
            # SIGTERM ends it at once too, and it writes out its spool.
            orphan_signal=signal.SIGTERM,
        )
        self._children["envoy"] = Child(spec, self._report)

    async def _wait_ready(self, name: str, directory: DataDirectory, deadline: float) -> None:
        socket = directory.socket(self._sockets[name])
        await self._children[name].wait_until(lambda: self._messenger.is_serving(socket), _left(deadline))

    async def _admin_answers(self) -> bool:
        return await probes.http_status(f"{self._scheme}://{self.admin}/") is not None

    async def _apply(self, directory: DataDirectory) -> None:
        if self._configuration is None:
            return
        self._report(f"applying {self._configuration}")
        # An encrypted listener's certificate and name are for clients to check, so this connects around it.
        around = _SOCKETS if self.settings.tls is not None else {}
        sockets = {name: f"unix:{directory.socket(socket)}" for name, socket in around.items()}
        for warning in await self._messenger.apply(self.admin, self.settings.data_dir, sockets):
            self._report(f"warning: {warning}")

    async def _wait_serving(self, directory: DataDirectory, epochs: EpochSource, deadline: float) -> None:
        """Waits until Envoy has the configuration, quota has the plan, and both answer a request."""
        url = f"{self._scheme}://{self.settings.listen.reachable}/v1/models"
        router = directory.socket(_SOCKETS["router"])
        quotas = [directory.socket(self._sockets[name]) for name in ("quota", *self._more_quotas)]

        async def serves() -> bool:
            configured = await self._messenger.is_configured(router, quotas, epochs.current)
            return configured and await probes.http_status(url) == HTTPStatus.UNAUTHORIZED

        await self._children["envoy"].wait_until(serves, _left(deadline))

    async def _drain(self) -> None:
        if self._envoy is None or self._children["envoy"].pid is None:
            return
        self._report("finishing the calls in flight")
        left = await self._envoy.drain(self.settings.drain_timeout_s)
        if left:
            self._report(f"{left} calls were still running after {self.settings.drain_timeout_s:.0f} s: cut off")

    async def _wait_booked(self, directory: DataDirectory) -> None:
        deadline = time.monotonic() + self.settings.booking_timeout_s
        # Without a messenger nobody can ask, but the gateway must stop all the same.
        with contextlib.suppress(MessengerLost):
            while self._children["ledger"].pid is not None and time.monotonic() < deadline:
                if await self._messenger.is_booked(directory.socket(_SOCKETS["ledger"])):
                    return
                await asyncio.sleep(_POLL_S)
        self._report("not everything is booked yet: the rest is booked at the next start")

    async def _end_children(self, timeout_s: float) -> None:
        """Ends them so that none misses a peer: the ledger settles with quota to its last moment."""
        for names in (("envoy",), ("ledger",), ("router", "quota", *self._more_quotas)):
            await asyncio.gather(*(self._children[name].stop(timeout_s) for name in names if name in self._children))


def _left(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise StartError("the gateway was not ready in time")
    return left_s
