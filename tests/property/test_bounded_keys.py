"""Whatever policies exist, no call gets past all of them, whoever created its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.cli import translate
from services.cli.configuration import read_configuration
from services.cli.configuration.bounds import find_unbounded
from services.cli.configuration.source import ConfigurationError
from services.cli.key_secrets import KeySecrets
from services.kernel.errors import PermissionDenied
from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.directory.applied_limits import Call, apply_limits
from services.quota.domain.directory.bounded import Bounds
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from services.quota.transport.admin_messages import read_configuration as read_request

MODELS = ("m", "n")
NOW_MS = 1_800_000_000_000
SOME = st.sampled_from(["", "", "a", "b"])
KINDS = st.sampled_from([LimitKind.SPEND, LimitKind.REQUESTS, LimitKind.OUTPUT_TOKENS, LimitKind.CONCURRENCY])


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    kind = draw(KINDS)
    windows = [WindowUnit.DAY, WindowUnit.MONTH, WindowUnit.RUN]
    return Limit(kind, 1, draw(st.sampled_from(windows)) if kind.has_window else WindowUnit.LIFETIME)


POLICIES = st.builds(
    QuotaPolicy,
    name=st.uuids().map(str),
    match=st.builds(Match, team=SOME, project=SOME, environment=SOME, user=SOME, model=st.sampled_from(["", "m", "n"])),
    limits=st.lists(limits(), min_size=1, max_size=2).map(tuple),
    each=st.sampled_from([None, None, Dimension.TEAM, Dimension.USER]),
    default=st.sampled_from([False, False, True]),
    mode=st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.SHADOW]),
)
KEYS = st.builds(
    VirtualKey,
    st.builds(Attribution, st.just("k"), st.just("k"), team=SOME, project=SOME, environment=SOME, user=SOME),
    st.sampled_from([(), (), ("m",), ("n",), MODELS]),
)


def is_bounded(policies: list[QuotaPolicy], key: VirtualKey, model: str) -> bool:
    """Whether a call of the key would be bounded."""
    return apply_limits(policies, Call(key.attribution, model, "a-run"), NOW_MS).bounded


@settings(deadline=None)
@given(st.lists(POLICIES, max_size=5), KEYS)
def test_a_key_is_refused_if_and_only_if_each_of_its_calls_would_be(
    policies: list[QuotaPolicy], key: VirtualKey
) -> None:
    bounds = Bounds(Directory(policies=tuple(policies)), MODELS)

    assert bounds.is_unbounded(key) is not any(is_bounded(policies, key, model) for model in key.models or MODELS)


@settings(deadline=None)
@given(st.lists(POLICIES, max_size=6), KEYS)
def test_a_limit_of_the_team_counts_every_call_of_a_key_that_its_admin_creates(
    policies: list[QuotaPolicy], key: VirtualKey
) -> None:
    team = key.attribution.team
    try:
        Bounds(Directory(policies=tuple(policies)), MODELS).check_within_team("key", key)
    except PermissionDenied:
        return
    of_team = [
        policy
        for policy in policies
        if policy.mode is Mode.ENFORCE
        and not policy.default
        and (policy.match.team == team if policy.match.team or policy.each is not Dimension.TEAM else True)
        and team
    ]
    for kinds in ({LimitKind.SPEND}, {LimitKind.SPEND, LimitKind.REQUESTS}):
        allowed = {
            policy.name
            for policy in of_team
            if any(limit.kind in kinds and limit.per is not WindowUnit.RUN for limit in policy.limits)
        }
        if allowed:
            # This holds even for a model that somebody adds tomorrow.
            for model in key.models or (*MODELS, "tomorrow"):
                call = Call(key.attribution, model)
                counted = {
                    limit.counter.policy
                    for limit in apply_limits(policies, call, NOW_MS).limits
                    if limit.enforced and limit.kind in kinds
                }
                assert counted & allowed
            break


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Configurations whose names all exist."""

    def some(**choices: list[str]) -> dict[str, str]:
        drawn = {name: draw(st.sampled_from([None, None, None, *values])) for name, values in choices.items()}
        return {name: value for name, value in drawn.items() if value is not None}

    who = {"team": ["ds"], "project": ["p"], "environment": ["dev", "prod"], "user": ["ada"]}
    bounds: list[dict[str, Any]] = [
        {"spend": 1, "per": draw(st.sampled_from(["day", "run"]))},
        {"input_tokens": 1, "per": "day"},
        {"output_tokens": 1, "per": "day"},
        {"requests": 1, "rolling": "1h"},
        {"concurrency": 1},
    ]
    policies = [
        {
            "name": f"p{at}",
            "match": some(**who, key=["k"], model=["m"]),
            "limits": [draw(st.sampled_from(bounds))],
            "mode": draw(st.sampled_from(["enforce", "shadow"])),
        }
        for at in range(draw(st.integers(0, 2)))
    ]
    return {
        "version": 1,
        "organization": "acme",
        "default_policies": draw(st.booleans()),
        "providers": {"lab": {"preset": "openai", "api_key": {"env": "K"}}},
        "models": {name: {"targets": ["lab/x"]} for name in MODELS},
        "teams": {"ds": {"projects": ["p"], "members": ["ada"]}},
        "policies": policies,
        "keys": [{"name": "k", **some(**who), "models": draw(st.sampled_from([[], ["m"], ["n"]]))}],
    }


@settings(deadline=None)
@given(files())
def test_the_command_line_refuses_the_keys_that_the_gateway_refuses(document: dict[str, Any]) -> None:
    is_refused = False
    try:
        read_configuration("f.yaml", json.dumps(document), folder=Path("/"))
    except ConfigurationError as error:
        (problem,) = error.problems
        is_refused = problem.path == ("keys", 0) and "no enforced policy bounds" in problem.text
        assert is_refused
    document["keys"][0]["unlimited"] = True
    file = read_configuration("f.yaml", json.dumps(document), folder=Path("/")).file
    assert list(find_unbounded(file)) == []
    sent = read_request(translate.quota_request(file, KeySecrets({}, {}), validate_only=True))
    (spec,) = sent.keys
    key = VirtualKey(
        Attribution("k", spec.name, spec.team, spec.project, spec.environment, spec.user), tuple(spec.models)
    )

    assert Bounds(Directory(policies=sent.policies), sent.models).is_unbounded(key) is is_refused
