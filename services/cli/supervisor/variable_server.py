"""Hands out the variables that a configuration names, one by one: see `services.chassis.named_variables`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from services.chassis.named_variables import MAX_QUESTION_BYTES, answer

_QUESTION_TIMEOUT_S = 1.0


@contextlib.asynccontextmanager
async def serve_variables(environ: Mapping[str, str], address: str) -> AsyncIterator[None]:
    """Answers at the socket `address` until the block ends.

    Raises:
        OSError: the socket cannot be made.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            writer.write(answer(environ, await asyncio.wait_for(reader.readline(), _QUESTION_TIMEOUT_S)))
            await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, address, limit=MAX_QUESTION_BYTES):
        _close_to_others(address)
        yield


def _close_to_others(address: str) -> None:
    """Its folder is closed already."""
    Path(address).chmod(0o600)
