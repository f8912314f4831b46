"""The pepper: what turns a stolen table of key digests into noise. It lives beside the database, not in it."""

from __future__ import annotations

import hmac
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from services.chassis.settings import SettingsError
from services.quota.domain.directory.directory import Directory
from services.quota.ports.directory import SnapshotStore

PEPPER_BYTES = 32
_MARK = "pepper"
_MARKED = b"spendgate: the pepper of the secrets that this store knows"


class PepperLostError(SettingsError):
    """The secrets that are stored were not made with the pepper that is there. The text says what to do."""


def open_pepper(path: Path, snapshots: SnapshotStore, directory: Directory, entropy: Callable[[int], bytes]) -> bytes:
    """The pepper of the stored secrets. A store that knows no secret takes the one that is there, or a new one.

    The store keeps an HMAC under the pepper, which gives nothing of it away, so that another pepper is noticed.

    Raises:
        PepperLostError: there are secrets, and this is not their pepper, or there is none.
        ValueError: the file holds something else.
    """
    holds = knows_secrets(directory)
    if holds and not path.exists():
        raise PepperLostError(f"{path} is missing, and {_CURE}")
    pepper = load_pepper(path, entropy)
    mark = hmac.digest(pepper, _MARKED, "sha256")
    known = snapshots.load(_MARK)
    if holds and known is not None and not hmac.compare_digest(known, mark):
        raise PepperLostError(f"{path} is not the pepper of this gateway, and {_CURE}")
    if known != mark:
        snapshots.save(_MARK, "", mark)
    return pepper


def knows_secrets(directory: Directory) -> bool:
    """Whether anything in a directory is recognised by its secret."""
    return bool(directory.tokens) or any(key.digest is not None for key in directory.keys)


_CURE = (
    "without it no virtual key and no admin token that there is opens anything. Put it back from a backup. If it is "
    "lost for good, start once with SPENDGATE_NEW_PEPPER=1: every key and admin token then needs a new secret"
)


def load_pepper(path: Path, entropy: Callable[[int], bytes]) -> bytes:
    """The pepper in the file at `path` (hex), made with mode 0600 if there is none.

    Raises:
        ValueError: the file holds something else. With another pepper no key would open any more, so it is not
            replaced.
    """
    if not path.exists():
        _create(path, entropy(PEPPER_BYTES))
    try:
        pepper = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        pepper = b""
    if len(pepper) != PEPPER_BYTES:
        raise ValueError(
            f"{path} must hold {PEPPER_BYTES} bytes in hex: restore it from a backup, it cannot be replaced"
        )
    return pepper


def _create(path: Path, pepper: bytes) -> None:
    """Puts the whole file in place at once; whoever comes second takes what the first one made."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(pepper.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(path).hardlink_to(temporary)
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()
