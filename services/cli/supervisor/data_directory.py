"""The data directory: everything that one gateway keeps, private to one user and one supervisor."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Self

from services.chassis.private_file import write_private
from services.chassis.process import RUN_FOLDER
from services.cli.gateway_address import TOKEN_FILE
from services.cli.problems import Refused

SECRETS_FOLDER = "secrets"
FOLDERS = (RUN_FOLDER, "db", "spool", "logs", SECRETS_FOLDER)
PEPPER_FILE = "pepper"
STORE_FILE = "db/quota.sqlite"
_LOCK_FILE = "lock"
_PEPPER = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[!-~]{16,256}")


class DataDirectoryError(Refused):
    """The directory cannot be used. The text says why and what to do."""


class DataDirectory:
    """A data directory that is locked until `close`. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Creates missing parts and takes the lock.

        Raises:
            DataDirectoryError: it is not a private, writable directory, or another gateway uses it.
        """
        self.path = path
        try:
            _make_private(path)
            self._lock_fd = self._lock()
        except OSError as error:
            raise DataDirectoryError(f"data directory {path} cannot be used: {error.strerror or error}") from error
        try:
            self._fill()
        except OSError as error:
            os.close(self._lock_fd)
            raise DataDirectoryError(f"data directory {path} cannot be written: {error.strerror or error}") from error
        except DataDirectoryError:
            os.close(self._lock_fd)
            raise

    @property
    def run(self) -> Path:
        """Folder of the sockets, and working directory of every process."""
        return self.path / RUN_FOLDER

    @property
    def token_file(self) -> Path:
        """The admin token."""
        return self.path / TOKEN_FILE

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.path / "logs" / f"{name}.log"

    def socket(self, name: str) -> str:
        """Returns a path to a socket in `run` that fits the kernel's limit of 107 bytes. Valid until `close`."""
        return f"/proc/{os.getpid()}/fd/{self._run_fd}/{name}"

    def close(self) -> None:
        """Releases it for another gateway."""
        os.close(self._run_fd)
        os.close(self._lock_fd)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()

    def _lock(self) -> int:
        descriptor = os.open(self.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DataDirectoryError(
                f"data directory {self.path} is in use by another gateway (process {owner}): stop that one, "
                "or choose another --data-dir"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return descriptor

    def _fill(self) -> None:
        for name in FOLDERS:
            (self.path / name).mkdir(mode=0o700, exist_ok=True)
        for stale in self.run.glob("*.sock"):
            stale.unlink()
        pepper = self.path / PEPPER_FILE
        # If quota has a store, a missing pepper is lost, not new. Quota explains what that means.
        if pepper.exists() or not (self.path / STORE_FILE).exists():
            _ensure_secret(pepper, secrets.token_hex(32), _PEPPER)
        _ensure_secret(self.token_file, secrets.token_urlsafe(32), _TOKEN)
        self._run_fd = os.open(self.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _make_private(path: Path) -> None:
    """Creates the directory, or checks that nobody else could have read it or planted anything in it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise DataDirectoryError(f"data directory {path} belongs to another user: choose another --data-dir")
    if stat.S_IMODE(status.st_mode) & 0o077:
        if any(path.iterdir()):
            raise DataDirectoryError(
                f"data directory {path} is open to other users and not empty: `chmod 700 {path}` if you trust what "
                "is in it, or choose another --data-dir"
            )
        path.chmod(0o700)


def _ensure_secret(path: Path, fresh: str, form: re.Pattern[str]) -> None:
    """Writes a secret once, as a whole or not at all. Refuses a broken one instead of replacing it."""
    if path.exists():
        if not form.fullmatch(path.read_text(encoding="ascii", errors="replace").strip()):
            raise DataDirectoryError(f"{path} is damaged: restore it from a backup, or choose another --data-dir")
        path.chmod(0o600)
        return
    write_private(path, f"{fresh}\n")
