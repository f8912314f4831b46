"""The token in the data directory. Its holder is `root` and may change everything that the admin APIs can change."""

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

    If the token is unreadable, nobody is `root`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._value = b""
        self._readable = True

    def matches(self, presented: str) -> bool:
        """Whether `presented` is the token. A nearly right token takes as long as any wrong one."""
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
            # We log once for each outage, because anybody who reaches the admin plane can ask any number of times.
            if self._readable:
                _log.warning("the admin token cannot be read, so nobody can use it: %s", error)
            self._readable = False
            return b""
