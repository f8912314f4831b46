"""The secrets of keys and admin tokens.

A secret is never stored. One that is made under a request id can be made again while the request is remembered, so a
lost answer does not lose it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from services.kernel.change import Authorship, Role
from services.kernel.errors import FailedPrecondition, PermissionDenied
from services.kernel.repetition import Repeatable
from services.quota.domain.identity.access import check_team
from services.quota.domain.identity.key import Entropy, VirtualKey, derived_entropy, digest_of, mint_secret
from services.quota.usecases.amend import Amended


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A key with its secret, which exists nowhere else."""

    key: VirtualKey
    secret: str


class Minting(NamedTuple):
    """What secrets are made from."""

    entropy: Entropy
    pepper: bytes

    def source(self, by: Authorship, name: str, first: Repeatable | None = None) -> Entropy:
        """The random bytes for the secret of `name`; with `first`, the same bytes as the first such request."""
        request = first or by.repeatable
        if request is None:
            return self.entropy
        return derived_entropy(self.pepper, request.salt, request.actor, request.id, name)

    def digest(self, secret: str) -> bytes:
        """The digest by which we store and find the secret."""
        return digest_of(secret, self.pepper)

    def sealed(self, by: Authorship) -> Authorship:
        """The author of a request that contains secrets, its digest under the pepper.

        Otherwise a thief of the database could test guesses of those secrets.
        """
        request = by.repeatable
        if request is None:
            return by
        # A secret contains no spaces, so this digest is never one of a secret.
        peppered = self.digest(f"request {request.digest.hex()}")
        return replace(by, repeatable=replace(request, digest=peppered))

    def at_first(self, amended: Amended[str], by: Authorship) -> MintedKey | None:
        """The answer to a repetition: the key as it is now, with the secret that the first request gave it.

        None if the request is not a repetition.

        Raises:
            FailedPrecondition: the key has another secret by now, or is gone.
            PermissionDenied: by now the actor may not give the key a secret.
        """
        if amended.first is None:
            return None
        key = key_now(amended, by)
        check_may_give_secret(by, key)
        secret = mint_secret(key.kind, self.source(by, key.name, amended.first.request))
        if key.digest != self.digest(secret):
            raise out_of_date(f"virtual key {key.name}")
        return MintedKey(key, secret)


def key_now(amended: Amended[str], by: Authorship) -> VirtualKey:
    """The key that a request made or changed, as it is now. The request's answer is the key's id.

    Raises:
        FailedPrecondition: the request repeats one whose key is gone.
        PermissionDenied: the key is another team's by now.
    """
    key = next((key for key in amended.directory.keys if key.key_id == amended.answer), None)
    if key is None:
        raise out_of_date("the virtual key")
    check_team(by.actor, key.attribution.team, f"virtual key {key.name}")
    return key


def check_may_give_secret(by: Authorship, key: VirtualKey) -> None:
    """Checks that the actor may give the key a secret, or see it.

    Raises:
        PermissionDenied: the key is unlimited, and the actor is a team admin.
    """
    if key.unlimited and by.actor.team:
        raise PermissionDenied(
            f"virtual key {key.name} is unlimited: only the {Role.PLATFORM} role may give it a secret; disable it"
        )


def out_of_date(what: str) -> FailedPrecondition:
    """The error for a repetition whose first answer does not hold any more."""
    return FailedPrecondition(
        f"{what} was replaced or removed after this request first came, so its answer is out of date: ask again with "
        "a new request_id"
    )
