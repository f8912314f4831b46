"""The token in the data directory: who holds it is `root`, and may change everything that the admin APIs can change."""

from __future__ import annotations

import hmac
import logging
import threading
from pathlib import Path

_log = logging.getLogger("spendgate.quota")

# 128 bits in hex. A shorter file is half written or not a token.
_SHORTEST = 32


class RootToken:
    """The value of the token file, read again whenever the file changes.

    Without a readable token nobody is an administrator.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._value = b""
        self._readable = True

    def matches(self, presented: str) -> bool:
        """Whether `presented` is the token. Takes as long for a nearly right token as for a wrong one."""
        value = self._live()
        return len(value) >= _SHORTEST and hmac.compare_digest(presented.encode(), value)

    def _live(self) -> bytes:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            with self._lock:
                if stamp != self._stamp:
                    self._value = self._path.read_bytes().strip()
                    self._stamp = stamp
                self._readable = True
                return self._value
        except OSError as error:
            # Once for each outage: whoever reaches the admin plane can ask as often as they like.
            if self._readable:
                _log.warning("the admin token cannot be read, so nobody is an administrator: %s", error)
            self._readable = False
            return b""
