"""Finds models whose calls never reach their first target, because it has no price and a fallback has one.

A limit on spend leaves out targets without a price. A provider with a preset may have prices in the catalogue, which
only the gateway knows. A provider with another protocol has only the prices in the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.configuration.entries import Chain, ConfigurationFile, ModelEntry
from services.cli.configuration.source import Path
from services.kernel.names import split_target


def find_unpriced_leads(file: ConfigurationFile) -> Iterator[tuple[Path, str]]:
    """Yields the first targets that are skipped, each with its path and what to do."""
    for name, model in file.models.items():
        others = [target for target in _all_targets(model) if not _is_unpriced(file, target)]
        for lead in _targets(model.targets[:1]):
            if others and _is_unpriced(file, lead):
                text = f"{lead} has no price, so calls under a limit on spend always go to {others[0]}"
                yield ("models", name, "targets", 0), f"{text}: give it one under `prices`, 0 for what is free"


def _is_unpriced(file: ConfigurationFile, target: str) -> bool:
    provider, _ = split_target("", target)
    entry = file.providers.get(provider)
    return target not in file.prices and entry is not None and entry.preset is None


def _all_targets(model: ModelEntry) -> list[str]:
    chains = (model.targets, *(fallback.to for fallback in model.fallbacks))
    return [target for chain in chains for target in _targets(chain)]


def _targets(chain: Chain) -> list[str]:
    return [weighted.target for group in chain for weighted in group.targets]
