"""Checks that everything named in the file exists in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.cli.configuration.bounds import find_unbounded
from services.cli.configuration.entries import Chain, ConfigurationFile, KeyEntry, ModelEntry
from services.cli.configuration.policy_entries import MatchEntry, PolicyEntry
from services.cli.configuration.source import Path
from services.kernel.names import no_such, split_target

Finding = tuple[Path, str]


def find_dangling(file: ConfigurationFile) -> Iterator[Finding]:
    """Yields names that do not exist and names that are given twice, each with its path."""
    found = [*_environments(file), *_targets(file), *_policies(file), *_keys(file)]
    # A mistyped name would evade the intended policies, so it is reported on its own.
    yield from found or find_unbounded(file)


def find_doubtful(file: ConfigurationFile) -> Iterator[Finding]:
    """Yields names that may not exist. Only the gateway knows about keys that the file does not declare."""
    keys = [key.name for key in file.keys]
    for index, policy in enumerate(file.policies):
        if policy.match.key is not None and policy.match.key not in keys:
            text = f"{no_such('virtual key', policy.match.key, keys)} (right if `spendgate keys create` has made it)"
            yield ("policies", index, "match", "key"), text


def _environments(file: ConfigurationFile) -> Iterator[Finding]:
    for name in _repeated(file.environments):
        yield ("environments",), f"{name} is listed twice"


def _targets(file: ConfigurationFile) -> Iterator[Finding]:
    for name, model in file.models.items():
        yield from _chain(file, ("models", name, "targets"), model.targets)
        for index, fallback in enumerate(model.fallbacks):
            yield from _chain(file, ("models", name, "fallbacks", index, "to"), fallback.to)
            if fallback.when is not None and fallback.when.team is not None:
                yield from _unknown(
                    ("models", name, "fallbacks", index, "when", "team"), "team", fallback.when.team, file.teams
                )
        yield from _whole_chain(name, model)
    for target in file.prices:
        yield from _provider(file, ("prices", target), target)
    named = {weighted.target for chain in _chains(file) for group in chain for weighted in group.targets}
    for provider, entry in file.providers.items():
        known = [name for owner, name in (split_target("", target) for target in named) if owner == provider]
        for declared in entry.models:
            yield from _unknown(("providers", provider, "models", declared), f"target of {provider}", declared, known)


def _chains(file: ConfigurationFile) -> Iterator[Chain]:
    for model in file.models.values():
        yield model.targets
        yield from (fallback.to for fallback in model.fallbacks)


def _chain(file: ConfigurationFile, path: Path, chain: Chain) -> Iterator[Finding]:
    for index, group in enumerate(chain):
        for weighted in group.targets:
            yield from _provider(file, (*path, index), weighted.target)
    names = [weighted.target for group in chain for weighted in group.targets]
    for name in _repeated(names):
        yield path, f"{name} is twice in one chain"


def _whole_chain(name: str, model: ModelEntry) -> Iterator[Finding]:
    """Yields the first fallback without a condition that leads back to a target before it."""
    walked = [weighted.target for group in model.targets for weighted in group.targets]
    for index, fallback in enumerate(model.fallbacks):
        for place, group in enumerate(fallback.to):
            for weighted in group.targets:
                if fallback.when is None and weighted.target in walked:
                    path = " -> ".join([*walked, weighted.target])
                    text = f"{path}: no target is tried twice, so this one is never reached: leave it out"
                    yield ("models", name, "fallbacks", index, "to", place), text
                    return
                walked.append(weighted.target)


def _provider(file: ConfigurationFile, path: Path, target: str) -> Iterator[Finding]:
    provider, _ = split_target("", target)
    yield from _unknown(path, "provider", provider, file.providers)


def _policies(file: ConfigurationFile) -> Iterator[Finding]:
    for name in _repeated(policy.name for policy in file.policies):
        index = max(at for at, policy in enumerate(file.policies) if policy.name == name)
        yield ("policies", index, "name"), f"there are two policies named {name}"
    for index, policy in enumerate(file.policies):
        yield from _policy(file, ("policies", index), policy)


def _policy(file: ConfigurationFile, path: Path, policy: PolicyEntry) -> Iterator[Finding]:
    match = policy.match
    yield from _who(file, (*path, "match"), match)
    if match.model is not None:
        yield from _unknown((*path, "match", "model"), "model", match.model, file.models)
    if policy.each is not None and getattr(match, policy.each) is not None:
        yield (*path, "each"), f"`match` already fixes the {policy.each}, so there is only one"
    for at, threshold in enumerate(policy.thresholds):
        for position, channel in enumerate(threshold.notify):
            yield from _unknown((*path, "thresholds", at, "notify", position), "channel", channel, file.channels)
    if len({threshold.at for threshold in policy.thresholds}) < len(policy.thresholds):
        yield (*path, "thresholds"), "two thresholds at the same percentage"


def _keys(file: ConfigurationFile) -> Iterator[Finding]:
    for name in _repeated(key.name for key in file.keys):
        index = max(at for at, key in enumerate(file.keys) if key.name == name)
        yield ("keys", index, "name"), f"there are two keys named {name}"
    for index, key in enumerate(file.keys):
        path = ("keys", index)
        yield from _who(file, path, key)
        for at, model in enumerate(key.models):
            yield from _unknown((*path, "models", at), "model", model, file.models)


def _who(file: ConfigurationFile, path: Path, named: KeyEntry | MatchEntry) -> Iterator[Finding]:
    """Checks the names that keys and matches share."""
    if named.team is not None:
        yield from _unknown((*path, "team"), "team", named.team, file.teams)
    if named.environment is not None:
        yield from _unknown((*path, "environment"), "environment", named.environment, file.environments)
    if named.team is not None and named.team not in file.teams:
        return
    teams = list(file.teams.values()) if named.team is None else [file.teams[named.team]]
    whose = "" if named.team is None else f" of team {named.team}"
    if named.project is not None:
        projects = [project for team in teams for project in team.projects]
        yield from _unknown((*path, "project"), f"project{whose}", named.project, projects)
    if named.user is not None:
        members = [member for team in teams for member in team.members]
        yield from _unknown((*path, "user"), f"member{whose}", named.user, members)


def _unknown(path: Path, what: str, name: str, known: Iterable[str]) -> Iterator[Finding]:
    names = set(known)
    if name not in names:
        yield path, no_such(what, name, names)


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    repeated = []
    for name in names:
        if name in seen and name not in repeated:
            repeated.append(name)
        seen.add(name)
    return repeated
