"""Creates, finds and revokes admin tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.change import Action, AuditAction, Authorship, Role
from services.kernel.clock import Clock
from services.kernel.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from services.kernel.names import no_such
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.admin_token import (
    MAX_TOKENS,
    AdminToken,
    check_token,
    mint_token_secret,
    token_hint,
)
from services.quota.domain.identity.key import Entropy
from services.quota.usecases.amend import Amend, Amended, Answer
from services.quota.usecases.live import Live
from services.quota.usecases.minting import Minting, out_of_date


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A token with its secret, which exists nowhere else."""

    token: AdminToken
    secret: str


class AdminTokens:
    """All admin tokens except the one in the data directory."""

    def __init__(self, *, amend: Amend, live: Live, clock: Clock, entropy: Entropy, pepper: bytes) -> None:
        self._amend = amend
        self._live = live
        self._clock = clock
        self._minting = Minting(entropy, pepper)

    def find(self, secret: str) -> AdminToken | None:
        """The token with this secret, even if it has expired; None if no quota process knows one.

        Raises:
            Unavailable: this process does not know the token, and the store cannot say whether others do.
        """
        digest = self._minting.digest(secret)
        found = self._live.snapshot.directory.tokens_by_digest.get(digest)
        if found is None:
            self._amend.refresh()
            found = self._live.snapshot.directory.tokens_by_digest.get(digest)
        return found

    def list(self) -> tuple[AdminToken, ...]:
        """All tokens by name, including expired ones."""
        return self._live.snapshot.directory.directory.tokens

    def create(self, name: str, role: Role, team: str, expire_at_ms: int, *, by: Authorship) -> MintedToken:
        """Creates a token with a new secret.

        Raises:
            AlreadyExists: a token with this name exists.
            FailedPrecondition: there are too many tokens, or the request repeats one whose token is gone.
            InvalidInput: a property is wrong; the error names it.
        """
        now_ms = self._clock.now_ms()
        secret = mint_token_secret(self._minting.source(by, name))
        made = AdminToken(name, role, team, self._minting.digest(secret), token_hint(secret), now_ms, expire_at_ms)

        def change(before: Directory) -> Directory:
            check_token(name, role, team, expire_at_ms, now_ms)
            if any(token.name == name for token in before.tokens):
                raise AlreadyExists(f"there is an admin token {name!r} already: revoke it, or choose another name")
            teams = [each.name for each in before.teams]
            if team and team not in teams:
                raise InvalidInput("admin_token.team", no_such("team", team, teams))
            if len(before.tokens) >= MAX_TOKENS:
                raise FailedPrecondition(
                    f"there are {MAX_TOKENS} admin tokens already: revoke the ones that nobody needs"
                )
            return replace(before, tokens=tuple(sorted((*before.tokens, made), key=lambda token: token.name)))

        amended = self._amend.once(change, Answer(str, lambda _, __: name), by=by)
        return self._minted_at_first(amended, by) or MintedToken(made, secret)

    def revoke(self, name: str, *, by: Authorship) -> AdminToken:
        """Removes a token and returns it, without its digest. It stops working at once.

        Raises:
            NotFound: no such token; the text suggests the one that was probably meant.
        """

        def change(before: Directory) -> Directory:
            names = [token.name for token in before.tokens]
            if name not in names:
                raise NotFound(no_such("admin token", name, names))
            return replace(before, tokens=tuple(token for token in before.tokens if token.name != name))

        def gone(before: Directory, _: Directory) -> AdminToken:
            return replace(next(token for token in before.tokens if token.name == name), digest=b"")

        return self._amend.once(
            change, Answer(AdminToken, gone), by=by, verbs={Action.DELETE: AuditAction.REVOKE}
        ).answer

    def _minted_at_first(self, amended: Amended[str], by: Authorship) -> MintedToken | None:
        """The answer to a repetition: the token, with the secret that the first request gave it; else None."""
        if amended.first is None:
            return None
        name = amended.answer
        secret = mint_token_secret(self._minting.source(by, name, amended.first.request))
        digest = self._minting.digest(secret)
        token = next((token for token in amended.directory.tokens if token.digest == digest), None)
        if token is None:
            raise out_of_date(f"admin token {name}")
        return MintedToken(token, secret)
