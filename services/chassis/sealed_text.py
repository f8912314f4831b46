"""Sealed texts: secrets that are encrypted where they are kept.

A sealed text is one line: `spendgate-sealed-1:` and, in base64url, 4 bytes that tell the key, 12 random bytes, and what
AES-256-GCM made of the text. The name under which the text is kept is authenticated with it, so that nobody can pass
the text of one name off as that of another. Random nonces are safe for 2^32 texts of a key (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from services.chassis.settings import Environ, SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_VARIABLE = "SPENDGATE_CREDENTIALS_KEY"
KEY_FILE_VARIABLE = "SPENDGATE_CREDENTIALS_KEY_FILE"
PREFIX = "spendgate-sealed-1:"
_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_TAG_BYTES = 16
_MAX_KEYS = 8
_MAX_FILE_BYTES = 4_096


class SealError(Exception):
    """A text cannot be sealed or opened. The sentence says why, and shows neither text nor key."""


@dataclass(frozen=True, slots=True)
class SealingKeys:
    """The keys of one gateway: the first one seals, all of them open. None at all is allowed."""

    by_id: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environ(cls, environ: Environ) -> SealingKeys:
        """Reads the keys from their variable, or from the file that the other one names.

        Raises:
            SettingsError: both are set, the file is unreadable, or something is not a key.
        """
        text, path = environ.optional(KEY_VARIABLE), environ.optional(KEY_FILE_VARIABLE)
        if text is not None and path is not None:
            raise SettingsError(f"{KEY_VARIABLE} and {KEY_FILE_VARIABLE} are both set: keep one")
        if path is not None:
            text = _read(environ.path(KEY_FILE_VARIABLE))
        return cls(_parse(text or "", KEY_VARIABLE if path is None else KEY_FILE_VARIABLE))

    def seal(self, name: str, text: str) -> str:
        """Returns `text`, sealed with the first key for the place `name`.

        Raises:
            SealError: there is no key.
        """
        if not self.by_id:
            raise SealError(f"{KEY_VARIABLE} is not set")
        key_id, key = next(iter(self.by_id.items()))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = _cipher(key).encrypt(nonce, text.encode(), _authenticated(name))
        return PREFIX + base64.urlsafe_b64encode(key_id + nonce + sealed).decode()

    def open(self, name: str, sealed: str) -> str:
        """Returns the text that was sealed for the place `name`.

        Raises:
            SealError: no key is set or none of them fits, or the text was damaged, or sealed for another name.
        """
        raw = _decoded(sealed)
        if not self.by_id:
            raise SealError(f"it is sealed, and {KEY_VARIABLE} is not set")
        key = self.by_id.get(raw[:_KEY_ID_BYTES])
        if key is None:
            raise SealError(f"it is sealed with a key that {KEY_VARIABLE} does not have")
        nonce = raw[_KEY_ID_BYTES : _KEY_ID_BYTES + _NONCE_BYTES]
        # Imported here: most gateways seal nothing.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        try:
            return _cipher(key).decrypt(nonce, raw[_KEY_ID_BYTES + _NONCE_BYTES :], _authenticated(name)).decode()
        except (InvalidTag, UnicodeDecodeError):
            raise SealError(f"it is damaged, or was sealed for another name than {name}") from None

    def is_current(self, sealed: str) -> bool:
        """Whether the first key sealed this text."""
        return bool(self.by_id) and _decoded(sealed)[:_KEY_ID_BYTES] == next(iter(self.by_id))


def is_sealed(text: str) -> bool:
    """Whether a text is a sealed one."""
    return text.startswith(PREFIX)


def new_sealing_key() -> str:
    """Returns a random key, as the variable takes it."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(_MAX_FILE_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise SettingsError(f"{KEY_FILE_VARIABLE}={str(path)!r} cannot be read: {reason}") from error


def _parse(text: str, variable: str) -> dict[bytes, bytes]:
    keys = {}
    parts = text.replace(",", " ").split()
    if len(parts) > _MAX_KEYS:
        raise SettingsError(f"{variable} holds {len(parts)} keys: keep at most {_MAX_KEYS}, the newest first")
    for number, part in enumerate(parts, 1):
        try:
            key = base64.b64decode(part, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY_BYTES:
            raise SettingsError(
                f"{variable}: key {number} is not 32 bytes in base64: make one with `spendgate credentials new-key`"
            )
        keys[hashlib.sha256(key).digest()[:_KEY_ID_BYTES]] = key
    return keys


def _decoded(sealed: str) -> bytes:
    try:
        raw = base64.b64decode(sealed.removeprefix(PREFIX), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not is_sealed(sealed) or len(raw) < _KEY_ID_BYTES + _NONCE_BYTES + _TAG_BYTES:
        raise SealError("it is damaged")
    return raw


def _authenticated(name: str) -> bytes:
    return f"{PREFIX}{name}".encode()


def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)
