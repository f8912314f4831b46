"""Models of the running gateway whose first target has no price while another one has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from spendgate.router.v1 import router_service_pb2 as router


def unpriced_leads(models: Iterable[router.Model], unpriced: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yields the models by name, each with a clause that names the skipped target and the one that serves instead."""
    for model in models:
        chains = (model.targets, *(fallback.to for fallback in model.fallbacks))
        others = [
            one.target for chain in chains for slot in chain for one in slot.targets if one.target not in unpriced
        ]
        leads = [one.target for slot in model.targets[:1] for one in slot.targets if one.target in unpriced]
        if leads and others:
            names = " and ".join(leads)
            yield model.name, f"{names} has no price, so calls under a limit on spend always go to {others[0]}"
