"""What administrators do: apply a configuration, and create, rotate, disable and enable keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.kernel.change import Action, AuditAction, Authorship, Change
from services.kernel.clock import Clock
from services.kernel.errors import AlreadyExists, InvalidInput, NotFound
from services.kernel.names import no_such
from services.quota.domain.directory.adoption import renamed_between
from services.quota.domain.directory.bounded import Bounds
from services.quota.domain.directory.configuration import (
    Configuration,
    KeySpec,
    check_configuration,
    check_key,
    check_references,
    check_secrets,
    differences,
    warnings_of,
)
from services.quota.domain.directory.directory import Directory
from services.quota.domain.directory.references import Known, check_key_references
from services.quota.domain.identity.access import check_team
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import (
    Entropy,
    RetiredSecret,
    SecretKind,
    VirtualKey,
    hint_of,
    mint_secret,
)
from services.quota.domain.identity.team import DEFAULT_ENVIRONMENTS
from services.quota.domain.policies.override_rules import kept_overrides, under_new_names
from services.quota.usecases.amend import Amend, Amended, Answer
from services.quota.usecases.live import Live
from services.quota.usecases.minting import MintedKey, Minting, check_may_give_secret, key_now

MAX_GRACE_MS = 604_800_000
MAX_RETIRED = 10_000
"""The most retired secrets that we remember. We forget the oldest ones first."""
_ID_ENTROPY_BYTES = 6


@dataclass(frozen=True, slots=True)
class Applied:
    """The changes that a configuration made, or would make."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    """Warnings about accepted parts that will not work. Each says what to do."""


class Administer:
    """Changes teams, policies and keys. A team admin may change only keys of its own team."""

    def __init__(
        self,
        *,
        amend: Amend,
        live: Live,
        clock: Clock,
        entropy: Entropy,
        pepper: bytes,
        counters_shared: bool = False,
    ) -> None:
        """`counters_shared`: counters are in a store of their own, apart from quota."""
        self._amend = amend
        self._live = live
        self._clock = clock
        self._entropy = entropy
        self._minting = Minting(entropy, pepper)
        self._counters_shared = counters_shared

    def apply(self, configuration: Configuration, *, validate_only: bool, by: Authorship) -> Applied:
        """Replaces teams, policies and declared keys by those sent, in one transaction. A repetition changes nothing.

        Raises:
            InvalidInput: a value is wrong; `field` is its path, e.g. "policies[2].limits[0].per".
        """
        check_configuration(configuration)

        models = configuration.models or self._models()

        def change(before: Directory) -> Directory:
            after = self._configured(before, configuration)
            check_references(configuration, after, models)
            return after

        def answer(before: Directory, after: Directory) -> Applied:
            warnings = warnings_of(after, configuration, models, counters_shared=self._counters_shared)
            return Applied(differences(before, after), (*self._retired_in(after, configuration), *warnings))

        if validate_only:
            return answer(*self._amend.preview(change))
        return self._amend.once(change, Answer(Applied, answer), by=self._minting.sealed(by)).answer

    def create_key(self, spec: KeySpec, kind: SecretKind, *, by: Authorship) -> MintedKey:
        """Creates a key with a new secret.

        Raises:
            AlreadyExists: a key with this name exists.
            InvalidInput: a property is wrong, or no policy would bind the key.
            PermissionDenied: the key is for another team than the actor's, or would get past that team's policies.
        """
        check_key("virtual_key", spec)
        check_team(by.actor, spec.team, f"virtual key {spec.name}")
        secret = mint_secret(kind, self._minting.source(by, spec.name))
        made = self._with_secret(self._key_from(spec, self._new_key(spec.name)), secret)

        def change(before: Directory) -> Directory:
            if any(key.name == spec.name for key in before.keys):
                raise AlreadyExists(f"there is a virtual key {spec.name!r} already: rotate it, or choose another name")
            models = self._models()
            check_key_references("virtual_key", made.attribution, made.models, Known.of(before, models))
            bounds = Bounds(before, models)
            if by.actor.team:
                bounds.check_within_team("virtual_key", made)
            bounds.check("virtual_key", made)
            return replace(before, keys=(*before.keys, made))

        amended = self._amend.once(change, _key_id_of(spec.name), by=by)
        return self._minting.at_first(amended, by) or MintedKey(made, secret)

    def rotate_key(self, name: str, *, grace_ms: int, by: Authorship) -> MintedKey:
        """Gives a key a new secret, or its first one. The old secret works for another `grace_ms`.

        Raises:
            NotFound: no such key.
            PermissionDenied: the key belongs to another team than the actor's, or may spend more than that team.
            InvalidInput: `grace_ms` is not 0 to 604800000.
        """
        if not 0 <= grace_ms <= MAX_GRACE_MS:
            raise InvalidInput("grace_period", f"must be 0 to {MAX_GRACE_MS // 1000} seconds")
        until_ms = self._clock.now_ms() + grace_ms
        secret = ""

        def rotate(key: VirtualKey) -> VirtualKey:
            nonlocal secret
            check_may_give_secret(by, key)
            secret = mint_secret(key.kind, self._minting.source(by, name))
            graced = grace_ms > 0
            return replace(
                self._with_secret(key, secret),
                old_digest=key.digest if graced else None,
                old_until_ms=until_ms if graced else 0,
            )

        amended = self._change_key(name, rotate, by, AuditAction.ROTATE, self._retire)
        return self._minting.at_first(amended, by) or MintedKey(_named(name, amended.directory), secret)

    def set_key_disabled(self, name: str, *, disabled: bool, by: Authorship) -> VirtualKey:
        """Disables a key, or enables it again.

        Raises:
            NotFound: no such key.
            PermissionDenied: the key belongs to another team than the actor's.
        """
        verb = AuditAction.DISABLE if disabled else AuditAction.ENABLE
        amended = self._change_key(name, lambda key: replace(key, disabled=disabled), by, verb)
        return key_now(amended, by)

    def _change_key(
        self,
        name: str,
        edit: Callable[[VirtualKey], VirtualKey],
        by: Authorship,
        verb: AuditAction,
        retire: Callable[[Directory, VirtualKey], Directory] = lambda before, _: before,
    ) -> Amended[str]:
        def change(before: Directory) -> Directory:
            found = next((key for key in before.keys if key.name == name), None)
            if found is None:
                raise NotFound(no_such("virtual key", name, before.keys_of(by.actor.team)))
            check_team(by.actor, found.attribution.team, f"virtual key {name}")
            keys = tuple(edit(key) if key.name == name else key for key in before.keys)
            return replace(retire(before, found), keys=keys)

        return self._amend.once(change, _key_id_of(name), by=by, verbs={Action.UPDATE: verb})

    def _models(self) -> Collection[str]:
        """The names of the models that clients can ask for; none before the first plan."""
        return self._live.snapshot.routes.plan.models

    def _retire(self, before: Directory, key: VirtualKey) -> Directory:
        """Retires the current secret of a key for good, even if a file still declares it."""
        if key.digest is None:
            return before
        retired = RetiredSecret(key.digest, key.name, self._clock.now_ms())
        return replace(before, retired=(*before.retired, retired)[-MAX_RETIRED:])

    def _retired_in(self, directory: Directory, configuration: Configuration) -> Iterator[str]:
        """Warns of keys whose declared secret a rotation retired. Each warning says what to do."""
        retired = {each.digest: each for each in directory.retired}
        for spec in configuration.keys:
            found = retired.get(self._minting.digest(spec.secret)) if spec.secret else None
            if found is not None:
                yield (
                    f"Virtual key {spec.name} does not get the secret that the file declares: a rotation retired it on "
                    f"{_day(found.retire_at_ms)}. A newer one is in force; put that where the file says."
                )

    def _configured(self, before: Directory, configuration: Configuration) -> Directory:
        retired = {each.digest for each in before.retired}
        known = {key.name: key for key in before.keys}
        declared = {spec.name: spec for spec in configuration.keys}
        made = [
            replace(self._key_from(spec, known.get(spec.name) or self._new_key(spec.name), retired), declared=True)
            for spec in configuration.keys
        ]
        kept = [key for key in before.keys if not key.declared and key.name not in declared]
        keys = tuple(sorted((*made, *kept), key=lambda key: key.name))
        check_secrets(configuration, keys)
        renamed = renamed_between(before.policies, configuration.policies, before.renamed)
        overrides = under_new_names(before.overrides, dict(renamed))
        return Directory(
            organization=configuration.organization,
            environments=tuple(sorted(configuration.environments or DEFAULT_ENVIRONMENTS, key=lambda each: each.name)),
            teams=tuple(sorted(configuration.teams, key=lambda team: team.name)),
            policies=tuple(sorted(configuration.policies, key=lambda policy: policy.name)),
            keys=keys,
            overrides=kept_overrides(overrides, configuration.policies),
            tokens=before.tokens,
            retired=before.retired,
            renamed=renamed,
        )

    def _new_key(self, name: str) -> VirtualKey:
        now_ms = self._clock.now_ms()
        key_id = f"key_{now_ms:012x}{self._entropy(_ID_ENTROPY_BYTES).hex()}"
        return VirtualKey(Attribution(key_id, name), create_at_ms=now_ms)

    def _key_from(self, spec: KeySpec, key: VirtualKey, retired: Collection[bytes] = ()) -> VirtualKey:
        attribution = Attribution(key.key_id, spec.name, spec.team, spec.project, spec.environment, spec.user)
        made = replace(
            key, attribution=attribution, models=spec.models, expire_at_ms=spec.expire_at_ms, unlimited=spec.unlimited
        )
        if not spec.secret or self._minting.digest(spec.secret) in retired:
            return made
        return self._with_secret(made, spec.secret)

    def _with_secret(self, key: VirtualKey, secret: str) -> VirtualKey:
        digest = self._minting.digest(secret)
        if digest == key.digest:
            return key
        return replace(key, digest=digest, hint=hint_of(secret), old_digest=None, old_until_ms=0)


def _named(name: str, directory: Directory) -> VirtualKey:
    return next(key for key in directory.keys if key.name == name)


def _key_id_of(name: str) -> Answer[str]:
    """A repetition looks up the current state of the key that had this name."""
    return Answer(str, lambda _, after: _named(name, after).key_id)


def _day(instant_ms: int) -> str:
    return datetime.fromtimestamp(instant_ms // 1000, UTC).date().isoformat()
