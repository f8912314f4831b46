"""The policies that a gateway holds without being told: `default_policies.yaml`, read like the configuration file."""

from __future__ import annotations

from functools import cache
from importlib import resources

from pydantic import TypeAdapter

from services.cli.configuration.entries import ConfigurationFile
from services.cli.configuration.policy_entries import PolicyEntry
from services.cli.configuration.source import read_source

CHANNEL = "default"
"""Whom the default policies tell, where there is such a channel."""


def policies_of(file: ConfigurationFile) -> tuple[PolicyEntry, ...]:
    """The policies of a file and the default ones that it neither replaces nor turns off."""
    if not file.default_policies:
        return file.policies
    own = {policy.name for policy in file.policies}
    defaults = [policy for policy in _built_in() if policy.name not in own]
    if CHANNEL not in file.channels:
        defaults = [_telling_nobody(policy) for policy in defaults]
    return (*file.policies, *defaults)


def _telling_nobody(policy: PolicyEntry) -> PolicyEntry:
    thresholds = tuple(threshold.model_copy(update={"notify": ()}) for threshold in policy.thresholds)
    return policy.model_copy(update={"thresholds": thresholds})


@cache
def _built_in() -> tuple[PolicyEntry, ...]:
    name = "default_policies.yaml"
    text = (resources.files("services.cli.configuration") / name).read_text(encoding="utf-8")
    return TypeAdapter(tuple[PolicyEntry, ...]).validate_python(read_source(name, text).value)
