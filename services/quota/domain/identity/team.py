"""Teams and environments: the names that keys and policies may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Environment:
    """A kind of use, such as prod. Keys and policies may only name declared environments."""

    name: str


DEFAULT_ENVIRONMENTS = (Environment("dev"), Environment("prod"), Environment("staging"))
"""The environments of an organization that declares none."""


@dataclass(frozen=True, slots=True)
class Team:
    """A team, its projects and members."""

    name: str
    projects: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
