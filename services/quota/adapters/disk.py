"""Checks how much room the disk has."""

from __future__ import annotations

import os
from pathlib import Path

from services.kernel.clock import Clock

LEAST_FREE_BYTES = 256 * 1024 * 1024
_ASK_EVERY_MS = 1_000


class FileSystemSpace:
    """`ports.DiskSpace` for the file system of `folder`."""

    def __init__(self, folder: Path, clock: Clock, *, least_free_bytes: int = LEAST_FREE_BYTES) -> None:
        self._folder = folder
        self._clock = clock
        self._least_free_bytes = least_free_bytes
        self._ask_next_ms = 0
        self._low = False

    def is_low(self) -> bool:
        """Whether so little space is left that no call may start."""
        now_ms = self._clock.now_ms()
        if now_ms >= self._ask_next_ms:
            # Several threads may ask at once, and get the same answer.
            self._ask_next_ms = now_ms + _ASK_EVERY_MS
            status = os.statvfs(self._folder)
            self._low = status.f_bavail * status.f_frsize < self._least_free_bytes
        return self._low
