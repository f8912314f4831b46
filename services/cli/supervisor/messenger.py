"""Talks to the services for the supervisor, in a process of its own that ends when nothing is left to say.

gRPC, protobuf and the reader of configurations take 23 MiB. The supervisor needs them for seconds, and runs for months.

Each request and each answer is one line of JSON. Requests go to the process's standard input:

    {"errand": "is_serving", "socket": "/proc/7/fd/5/quota-admin.sock"}

Answers come from its standard output: {"answer": ...}, or {"problem": "...", "is_misuse": false} when the errand cannot
be done. The errands are the functions of `errands`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from services.cli.problems import Misuse, Refused
from services.cli.supervisor.forking import end_with_this_process

# Mistakes of a configuration of 4 MiB, a line for each, are long.
_LONGEST_ANSWER_BYTES = 64 * 1024 * 1024
_END_TIMEOUT_S = 2.0


class MessengerLost(Refused):
    """There is no process. If it ended on its own, standard error has its last words."""


class Messenger:
    """The process. Use it as an async context manager. It does one errand at a time."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ`: where the configuration's secrets are."""
        self._environ = dict(environ)
        self._process: asyncio.subprocess.Process | None = None
        self._why_not = ""

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> Self:
        """Starts the process, without waiting for it. If that fails, the first errand says so."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "services.cli.supervisor"),
                env=self._environ,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LONGEST_ANSWER_BYTES,
                # Ctrl-C in a terminal is for the supervisor alone.
                process_group=0,
                preexec_fn=end_with_this_process(signal.SIGKILL),
            )
        except OSError as error:
            self._why_not = f": {error}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends the process, even in the middle of an errand."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.communicate(), _END_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def load(self, file: Path) -> None:
        """Reads a configuration, for `apply`.

        Raises:
            Misuse: it has mistakes, one line for each.
        """
        await self._do("load", file=str(file))

    async def apply(self, admin: str, data_dir: Path, sockets: Mapping[str, str]) -> Sequence[str]:
        """Applies the configuration that was loaded, and returns warnings.

        `sockets`: as in `GatewayAddress`.

        Raises:
            Refused: a service does not accept it.
        """
        warnings: list[str] = await self._do("apply", admin=admin, data_dir=str(data_dir), sockets=dict(sockets))
        return warnings

    async def is_serving(self, socket: str) -> bool:
        """Whether the gRPC server on this socket reports that it serves."""
        return bool(await self._do("is_serving", socket=socket))

    async def is_configured(self, router: str, quotas: Sequence[str], epoch: str) -> bool:
        """Whether Envoy's run `epoch` has the router's configuration, and each quota prices and the router's plan."""
        return bool(await self._do("is_configured", router=router, quotas=list(quotas), epoch=epoch))

    async def is_booked(self, ledger: str) -> bool:
        """Whether the ledger has booked and settled all calls."""
        return bool(await self._do("is_booked", ledger=ledger))

    async def _do(self, errand: str, **arguments: object) -> Any:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise MessengerLost(f"there is no process that talks to the services{self._why_not}")
        try:
            process.stdin.write(json.dumps({"errand": errand, **arguments}).encode() + b"\n")
            await process.stdin.drain()
            answer = json.loads(await process.stdout.readline())
        except (OSError, ValueError) as error:
            raise MessengerLost(f"the process that talks to the services ended during {errand!r}") from error
        if "problem" in answer:
            raise (Misuse if answer["is_misuse"] else Refused)(answer["problem"])
        return answer["answer"]
