"""The pepper, which makes a stolen table of key digests useless. It lives beside the database, not in it."""

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
    """The stored secrets belong to another pepper than the current one. The text says what to do."""


def open_pepper(path: Path, snapshots: SnapshotStore, directory: Directory, entropy: Callable[[int], bytes]) -> bytes:
    """Opens the pepper of the stored secrets. A store without secrets takes the current pepper, or a new one.

    The store keeps an HMAC under the pepper. It reveals nothing of the pepper, but shows if the pepper is another one.

    Raises:
        PepperLostError: there are secrets, but their pepper is missing, or this is another one.
        ValueError: the file does not hold a pepper.
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
    """Whether a directory contains the digest of any secret."""
    return bool(directory.tokens) or any(key.digest is not None for key in directory.keys)


_CURE = (
    "without it no virtual key and no admin token works. Put it back from a backup. If it is "
    "lost for good, start once with SPENDGATE_NEW_PEPPER=1: every key and admin token then needs a new secret"
)


def load_pepper(path: Path, entropy: Callable[[int], bytes]) -> bytes:
    """Reads the pepper in the file at `path` (hex), or creates the file with mode 0600.

    Raises:
        ValueError: the file does not hold a pepper. We do not replace it, because no key would work with another one.
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
    """Puts the whole file in place at once. If another process was faster, its file stays."""
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
