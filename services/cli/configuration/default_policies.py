"""The policies that a gateway has by default: `default_policies.yaml`, in the form of the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from pydantic import TypeAdapter

from services.cli.configuration.entries import ConfigurationFile
from services.cli.configuration.policy_entries import PolicyEntry
from services.cli.configuration.source import read_source

CHANNEL = "default"
"""The channel that default policies notify, if it exists."""
_TIGHT = "prod"


def policies_of(file: ConfigurationFile) -> tuple[PolicyEntry, ...]:
    """Returns a file's policies, and the default ones of its environments that it neither replaces nor turns off."""
    if not file.default_policies:
        return file.policies
    own = {policy.name for policy in file.policies}
    defaults = [policy for policy in map(_default_of, file.environments) if policy.name not in own]
    if CHANNEL not in file.channels:
        defaults = [_without_alerts(policy) for policy in defaults]
    return (*file.policies, *defaults)


def _default_of(environment: str) -> PolicyEntry:
    """Returns the default policy of an environment. An environment without its own default gets the tightest one."""
    policies = _built_in()
    if environment in policies:
        return policies[environment]
    tight = policies[_TIGHT]
    match = tight.match.model_copy(update={"environment": environment})
    return tight.model_copy(update={"name": f"default-{environment}", "match": match})


def _without_alerts(policy: PolicyEntry) -> PolicyEntry:
    thresholds = tuple(threshold.model_copy(update={"notify": ()}) for threshold in policy.thresholds)
    return policy.model_copy(update={"thresholds": thresholds})


@cache
def _built_in() -> Mapping[str, PolicyEntry]:
    """By environment."""
    name = "default_policies.yaml"
    text = (resources.files("services.cli.configuration") / name).read_text(encoding="utf-8")
    policies = TypeAdapter(tuple[PolicyEntry, ...]).validate_python(read_source(name, text).value)
    return {policy.match.environment or "": policy for policy in policies}
