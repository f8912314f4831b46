from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.change import (
    Action,
    Change,
    ResourceKind,
    changes_between,
    differing_fields,
    given_fields,
    only_in,
)


@dataclass(frozen=True)
class Team:
    name: str
    size: int = 1
    town: str = "Bonn"


def named(*teams: Team) -> dict[str, Team]:
    return {team.name: team for team in teams}


def test_each_resource_that_is_not_as_it_was_is_one_change_by_name() -> None:
    before = named(Team("same"), Team("gone"), Team("grown"))
    after = named(Team("new"), Team("same"), Team("grown", size=2, town="Kiel"))

    assert changes_between(ResourceKind.TEAM, before, after, differing_fields) == (
        Change(Action.DELETE, ResourceKind.TEAM, "gone"),
        Change(Action.UPDATE, ResourceKind.TEAM, "grown", "size, town"),
        Change(Action.CREATE, ResourceKind.TEAM, "new"),
    )
    assert changes_between(ResourceKind.TEAM, after, after, differing_fields) == ()


@dataclass(frozen=True)
class Plot:
    width: int
    area: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", self.width**2)


def test_what_follows_from_other_fields_is_neither_given_nor_a_difference() -> None:
    assert given_fields(Plot(2)) == {"width": 2}
    assert differing_fields(Plot(2), Plot(3)) == ("width",)


_SOME = st.lists(st.integers(0, 12), unique=True)


@given(_SOME, _SOME)
def test_what_only_one_of_two_sequences_has_is_told_by_the_objects_and_not_by_their_values(
    one: list[int], other: list[int]
) -> None:
    """All objects are equal."""
    objects = [Team("same") for _ in range(13)]
    places = {id(each): at for at, each in enumerate(objects)}

    found = only_in([objects[at] for at in one], [objects[at] for at in other])

    assert [places[id(each)] for each in found] == [at for at in one if at not in other]
