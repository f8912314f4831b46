"""A directory, indexed for the hot path. Immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.kernel.errors import NotFound
from services.kernel.names import no_such
from services.kernel.scope import Dimension
from services.kernel.window import Window, WindowRule, WindowUnit
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.crossing import ThresholdRule
from services.quota.domain.directory.applied_limits import (
    AppliedLimits,
    Call,
    Shared,
    apply_limits,
    override_of,
    trailing_counters,
    with_allowance,
    with_bound_of,
)
from services.quota.domain.directory.directory import Directory, version_of
from services.quota.domain.identity.admin_token import AdminToken
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.burn_rate import TypicalRate, nothing_typical
from services.quota.domain.policies.index import PolicyIndex
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.override import Override, OverrideTarget
from services.quota.domain.policies.policy import Mode, QuotaPolicy
from services.quota.domain.policies.scope import policy_scope

# The most pairs of key and model whose limits we cache. When there are more, we clear the cache. With counters for each
# key a pair takes a kilobyte, and to find its limits again takes a tenth of a millisecond.
MAX_REMEMBERED = 20_000
# We report the same event of a rolling window at most once in this time, however short the window is.
_QUIET_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class DirectorySnapshot:
    """A `Directory`, indexed for the hot path."""

    directory: Directory
    keys_by_digest: Mapping[bytes, VirtualKey]
    keys_by_name: Mapping[str, VirtualKey]
    policies_by_name: Mapping[str, QuotaPolicy]
    overrides_by_target: Mapping[OverrideTarget, Override]
    tokens_by_digest: Mapping[bytes, AdminToken]
    counts_runs: bool
    """Some limit has a counter for each run."""
    watches_rates: bool
    """Some limit compares a key's spend with its typical rate."""
    typical: TypicalRate
    policies: PolicyIndex
    version: str
    """The fingerprint of the policies; see `version_of`."""
    _windows: dict[WindowRule, Window] = field(default_factory=dict, compare=False, repr=False)
    """The latest window of each rule."""
    _applied: dict[tuple[str, str, str], AppliedLimits] = field(default_factory=dict, compare=False, repr=False)
    _shared: Shared = field(default_factory=Shared, compare=False, repr=False)

    @classmethod
    def of(
        cls, directory: Directory, typical: TypicalRate = nothing_typical, before: DirectorySnapshot | None = None
    ) -> DirectorySnapshot:
        """Indexes a directory. If `before`, the last snapshot, has the same policies, it reuses their index."""
        if before is not None and before.directory.policies == directory.policies:
            policies, version = before.policies, before.version
        else:
            policies, version = PolicyIndex(directory.policies), version_of(directory.policies)
        by_digest: dict[bytes, VirtualKey] = {}
        for key in directory.keys:
            for digest in (key.old_digest, key.digest):
                if digest is not None:
                    by_digest[digest] = key
        return cls(
            directory=directory,
            keys_by_digest=by_digest,
            keys_by_name={key.name: key for key in directory.keys},
            policies_by_name={policy.name: policy for policy in directory.policies},
            overrides_by_target={override.place: override for override in directory.overrides},
            tokens_by_digest={token.digest: token for token in directory.tokens},
            counts_runs=any(limit.per is WindowUnit.RUN for policy in directory.policies for limit in policy.limits),
            watches_rates=any(limit.kind.follows_key for policy in directory.policies for limit in policy.limits),
            typical=typical,
            policies=policies,
            version=version,
        )

    def key_named(self, name: str, team: str = "") -> VirtualKey:
        """Finds a key by name. `team`: the only team whose keys the caller may know of; empty: all teams.

        Raises:
            NotFound: there is no such key.
        """
        key = self.keys_by_name.get(name)
        if key is None:
            raise NotFound(no_such("virtual key", name, self.directory.keys_of(team)))
        return key

    def limits_for(self, attribution: Attribution, model: str, now_ms: int, run: str = "") -> AppliedLimits:
        """The limits that apply to a call, with their counters in the current windows. Cached.

        `run`: the client's name for the run of the call; empty if it names none.
        """
        asked = (attribution.key_id, model, run if self.counts_runs else "")
        remembered = self._applied.get(asked)
        if remembered is not None and remembered.from_ms <= now_ms < remembered.until_ms:
            return remembered
        found = self.apply(attribution, model, now_ms, run)
        if len(self._applied) >= MAX_REMEMBERED:
            self._applied.clear()
        self._applied[asked] = found
        return found

    def apply(self, attribution: Attribution, model: str, now_ms: int, run: str = "") -> AppliedLimits:
        """Finds the same limits without the cache."""
        typical_nano_usd = self.typical(attribution.key_id) if self.watches_rates else 0
        return apply_limits(
            self.policies.candidates(attribution, model),
            Call(attribution, model, run, typical_nano_usd),
            now_ms,
            window_at=self._window_at,
            overrides=self.overrides_by_target,
            shared=self._shared,
        )

    def _window_at(self, rule: WindowRule, now_ms: int) -> Window:
        window = self._windows.get(rule)
        if window is None or not window.start_ms <= now_ms < window.end_ms:
            window = self._windows[rule] = rule.at(now_ms)
        return window

    def threshold_rule(self, counter: CounterKey, now_ms: int) -> ThresholdRule | None:
        """What to look for when this counter settles. None: its policy or limit is gone, or has nothing to report."""
        policy = self.policies_by_name.get(counter.policy)
        if policy is None or policy.mode is Mode.DISABLED:
            return None
        if policy.mode is Mode.SHADOW and not policy.thresholds:
            return None
        for limit in policy.limits:
            if limit.limit_id == counter.limit_id:
                place = (policy.name, counter.limit_id, policy_scope(counter.scope))
                asked = with_bound_of(override_of(self.overrides_by_target, place, now_ms), limit)
                if limit.kind.follows_key:
                    key = self.keys_by_name.get(_key_in(counter.scope))
                    asked = with_allowance(limit, self.typical(key.key_id) if key else 0)
                return _threshold_rule(policy, asked, counter)
        return None


def _threshold_rule(policy: QuotaPolicy, limit: Limit, counter: CounterKey) -> ThresholdRule:
    trailing = trailing_counters(limit, counter)
    start_ms = counter.window_start_ms
    reported_since_ms = min(start_ms - _QUIET_MS, trailing[-1].window_start_ms) if trailing else start_ms
    enforced = policy.mode is Mode.ENFORCE
    return ThresholdRule(limit.bound, policy.thresholds, limit.title, trailing, reported_since_ms, enforced)


def _key_in(scope: str) -> str:
    prefix = f"{Dimension.KEY}="
    return next((part.removeprefix(prefix) for part in scope.split(",") if part.startswith(prefix)), "")
