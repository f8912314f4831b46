"""Quota dies when policies are stored and calls have yet to go over to them: the next start takes them over."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from services.kernel.change import OWNER
from services.kernel.clock import ManualClock
from services.quota.domain.directory.adoption import Adoption
from services.quota.domain.directory.configuration import Configuration
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.usecases.administer import Administer
from services.quota.usecases.amend import Amend
from services.quota.usecases.live import Live
from tests.worlds.memory_directory import MemoryDirectory
from tests.worlds.quota import PEPPER, spend

OLD, NEW, OTHER = spend("old", 500), spend("new", 500), spend("other", 300)


class Killed(BaseException):
    """The process is no more."""


class Calls:
    """Which policies the holds of calls were moved to; the process may die before."""

    def __init__(self) -> None:
        self.dies = False
        self.moved: list[Adoption] = []

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        if self.dies:
            raise Killed
        self.moved.append(adoption)
        switch()


class Process:
    """A quota, from its start."""

    def __init__(self, store: MemoryDirectory) -> None:
        self.live, self.calls, clock = Live(store.load()), Calls(), ManualClock()
        self.amend = Amend(store=store, live=self.live, adoption=self.calls, clock=clock)
        self.amend.catch_up()
        self.administer = Administer(amend=self.amend, live=self.live, clock=clock, entropy=os.urandom, pepper=PEPPER)

    def apply(self, *policies: QuotaPolicy) -> None:
        self.administer.apply(Configuration("acme", (), policies, ()), validate_only=False, by=OWNER)

    @property
    def in_force(self) -> set[str]:
        return set(self.live.snapshot.directory.policies_by_name)


def restarted_after_dying_in(*policies: QuotaPolicy) -> Process:
    store = MemoryDirectory()
    process = Process(store)
    process.apply(OLD)
    process.calls.dies = True
    with pytest.raises(Killed):
        process.apply(*policies)
    assert process.in_force == {"old"}
    return Process(store)


def test_a_start_moves_calls_to_the_policies_that_were_stored() -> None:
    process = restarted_after_dying_in(OLD, OTHER)

    (adoption,) = process.calls.moved
    assert set(adoption.directory.policies_by_name) == process.in_force == {"old", "other"}


def test_a_start_still_knows_the_former_name_of_a_policy() -> None:
    process = restarted_after_dying_in(NEW)

    (adoption,) = process.calls.moved
    assert (process.in_force, adoption.renamed) == ({"new"}, {"old": "new"})
    process.amend.refresh()
    assert len(process.calls.moved) == 1


def test_a_policy_that_is_renamed_again_after_the_start_goes_on_from_its_first_name() -> None:
    process = restarted_after_dying_in(NEW)
    process.apply(spend("newest", 500))

    assert process.calls.moved[-1].renamed == {"old": "newest", "new": "newest"}
