from __future__ import annotations

from dataclasses import replace

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.directory.applied_limits import Call, apply_limits
from services.quota.domain.directory.directory import Directory
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy, Threshold

NOW_MS = 1_800_000_000_000
ADA = Attribution("key_1", "ci", "data-science", "forecasting", "prod", "ada@example.com")
CALL = Call(ADA, "tiny")
DAILY = Limit(LimitKind.REQUESTS, 5, WindowUnit.DAY)


def policy(match: Match) -> QuotaPolicy:
    return QuotaPolicy("p", match, (DAILY,))


def test_limits_are_remembered_until_the_first_of_their_windows_ends() -> None:
    policies = (policy(Match()), QuotaPolicy("q", Match(), (replace(DAILY, per=WindowUnit.MINUTE),)))
    snapshot = DirectorySnapshot.of(Directory(policies=policies))

    first = snapshot.limits_for(ADA, "tiny", NOW_MS)

    assert snapshot.limits_for(ADA, "tiny", first.until_ms - 1) is first
    following = snapshot.limits_for(ADA, "tiny", first.until_ms)
    assert following is not first
    assert following.counters[0] == first.counters[0]
    assert following.counters[1].window_start_ms == first.until_ms
    # A clock that was set back finds the window that it is in.
    assert snapshot.limits_for(ADA, "tiny", NOW_MS).counters == first.counters


def test_a_disabled_policy_is_left_out_and_a_shadow_one_is_marked() -> None:
    enforced, shadow, disabled = (replace(policy(Match()), name=mode, mode=mode) for mode in Mode)

    limits = apply_limits((enforced, shadow, disabled), CALL, NOW_MS).limits

    assert [(limit.counter.policy, limit.enforced, limit.steers) for limit in limits] == [
        ("enforce", True, True),
        ("shadow", False, False),
    ]


def test_only_an_enforced_spend_limit_needs_a_price() -> None:
    spending = QuotaPolicy("s", Match(), (Limit(LimitKind.SPEND, 5, WindowUnit.DAY),))

    assert apply_limits((spending,), CALL, NOW_MS).needs_price
    assert not apply_limits((replace(spending, mode=Mode.SHADOW),), CALL, NOW_MS).needs_price
    assert not apply_limits((policy(Match()),), CALL, NOW_MS).needs_price


def test_a_key_is_found_by_its_present_and_its_former_secret() -> None:
    key = VirtualKey(ADA, digest=b"new", old_digest=b"old")
    snapshot = DirectorySnapshot.of(Directory(keys=(key, VirtualKey(Attribution("key_2", "without-secret")))))

    assert snapshot.keys_by_digest == {b"new": key, b"old": key}
    assert set(snapshot.keys_by_name) == {"ci", "without-secret"}


def test_a_counter_is_watched_while_its_limit_is_in_force_and_somebody_is_to_be_alerted() -> None:
    telling = replace(policy(Match()), thresholds=(Threshold(8_000),))
    snapshot = DirectorySnapshot.of(Directory(policies=(telling,)))
    (counter,) = snapshot.limits_for(ADA, "tiny", NOW_MS).counters

    threshold_rule = snapshot.threshold_rule(counter, NOW_MS)

    assert threshold_rule is not None
    assert (threshold_rule.bound, threshold_rule.limit) == (5, "requests per day")
    assert snapshot.threshold_rule(counter._replace(policy="gone"), NOW_MS) is None
    assert snapshot.threshold_rule(counter._replace(limit_id="spend/day/UTC"), NOW_MS) is None

    for mode, enforced in ((Mode.ENFORCE, True), (Mode.SHADOW, None)):
        quiet = DirectorySnapshot.of(Directory(policies=(replace(policy(Match()), mode=mode),)))
        assert getattr(quiet.threshold_rule(counter, NOW_MS), "enforced", None) is enforced

    disabled = Directory(policies=(replace(telling, mode=Mode.DISABLED),))
    assert DirectorySnapshot.of(disabled).threshold_rule(counter, NOW_MS) is None


def test_a_directory_of_the_same_policies_takes_over_their_index_and_version() -> None:
    before = DirectorySnapshot.of(Directory(policies=(policy(Match()),)))
    key = VirtualKey(ADA, digest=b"new")

    same = DirectorySnapshot.of(Directory(policies=(policy(Match()),), keys=(key,)), before=before)
    other = DirectorySnapshot.of(Directory(policies=(policy(Match(team="data-science")),)), before=before)

    assert same.policies is before.policies
    assert same.version == before.version
    assert same.keys_by_digest == {b"new": key}
    assert other.version != before.version
    assert other.limits_for(Attribution("key_2", "other"), "tiny", NOW_MS).limits == ()


def test_keys_to_which_the_same_limits_apply_share_them() -> None:
    snapshot = DirectorySnapshot.of(Directory(policies=(policy(Match()), policy(Match(team="data-science")))))
    bob = replace(ADA, key_id="key_2", key="other", user="bob@example.com")

    first = snapshot.limits_for(ADA, "tiny", NOW_MS)

    assert snapshot.limits_for(bob, "tiny", NOW_MS) is first
    assert snapshot.limits_for(replace(bob, team="sales"), "tiny", NOW_MS).limits[0] is first.limits[0]


def test_keys_with_counters_of_their_own_share_the_limits_of_all() -> None:
    policies = (policy(Match()), QuotaPolicy("q", Match(), (DAILY,), each=Dimension.KEY))
    snapshot = DirectorySnapshot.of(Directory(policies=policies))
    bob = replace(ADA, key_id="key_2", key="other")

    of_ada, of_bob = (snapshot.limits_for(who, "tiny", NOW_MS) for who in (ADA, bob))

    assert of_ada.limits[0] is of_bob.limits[0]
    assert [limits.limits[1].counter.scope for limits in (of_ada, of_bob)] == ["key=ci", "key=other"]
