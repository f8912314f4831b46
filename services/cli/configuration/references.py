"""Whether everything that the file names exists in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from services.cli.configuration.entries import Chain, ConfigurationFile
from services.cli.configuration.policy_entries import PolicyEntry
from services.cli.configuration.source import Path
from services.kernel.names import split_target

Finding = tuple[Path, str]


def find_dangling(file: ConfigurationFile) -> Iterator[Finding]:
    """Names that lead nowhere, and names that are given twice, each with its path."""
    yield from _targets(file)
    yield from _policies(file)
    yield from _keys(file)


def _targets(file: ConfigurationFile) -> Iterator[Finding]:
    for name, model in file.models.items():
        yield from _chain(file, ("models", name, "targets"), model.targets)
        for index, fallback in enumerate(model.fallbacks):
            yield from _chain(file, ("models", name, "fallbacks", index, "to"), fallback.to)
    for target in file.prices:
        yield from _provider(file, ("prices", target), target)


def _chain(file: ConfigurationFile, path: Path, chain: Chain) -> Iterator[Finding]:
    for index, group in enumerate(chain):
        for weighted in group.targets:
            yield from _provider(file, (*path, index), weighted.target)
    names = [weighted.target for group in chain for weighted in group.targets]
    for name in _repeated(names):
        yield path, f"{name} stands twice in one chain"


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
    if match.team is not None:
        yield from _unknown((*path, "match", "team"), "team", match.team, file.teams)
    if match.project is not None and (match.team is None or match.team in file.teams):
        yield from _unknown((*path, "match", "project"), "project", match.project, _projects(file, match.team))
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
        if key.team is not None:
            yield from _unknown((*path, "team"), "team", key.team, file.teams)
        if key.project is not None and (key.team is None or key.team in file.teams):
            yield from _unknown((*path, "project"), "project", key.project, _projects(file, key.team))
        for at, model in enumerate(key.models):
            yield from _unknown((*path, "models", at), "model", model, file.models)


def _projects(file: ConfigurationFile, team: str | None) -> list[str]:
    teams = [file.teams[team]] if team is not None else list(file.teams.values())
    return [project for entry in teams for project in entry.projects]


def _unknown(path: Path, kind: str, name: str, known: Iterable[str]) -> Iterator[Finding]:
    names = sorted(known)
    if name in names:
        return
    close = get_close_matches(name, names, n=1)
    if close:
        hint = f"did you mean {close[0]}?"
    elif names:
        hint = f"known: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    else:
        hint = f"the file declares no {kind} here"
    yield path, f"there is no {kind} {name!r}: {hint}"


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    repeated = []
    for name in names:
        if name in seen and name not in repeated:
            repeated.append(name)
        seen.add(name)
    return repeated
