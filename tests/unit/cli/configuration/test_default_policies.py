from __future__ import annotations

from pathlib import Path

from services.cli.configuration import ConfigurationFile, read_configuration
from services.cli.configuration.default_policies import policies_of

HEAD = "version: 1\norganization: acme\n"


def _file(more: str = "") -> ConfigurationFile:
    return read_configuration("f.yaml", HEAD + more, folder=Path("/")).file


def test_a_file_without_policies_has_sane_ones_for_each_environment() -> None:
    policies = {policy.name: policy for policy in policies_of(_file())}

    assert set(policies) == {"default-dev", "default-staging", "default-prod"}
    dev, prod = policies["default-dev"], policies["default-prod"]
    assert (dev.match.environment, prod.match.environment) == ("dev", "prod")
    assert all(policy.default and policy.each == "team" for policy in policies.values())
    spend = {name: policy.limits[0].value for name, policy in policies.items()}
    assert spend["default-prod"] < spend["default-dev"]
    assert prod.thresholds[0].at < dev.thresholds[0].at
    rates = {
        name: next(each.burn_rate for each in policy.limits if each.burn_rate) for name, policy in policies.items()
    }
    assert rates["default-prod"] < rates["default-dev"]


def test_one_of_the_same_name_takes_its_place_and_all_can_be_left_out() -> None:
    own = "policies: [{name: default-dev, limits: [{requests: 1, per: day}]}]\n"

    assert [(policy.name, policy.default) for policy in policies_of(_file(own))] == [
        ("default-dev", False),
        ("default-staging", True),
        ("default-prod", True),
    ]
    assert policies_of(_file("default_policies: false\n")) == ()


def test_they_tell_the_channel_called_default_if_there_is_one() -> None:
    channel = 'channels: {default: {url: "json://127.0.0.1"}}\n'

    assert {threshold.notify for policy in policies_of(_file(channel)) for threshold in policy.thresholds} == {
        ("default",)
    }
    assert {threshold.notify for policy in policies_of(_file()) for threshold in policy.thresholds} == {()}


def test_a_declared_environment_without_one_of_its_own_is_held_as_tightly_as_prod() -> None:
    policies = {policy.name: policy for policy in policies_of(_file("environments: [dev, qa]\n"))}

    assert list(policies) == ["default-dev", "default-qa"]
    prod = next(policy for policy in policies_of(_file()) if policy.name == "default-prod")
    assert policies["default-qa"].match.environment == "qa"
    assert policies["default-qa"].limits == prod.limits
