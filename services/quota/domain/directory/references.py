"""Checks that the names in keys and policies exist, so that a typing mistake cannot lead past a policy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from services.kernel.errors import InvalidInput
from services.kernel.names import no_such
from services.kernel.scope import Dimension
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.policy import Match


@dataclass(frozen=True, slots=True)
class Known:
    """The names that exist."""

    teams: Collection[str]
    projects: Mapping[str, Collection[str]]
    """The projects of each team. Under "", which means no team, the projects of all teams."""
    members: Mapping[str, Collection[str]]
    """The members of each team, in the same way."""
    environments: tuple[str, ...]
    keys: Collection[str]
    models: Collection[str]
    """Empty: we do not know the models yet, so we accept any."""

    @classmethod
    def of(cls, directory: Directory, models: Collection[str]) -> Known:
        """The names in a directory, and the models that clients can ask for."""
        return cls(
            teams={team.name for team in directory.teams},
            projects=_by_team((team.name, team.projects) for team in directory.teams),
            members=_by_team((team.name, team.members) for team in directory.teams),
            environments=directory.environment_names,
            keys=frozenset(key.name for key in directory.keys),
            models=models,
        )


def check_key_references(field: str, who: Attribution, models: Collection[str], known: Known) -> None:
    """Checks that the team, project, environment, user and models of a key exist.

    Raises:
        InvalidInput: one does not; the text suggests the name that was probably meant.
    """
    _check_who(field, known, team=who.team, project=who.project, environment=who.environment, user=who.user)
    for at, model in enumerate(models):
        _check_model(f"{field}.models[{at}]", known, model)


def check_match_references(field: str, match: Match, known: Known) -> None:
    """Checks that the values of a match exist.

    Raises:
        InvalidInput: one does not; the text suggests the name that was probably meant.
    """
    _check_who(field, known, team=match.team, project=match.project, environment=match.environment, user=match.user)
    if match.key and match.key not in known.keys:
        raise InvalidInput(
            f"{field}.key", f"{no_such('virtual key', match.key, known.keys)} (declare it, or create it first)"
        )
    _check_model(f"{field}.model", known, match.model)


def check_value(field: str, dimension: Dimension, value: str, match: Match, known: Known) -> None:
    """Checks that a matching call can have this value in this dimension.

    Raises:
        InvalidInput: the value does not exist.
    """
    try:
        check_match_references("", replace(match, **{dimension: value}), known)
    except InvalidInput as error:
        raise InvalidInput(field, error.problem) from error


def _check_who(field: str, known: Known, *, team: str, project: str, environment: str, user: str) -> None:
    if team and team not in known.teams:
        raise InvalidInput(f"{field}.team", no_such("team", team, known.teams))
    whose = f" of team {team}" if team else ""
    if project and project not in known.projects[team]:
        raise InvalidInput(f"{field}.project", no_such(f"project{whose}", project, known.projects[team]))
    if user and user not in known.members[team]:
        raise InvalidInput(f"{field}.user", no_such(f"member{whose}", user, known.members[team]))
    if environment and environment not in known.environments:
        raise InvalidInput(f"{field}.environment", no_such("environment", environment, known.environments))


def _by_team(named: Iterable[tuple[str, Collection[str]]]) -> dict[str, Collection[str]]:
    by_team = {team: frozenset(names) for team, names in named}
    return {**by_team, "": frozenset[str]().union(*by_team.values())}


def _check_model(field: str, known: Known, model: str) -> None:
    if model and known.models and model not in known.models:
        raise InvalidInput(field, no_such("model", model, known.models))
