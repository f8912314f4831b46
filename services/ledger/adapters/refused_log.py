"""Reads the log of refusals as Envoy appends to it, through its rotations.

It begins where the log ends when the process starts: no refusal from before has a span.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import orjson

from services.ledger.domain.line_fields import UnreadableLineError
from services.ledger.domain.refusal import Refusal, parse_refusal

_CHUNK_BYTES = 1_000_000


class RefusedLog:
    """The log, as `ports.Refusals`. One thread reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None
        self._rest = b""
        """The beginning of a line whose end is not written yet."""
        with suppress(FileNotFoundError):
            self._stream = path.open("rb")
            self._stream.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Closes the file."""
        if self._stream is not None:
            self._stream.close()

    def read(self, allowed: Callable[[int], int]) -> tuple[list[Refusal], int]:
        """Reads on, at most a megabyte.

        Args:
            allowed: called with the number of new lines; returns how many of them to parse.

        Returns:
            The first of the new lines, and how many others there were. A line that cannot be read is left out.
        """
        lines = self._lines()
        parsed = allowed(len(lines)) if lines else 0
        return [refusal for line in lines[:parsed] if (refusal := _parse(line)) is not None], len(lines) - parsed

    def _lines(self) -> Sequence[bytes]:
        chunk = self._chunk()
        *lines, rest = (self._rest + chunk).split(b"\n")
        # Envoy writes no line that never ends.
        self._rest = rest if len(rest) < _CHUNK_BYTES else b""
        return lines

    def _chunk(self) -> bytes:
        if self._stream is None:
            with suppress(FileNotFoundError):
                self._stream = self._path.open("rb")
        if self._stream is None:
            return b""
        if self._stream.tell() > os.fstat(self._stream.fileno()).st_size:
            # Somebody emptied it.
            self._stream.seek(0)
            self._rest = b""
        if chunk := self._stream.read(_CHUNK_BYTES):
            return chunk
        if self._was_replaced(self._stream):
            # Envoy has opened the new file, so nothing more comes in the old one.
            self._stream.close()
            self._stream, self._rest = self._path.open("rb"), b""
        return b""

    def _was_replaced(self, stream: BinaryIO) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(stream.fileno()).st_ino
        except FileNotFoundError:
            return False


def _parse(line: bytes) -> Refusal | None:
    try:
        fields = orjson.loads(line)
        return parse_refusal(fields) if isinstance(fields, dict) else None
    except (orjson.JSONDecodeError, UnreadableLineError):
        return None
