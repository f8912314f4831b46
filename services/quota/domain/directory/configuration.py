"""A configuration as an administrator sends it: its checks, its differences from the one in force, and warnings."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from services.kernel.change import (
    Action,
    Change,
    Describe,
    ResourceKind,
    changes_between,
    differing_fields,
    given_fields,
    only_in,
)
from services.kernel.errors import InvalidInput
from services.kernel.names import check_model, check_name, check_unique, check_user
from services.quota.domain.directory.bounded import Bounds
from services.quota.domain.directory.directory import Directory
from services.quota.domain.directory.references import Known, check_key_references, check_match_references
from services.quota.domain.identity.admin_token import AdminToken
from services.quota.domain.identity.key import VirtualKey, check_secret
from services.quota.domain.identity.team import Environment, Team
from services.quota.domain.policies.lint import (
    allowances_in_vain,
    applies_to,
    estimates_in_vain,
    refusals_in_vain,
    unreachable_limits,
)
from services.quota.domain.policies.override import Override
from services.quota.domain.policies.policy import Mode, QuotaPolicy
from services.quota.domain.policies.policy_rules import check_policy

MAX_KEY_MODELS = 1_000


@dataclass(frozen=True, slots=True)
class KeySpec:
    """The properties of a key that somebody asks for."""

    name: str
    team: str = ""
    project: str = ""
    environment: str = ""
    user: str = ""
    models: tuple[str, ...] = ()
    expire_at_ms: int | None = None
    unlimited: bool = False
    """See `VirtualKey`."""
    secret: str = ""
    """Only for declared keys. Empty keeps the secret that the key has."""
    secret_problem: str = ""
    """Why `secret` is empty although the key should have one, as a clause."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an administrator declares. Keys made by `create_key` stay as they are."""

    organization: str
    teams: tuple[Team, ...]
    policies: tuple[QuotaPolicy, ...]
    keys: tuple[KeySpec, ...]
    environments: tuple[Environment, ...] = ()
    """Empty: `DEFAULT_ENVIRONMENTS`."""
    models: tuple[str, ...] = ()
    """The names of all models that clients can ask for. Empty: those of the route plan."""


def check_configuration(configuration: Configuration) -> None:
    """Checks every value of a configuration by itself.

    Raises:
        InvalidInput: a value is wrong; `field` is its path, e.g. "policies[2].limits[0].per".
    """
    check_name("organization", configuration.organization)
    for at, team in enumerate(configuration.teams):
        _check_team(f"teams[{at}]", team)
    for at, policy in enumerate(configuration.policies):
        check_policy(f"policies[{at}]", policy)
    for at, key in enumerate(configuration.keys):
        check_key(f"keys[{at}]", key)
    for at, environment in enumerate(configuration.environments):
        check_name(f"environments[{at}]", environment.name)
    for at, model in enumerate(configuration.models):
        check_model(f"models[{at}]", model)
    check_unique("environments", (environment.name for environment in configuration.environments))
    check_unique("teams", (team.name for team in configuration.teams))
    check_unique("policies", (policy.name for policy in configuration.policies))
    check_unique("keys", (key.name for key in configuration.keys))


def check_key(field: str, key: KeySpec) -> None:
    """Checks every value of a key by itself.

    Raises:
        InvalidInput: a value is wrong; the error names its path below `field`.
    """
    check_name(f"{field}.name", key.name)
    for part, name in (("team", key.team), ("project", key.project), ("environment", key.environment)):
        if name:
            check_name(f"{field}.{part}", name)
    if key.user:
        check_user(f"{field}.user", key.user)
    if len(key.models) > MAX_KEY_MODELS:
        raise InvalidInput(f"{field}.models", f"at most {MAX_KEY_MODELS} models: leave it empty to allow all")
    for at, model in enumerate(key.models):
        check_model(f"{field}.models[{at}]", model)
    if key.secret:
        check_secret(f"{field}.secret", key.secret)


def check_references(configuration: Configuration, after: Directory, models: Collection[str]) -> None:
    """Checks that every name in a configuration exists in `after`, the directory that it makes, or in `models`.

    Raises:
        InvalidInput: a name does not exist; `field` is its path.
    """
    known = Known.of(after, models)
    for at, policy in enumerate(configuration.policies):
        check_match_references(f"policies[{at}].match", policy.match, known)
    places = {spec.name: at for at, spec in enumerate(configuration.keys)}
    bounds = Bounds(after, models)
    for key in after.keys:
        if key.name in places:
            field = f"keys[{places[key.name]}]"
            check_key_references(field, key.attribution, key.models, known)
            bounds.check(field, key)


def check_secrets(configuration: Configuration, keys: Iterable[VirtualKey]) -> None:
    """Checks that no two keys have the same secret.

    Raises:
        InvalidInput: two keys have; `field` is the path of a key that declares it.
    """
    owners: dict[bytes, str] = {}
    places = {spec.name: at for at, spec in enumerate(configuration.keys)}
    for key in keys:
        if key.digest is None:
            continue
        owner = owners.setdefault(key.digest, key.name)
        if owner != key.name:
            at = places.get(key.name, places.get(owner, 0))
            raise InvalidInput(
                f"keys[{at}].secret", f"keys {owner} and {key.name} have the same secret: give each its own"
            )


def differences(before: Directory, after: Directory) -> tuple[Change, ...]:
    """The changes between two directories, by kind and name."""
    organization: tuple[Change, ...] = ()
    if before.organization != after.organization:
        action = Action.UPDATE if before.organization else Action.CREATE
        organization = (Change(action, ResourceKind.ORGANIZATION, after.organization),)
    return (
        *organization,
        *(
            change
            for (kind, old), new in zip(_by_kind(before).items(), _by_kind(after).values(), strict=True)
            for change in _differences(kind, old, new)
        ),
    )


def describe(directory: Directory, other: Directory) -> Describe:
    """Describes resources of this directory that differ in another, for audit entries.

    In full but without digests and hints of secrets.
    """
    by_kind, others = _by_kind(directory), _by_kind(other)

    @cache
    def named(kind: ResourceKind) -> dict[str, Resource]:
        return {resource.name: resource for resource in only_in(by_kind[kind], others[kind])}

    def describe_one(kind: ResourceKind, name: str) -> str:
        if kind is ResourceKind.ORGANIZATION:
            return json.dumps({"name": directory.organization}) if directory.organization else ""
        resource = named(kind).get(name)
        if resource is None:
            return ""
        return json.dumps(resource, sort_keys=True, default=_shown)

    return describe_one


def warnings_of(
    directory: Directory, sent: Configuration, models: Collection[str], *, counters_shared: bool
) -> tuple[str, ...]:
    """Warnings about parts of `sent` that we accept but that will not work. Each says what to do.

    `models` are all that clients can ask for. `counters_shared`: the counters are in a store of their own, apart from
    quota.
    """
    problems = {spec.name: spec.secret_problem for spec in sent.keys if spec.secret_problem and not spec.secret}
    known = Known.of(directory, models)
    declared = {spec.name for spec in sent.keys}
    warnings = [
        f"Policy {policy.name} matches no virtual key: check its match, or create such a key."
        for policy in directory.policies
        if policy.mode is not Mode.DISABLED
        and not policy.default
        and not any(applies_to(policy, key) for key in directory.keys)
    ]
    warnings.extend(unreachable_limits(directory.policies))
    warnings.extend(allowances_in_vain(directory.policies, counters_shared=counters_shared))
    warnings.extend(refusals_in_vain(directory.policies))
    warnings.extend(estimates_in_vain(directory.policies))
    warnings.extend(Bounds(directory, models).warnings())
    for key in directory.keys:
        problem = problems.get(key.name, "")
        if key.digest is None:
            why = f" ({problem})" if problem else ""
            warnings.append(f"Virtual key {key.name} has no secret{why}: give it one, or rotate it.")
        elif problem:
            warnings.append(f"Virtual key {key.name} keeps the secret that it has: {problem}.")
        if key.name not in declared:
            warnings.extend(_no_longer_known(key, known))
    return tuple(warnings)


def _no_longer_known(key: VirtualKey, known: Known) -> Iterator[str]:
    """Warns of a created key that names something no longer declared. The key itself stays."""
    try:
        check_key_references("", key.attribution, key.models, known)
    except InvalidInput as error:
        yield f"Virtual key {key.name} was created earlier, and now {error.problem} (declare that, or disable the key)"


def _check_team(field: str, team: Team) -> None:
    check_name(f"{field}.name", team.name)
    for at, project in enumerate(team.projects):
        check_name(f"{field}.projects[{at}]", project)
    for at, member in enumerate(team.members):
        check_user(f"{field}.members[{at}]", member)


def _shown(value: Any) -> dict[str, Any]:
    return {name: part for name, part in given_fields(value).items() if name not in _NEVER_SHOWN}


Resource = Environment | Team | QuotaPolicy | VirtualKey | Override | AdminToken
_NEVER_SHOWN = {"digest", "old_digest"}
# The names of these fields for people.
_SHOWN_AS = {"digest": "secret", "hint": "secret", "old_digest": "secret", "old_until_ms": "secret"}


def _by_kind(directory: Directory) -> dict[ResourceKind, Sequence[Resource]]:
    return {
        ResourceKind.ENVIRONMENT: directory.environments,
        ResourceKind.TEAM: directory.teams,
        ResourceKind.POLICY: directory.policies,
        ResourceKind.VIRTUAL_KEY: directory.keys,
        ResourceKind.OVERRIDE: directory.overrides,
        ResourceKind.ADMIN_TOKEN: directory.tokens,
    }


def _differences(kind: ResourceKind, before: Sequence[Resource], after: Sequence[Resource]) -> tuple[Change, ...]:
    if before is after:
        return ()
    pairs = (before, after), (after, before)
    old, new = ({resource.name: resource for resource in only_in(some, others)} for some, others in pairs)
    return changes_between(kind, old, new, _differing)


def _differing(before: Resource, after: Resource) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_SHOWN_AS.get(name, name) for name in differing_fields(before, after)))
