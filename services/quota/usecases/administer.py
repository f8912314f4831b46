"""What administrators do: apply a configuration, make keys, give them new secrets, stop them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.kernel.change import Change
from services.kernel.clock import Clock
from services.kernel.errors import AlreadyExists, InvalidInput, NotFound
from services.quota.domain.configuration import (
    Configuration,
    KeySpec,
    check_configuration,
    check_key,
    check_secrets,
    differences,
    warnings_of,
)
from services.quota.domain.directory import Directory
from services.quota.domain.key import (
    PREFIX,
    Attribution,
    Entropy,
    SecretKind,
    VirtualKey,
    digest_of,
    hint_of,
    mint_secret,
)
from services.quota.ports import DirectoryStore
from services.quota.usecases.current import Current

MAX_GRACE_MS = 604_800_000
_ID_ENTROPY_BYTES = 6


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying changed, or would change."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    """What was accepted but will not work as it stands, each a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A key with its secret, which is here and nowhere else."""

    key: VirtualKey
    secret: str


class Administer:
    """Changes the directory: first in the store, then in what decisions look at."""

    def __init__(
        self, *, store: DirectoryStore, current: Current, clock: Clock, entropy: Entropy, pepper: bytes
    ) -> None:
        self._store = store
        self._current = current
        self._clock = clock
        self._entropy = entropy
        self._pepper = pepper
        self._changing = threading.Lock()

    def apply(self, configuration: Configuration, *, validate_only: bool) -> Applied:
        """Makes teams, policies and declared keys as sent, in one transaction. Sending it twice changes nothing.

        Raises:
            InvalidInput: something in it is wrong; `field` is its path, e.g. "policies[2].limits[0].per".
        """
        check_configuration(configuration)
        changes: tuple[Change, ...] = ()

        def change(before: Directory) -> Directory:
            nonlocal changes
            after = self._configured(before, configuration)
            changes = differences(before, after)
            return after

        after = change(self._store.load()) if validate_only else self._replace(change)
        return Applied(changes, warnings_of(after, configuration))

    def create_key(self, spec: KeySpec, kind: SecretKind) -> MintedKey:
        """Makes a key with a new secret.

        Raises:
            AlreadyExists: there is a key of this name.
            InvalidInput: something in it is wrong.
        """
        check_key("key", spec)
        secret = mint_secret(kind, self._entropy)
        made = self._with_secret(self._key_from(spec, self._new_key(spec.name)), secret)

        def change(before: Directory) -> Directory:
            if any(key.name == spec.name for key in before.keys):
                raise AlreadyExists(f"there is a virtual key {spec.name!r} already: rotate it, or choose another name")
            return replace(before, keys=(*before.keys, made))

        self._replace(change)
        return MintedKey(made, secret)

    def rotate_key(self, name: str, *, grace_ms: int) -> MintedKey:
        """Gives a key a new secret, a first one if it has none. The old one ends after `grace_ms`.

        Raises:
            NotFound: no such key.
            InvalidInput: `grace_ms` is not 0 to 604800000.
        """
        if not 0 <= grace_ms <= MAX_GRACE_MS:
            raise InvalidInput("grace_seconds", f"must be 0 to {MAX_GRACE_MS // 1000}")
        until_ms = self._clock.now_ms() + grace_ms
        secret = ""

        def rotate(key: VirtualKey) -> VirtualKey:
            nonlocal secret
            kind = SecretKind.TEST if key.hint.startswith(f"{PREFIX}{SecretKind.TEST}") else SecretKind.LIVE
            secret = mint_secret(kind, self._entropy)
            graced = grace_ms > 0
            return replace(
                self._with_secret(key, secret),
                old_digest=key.digest if graced else None,
                old_until_ms=until_ms if graced else 0,
            )

        return MintedKey(self._change_key(name, rotate), secret)

    def set_key_disabled(self, name: str, *, disabled: bool) -> VirtualKey:
        """Stops a key, or lets it work again.

        Raises:
            NotFound: no such key.
        """
        return self._change_key(name, lambda key: replace(key, disabled=disabled))

    def refresh(self) -> None:
        """Takes over what another process changed."""
        with self._changing:
            newer = self._store.newer()
            if newer is not None:
                self._current.set_directory(newer)

    def _change_key(self, name: str, edit: Callable[[VirtualKey], VirtualKey]) -> VirtualKey:
        def change(before: Directory) -> Directory:
            if all(key.name != name for key in before.keys):
                raise NotFound(f"there is no virtual key {name!r}")
            return replace(before, keys=tuple(edit(key) if key.name == name else key for key in before.keys))

        after = self._replace(change)
        return next(key for key in after.keys if key.name == name)

    def _replace(self, change: Callable[[Directory], Directory]) -> Directory:
        # The lock keeps the order of what is believed the same as that of what is stored.
        with self._changing:
            after = self._store.replace(change)
            self._current.set_directory(after)
            return after

    def _configured(self, before: Directory, configuration: Configuration) -> Directory:
        known = {key.name: key for key in before.keys}
        declared = {spec.name: spec for spec in configuration.keys}
        made = [
            replace(self._key_from(spec, known.get(spec.name) or self._new_key(spec.name)), declared=True)
            for spec in configuration.keys
        ]
        kept = [key for key in before.keys if not key.declared and key.name not in declared]
        keys = tuple(sorted((*made, *kept), key=lambda key: key.name))
        check_secrets(configuration, keys)
        return Directory(
            organization=configuration.organization,
            teams=tuple(sorted(configuration.teams, key=lambda team: team.name)),
            policies=tuple(sorted(configuration.policies, key=lambda policy: policy.name)),
            keys=keys,
        )

    def _new_key(self, name: str) -> VirtualKey:
        now_ms = self._clock.now_ms()
        key_id = f"key_{now_ms:012x}{self._entropy(_ID_ENTROPY_BYTES).hex()}"
        return VirtualKey(Attribution(key_id, name), create_at_ms=now_ms)

    def _key_from(self, spec: KeySpec, key: VirtualKey) -> VirtualKey:
        attribution = Attribution(key.key_id, spec.name, spec.team, spec.project, spec.environment, spec.user)
        made = replace(key, attribution=attribution, models=spec.models, expire_at_ms=spec.expire_at_ms)
        return self._with_secret(made, spec.secret) if spec.secret else made

    def _with_secret(self, key: VirtualKey, secret: str) -> VirtualKey:
        digest = digest_of(secret, self._pepper)
        if digest == key.digest:
            return key
        return replace(key, digest=digest, hint=hint_of(secret), old_digest=None, old_until_ms=0)
