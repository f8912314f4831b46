"""The pepper: what turns a stolen table of key digests into noise. It lives beside the database, not in it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

PEPPER_BYTES = 32


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
