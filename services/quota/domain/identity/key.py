"""Virtual keys: the credentials that clients hold in place of provider keys.

A secret of ours is `spg_live_` or `spg_test_`, 32 base62 characters from a random source, and 6 base62 characters of
the CRC32 of everything before them, so that a scanner can tell a leaked key from a look-alike without asking us.
Clients may import the secrets that they already use with another gateway, unchanged. We keep only HMAC-SHA256 digests.
The pepper is not in the database, so whoever steals the database cannot even test a guess.
"""

from __future__ import annotations

import hmac
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from services.kernel.errors import InvalidInput
from services.quota.domain.identity.attribution import Attribution

Entropy = Callable[[int], bytes]
"""Returns that many random bytes, e.g. `os.urandom`."""
PREFIX = "spg_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_LENGTH = 32
_CHECK_LENGTH = 6
_MINTED = re.compile(rf"spg_(?:live|test)_[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECK_LENGTH}}}")
_IMPORTED = re.compile(r"[!-~]{16,256}")
# The largest multiple of 62 in a byte: bytes above it are drawn again, so that every character is equally likely.
_UNBIASED = 248
_DERIVED = b"\0spendgate: the secret of a request that may be repeated\0"


class SecretKind(StrEnum):
    """A mark in the secret for people and scanners. Both kinds work the same."""

    LIVE = "live"
    TEST = "test"


class KeyState(StrEnum):
    """Whether a key works."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A key, without its secret."""

    attribution: Attribution
    models: tuple[str, ...] = ()
    """The models that the key may use. Empty: all."""
    disabled: bool = False
    expire_at_ms: int | None = None
    create_at_ms: int = 0
    hint: str = ""
    """The first and last characters of the secret. Empty for imported secrets."""
    declared: bool = False
    """The key comes from the configuration file, and is removed when the file no longer declares it."""
    digest: bytes | None = None
    """Digest of the secret. None: the key is declared, but nobody has given it a secret yet."""
    old_digest: bytes | None = None
    """Digest of the secret before the last rotation."""
    old_until_ms: int = 0
    """When the secret before the last rotation stops working."""
    unlimited: bool = False
    """The key works even where no policy bounds its use. Policies that match it still apply."""

    @property
    def name(self) -> str:
        """The unique name."""
        return self.attribution.key

    @property
    def key_id(self) -> str:
        """The public id, safe to log."""
        return self.attribution.key_id

    @property
    def kind(self) -> SecretKind:
        """The kind of its secret; `LIVE` without a minted one."""
        return SecretKind.TEST if self.hint.startswith(f"{PREFIX}{SecretKind.TEST}") else SecretKind.LIVE

    def state_at(self, now_ms: int) -> KeyState:
        """The key's state at this moment. A key that is both disabled and expired counts as disabled."""
        if self.disabled:
            return KeyState.DISABLED
        if self.expire_at_ms is not None and now_ms >= self.expire_at_ms:
            return KeyState.EXPIRED
        return KeyState.ACTIVE

    def may_use(self, model: str) -> bool:
        """Whether the key may use this model."""
        return not self.models or model in self.models

    def opened_by(self, digest: bytes, now_ms: int) -> bool:
        """Whether this digest is of the current secret, or of the previous one within its grace period."""
        if digest == self.digest:
            return True
        return digest == self.old_digest and now_ms < self.old_until_ms


@dataclass(frozen=True, slots=True)
class RetiredSecret:
    """A secret that a rotation retired. We remember it so that a file that still lists it cannot bring it back."""

    digest: bytes
    key: str
    """The name of the key that it opened."""
    retire_at_ms: int


def mint_secret(kind: SecretKind, entropy: Entropy) -> str:
    """Makes the secret of a virtual key."""
    return mint(f"{PREFIX}{kind}_", entropy)


def mint(prefix: str, entropy: Entropy) -> str:
    """Makes a secret that begins with `prefix` and ends with a checksum."""
    letters: list[str] = []
    while len(letters) < _RANDOM_LENGTH:
        letters += [_ALPHABET[byte % 62] for byte in entropy(_RANDOM_LENGTH) if byte < _UNBIASED]
    body = f"{prefix}{''.join(letters[:_RANDOM_LENGTH])}"
    return body + _checksum(body)


def derived_entropy(pepper: bytes, salt: bytes, *context: str) -> Entropy:
    """Bytes that only the holder of the pepper and of the salt can make again, and that look random to others.

    Block n is the HMAC-SHA256, under the pepper, of a label, n, the salt, and each text of `context` after its length.
    The label begins with a zero byte, which no secret contains, so a block never equals a secret's digest.
    """
    number = 0
    rest = b""
    seed = b"".join(len(each).to_bytes(4) + each for each in (salt, *(text.encode() for text in context)))

    def take(count: int) -> bytes:
        nonlocal number, rest
        while len(rest) < count:
            rest += hmac.digest(pepper, _DERIVED + number.to_bytes(4) + seed, "sha256")
            number += 1
        taken, rest = rest[:count], rest[count:]
        return taken

    return take


def looks_minted(secret: str) -> bool:
    """Whether the text has the form of our secrets, whatever its checksum."""
    return _MINTED.fullmatch(secret) is not None


def checksum_holds(secret: str) -> bool:
    """Whether the checksum is right, so that we may have minted the secret. Needs neither database nor pepper."""
    return looks_minted(secret) and _checksum(secret[:-_CHECK_LENGTH]) == secret[-_CHECK_LENGTH:]


def digest_of(secret: str, pepper: bytes) -> bytes:
    """The HMAC-SHA256 of the secret, 32 bytes. We store it and look keys up by it."""
    return hmac.digest(pepper, secret.encode(), "sha256")


def hint_of(secret: str) -> str:
    """A hint by which its owner recognises a secret, e.g. "spg_live_ab...9xyz". Empty for imported secrets."""
    return f"{secret[:11]}...{secret[-4:]}" if looks_minted(secret) else ""


def check_secret(field: str, secret: str) -> str:
    """Returns `secret` if it can be the secret of a key.

    Raises:
        InvalidInput: it cannot. The error text does not repeat the secret.
    """
    if looks_minted(secret) and not checksum_holds(secret):
        raise InvalidInput(field, "looks like a key of ours but is mistyped: its checksum does not hold")
    if not _IMPORTED.fullmatch(secret):
        raise InvalidInput(field, "must be 16 to 256 visible ASCII characters without spaces")
    return secret


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    letters = ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, 62)
        letters = _ALPHABET[digit] + letters
    return letters
