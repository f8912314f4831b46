"""Finds keys whose calls would all be refused, because no policy bounds them.

The gateway refuses them too. Here they are found without a gateway, with line and column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.cli.configuration.default_policies import policies_of
from services.cli.configuration.entries import ConfigurationFile, KeyEntry
from services.cli.configuration.policy_entries import LimitEntry, PolicyEntry
from services.cli.configuration.source import Path
from services.kernel.scope import Dimension, scope_of
from services.kernel.window import WindowUnit


def find_unbounded(file: ConfigurationFile) -> Iterator[tuple[Path, str]]:
    """Yields the keys, each with its path and what to add."""
    binding = [policy for policy in policies_of(file) if _binds(policy)]
    for index, key in enumerate(file.keys):
        models = key.models or tuple(file.models) or ("",)
        if not key.unlimited and not any(_matches(policy, key, models) for policy in binding):
            yield ("keys", index), _text(file, key)


def _binds(policy: PolicyEntry) -> bool:
    return policy.mode == "enforce" and any(_bounds(limit) for limit in policy.limits)


def _bounds(limit: LimitEntry) -> bool:
    return limit.kind.bounds and limit.per is not WindowUnit.RUN


def _matches(policy: PolicyEntry, key: KeyEntry, models: Sequence[str]) -> bool:
    """Whether some call of the key matches."""
    parts = tuple((each, wanted) for each in Dimension if (wanted := getattr(policy.match, each)))
    of_key = {
        Dimension.TEAM: key.team or "",
        Dimension.PROJECT: key.project or "",
        Dimension.ENVIRONMENT: key.environment or "",
        Dimension.USER: key.user or "",
        Dimension.KEY: key.name,
    }
    return any(scope_of(parts, {**of_key, Dimension.MODEL: model}) is not None for model in models)


def _text(file: ConfigurationFile, key: KeyEntry) -> str:
    known = ", ".join(file.environments)
    where = "" if key.environment else f"give it an environment ({known}) that a policy is for, "
    return (
        f"no enforced policy bounds what key {key.name} can take, so its calls would be refused: add a policy that "
        f"matches it, with a limit on spend, tokens or requests over a period of time, {where}or write "
        "`unlimited: true`"
    )
