"""The environment variables that a configuration names, and which service reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.cli.configuration.entries import ConfigurationFile


def named_variables(file: ConfigurationFile) -> Mapping[str, Sequence[str]]:
    """Returns the names by service. No name comes twice."""
    channels = [channel.secret.env for channel in file.channels.values() if channel.secret and channel.secret.env]
    return {"ledger": tuple(dict.fromkeys(channels))}
