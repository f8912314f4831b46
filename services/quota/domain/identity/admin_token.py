"""Admin tokens: credentials for the admin plane, each with a role, a scope and an expiry.

A secret is `spa_`, 32 random base62 characters and a checksum, built like the secrets of virtual keys. We keep only its
digest. The token in the data directory is not one of these: it is `root` and never expires, because its holder could
change the files anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.change import OWNER, Actor, Role
from services.kernel.errors import InvalidInput
from services.kernel.names import check_name
from services.quota.domain.identity.key import Entropy, mint

ROOT = Actor("root", Role.PLATFORM)
"""The holder of the token in the data directory."""
MAX_TOKENS = 1_000
MAX_LIFE_MS = 366 * 86_400_000
_PREFIX = "spa_"


@dataclass(frozen=True, slots=True)
class AdminToken:
    """A token, without its secret."""

    name: str
    role: Role
    team: str
    """The team of a team admin; empty for other roles."""
    digest: bytes
    hint: str
    """The first and last characters of the secret."""
    create_at_ms: int
    expire_at_ms: int

    @property
    def actor(self) -> Actor:
        """The actor that holds this token."""
        return Actor(self.name, self.role, self.team)

    def is_expired(self, now_ms: int) -> bool:
        """Whether the token has expired."""
        return now_ms >= self.expire_at_ms


def check_token(name: str, role: Role, team: str, expire_at_ms: int, now_ms: int) -> None:
    """Checks that a token with these properties can be created.

    Raises:
        InvalidInput: a property is wrong; the error names it.
    """
    check_name("admin_token.name", name)
    if name in {ROOT.name, OWNER.actor.name}:
        raise InvalidInput(
            "admin_token.name", f"{name!r} is what the audit log calls the owner of the gateway: choose another"
        )
    if role is Role.TEAM_ADMIN:
        check_name("admin_token.team", team)
    elif team:
        raise InvalidInput("admin_token.team", f"a token of role {role} is for the whole organization: leave it empty")
    if not now_ms < expire_at_ms <= now_ms + MAX_LIFE_MS:
        raise InvalidInput("admin_token.expire_time", "must be in the future, at most 366 days ahead")


def mint_token_secret(entropy: Entropy) -> str:
    """Makes the secret of an admin token."""
    return mint(_PREFIX, entropy)


def token_hint(secret: str) -> str:
    """A hint by which its owner recognises a secret: "spa_ab...9xyz"."""
    return f"{secret[:6]}...{secret[-4:]}"
