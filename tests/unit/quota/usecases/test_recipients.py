"""Whom quota names for a switch of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy, Threshold
from services.quota.usecases.live import Live
from services.quota.usecases.recipients import ListRecipients

E = TypeVar("E")


class AtOnce:
    def between(self, slices: Iterable[E]) -> Iterator[E]:
        yield from slices


def policy(name: str, *notify: str, mode: Mode = Mode.ENFORCE, **match: str) -> QuotaPolicy:
    thresholds = (Threshold(8_000, notify), Threshold(9_000, ("finance",))) if notify else ()
    return QuotaPolicy(name, Match(**match), (), thresholds=thresholds, mode=mode)


def key(name: str, team: str, *models: str) -> VirtualKey:
    return VirtualKey(Attribution(name, name, team), models=models)


def recipients(policies: Iterable[QuotaPolicy], keys: Iterable[VirtualKey], model: str = "m") -> tuple[str, ...]:
    directory = replace(Directory(), policies=tuple(policies), keys=tuple(keys))
    return ListRecipients(Live(directory), AtOnce())(model)


def test_the_channels_of_all_thresholds_of_policies_that_calls_can_meet_are_named_once() -> None:
    policies = [policy("a", "a-lead", team="a"), policy("all", "a-lead", "ops"), policy("b", "b-lead", team="b")]
    assert recipients(policies, [key("k", "a")]) == ("a-lead", "finance", "ops")


def test_a_policy_for_another_model_or_for_keys_that_may_not_use_the_model_tells_nobody() -> None:
    policies = [policy("other", "x", model="other"), policy("b", "b-lead", team="b"), policy("this", "y", model="m")]
    assert recipients(policies, [key("k", "a"), key("l", "b", "other")]) == ("y", "finance")
    assert recipients(policies, [key("k", "a"), key("l", "b", "other")], "other") == ("x", "finance", "b-lead")


def test_a_policy_that_refuses_nothing_tells_nobody() -> None:
    assert recipients([policy("s", "x", mode=Mode.SHADOW), policy("d", "y", mode=Mode.DISABLED)], [key("k", "a")]) == ()


def test_without_a_key_nobody_calls_so_nobody_is_told() -> None:
    assert recipients([policy("all", "ops")], []) == ()
