"""A log file that cannot fill the disk."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
TAIL_BYTES = 8 * 1024


class CappedLog:
    """Appends to a file. When it is full, the file moves to `<name>.1` and a new one begins.

    Never raises on a full disk: a process must not stall because its log cannot be written.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._tail = b""
        self._file = path.open("ab", buffering=0)
        path.chmod(0o600)
        self._size = path.stat().st_size

    def write(self, chunk: bytes) -> None:
        """Appends."""
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]
        try:
            if self._size + len(chunk) > self._max_bytes:
                self._rotate()
            self._size += self._file.write(chunk)
        except OSError:
            return

    def forget_tail(self) -> None:
        """Forgets the lines written so far: they belong to a run that is over."""
        self._tail = b""

    def tail(self, lines: int) -> str:
        """Returns the last lines that were written."""
        return "\n".join(self._tail.decode(errors="replace").strip().splitlines()[-lines:])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _rotate(self) -> None:
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file.close()
        self._file = self._path.open("ab", buffering=0)
        self._path.chmod(0o600)
        self._size = 0
