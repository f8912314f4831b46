"""`spendgate providers`: the vendors that a configuration can name, and a test of those that it does name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.router.v1 import router_service_pb2 as router

from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import Listing, print_result
from services.cli.provider_trial import trial_document, trial_lines
from services.cli.session import GatewayCommand, JsonOption
from services.kernel.preset import Preset


def build_providers() -> typer.Typer:
    """Builds the group `providers`."""
    group = typer.Typer(
        help="Vendors that `preset:` can name, and a test of a configured one. `spendgate routes` lists those.",
        no_args_is_help=True,
    )
    group.command("list")(list_providers)
    group.command("test", cls=GatewayCommand)(try_provider)
    return group


def list_providers(*, json: JsonOption = False) -> None:
    """Lists the presets: what each vendor speaks, its address, and whether its prices are known.

    Example: spendgate providers list
    """
    listing: Listing[Preset] = Listing(
        name="presets",
        columns=("PRESET", "SPEAKS", "ADDRESS", "PRICES"),
        row=lambda preset: (preset.value, ", ".join(_dialects(preset)), preset.base_url, _prices(preset)),
        document=lambda preset: {
            "preset": preset.value,
            "dialects": _dialects(preset),
            "base_url": preset.base_url,
            "needs_own_base_url": preset.is_own_address,
            "prices": _prices(preset),
        },
        empty="",
    )
    listing.print(list(Preset), as_json=json)


def try_provider(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A configured provider.")],
    *,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="By the provider's name. Default: one that a model uses.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Makes one real call to a provider, as small as it can be, and says what it saw. Exit code 1: something is wrong.

    The router makes the call itself, with the address, the path, the credential and the authorities that it gives
    Envoy. No virtual key pays for it and nothing is booked: the provider bills a few tokens to your account with it.

    Example: spendgate providers test openai --model gpt-4o-mini
    """
    with connect(context) as gateway:
        seen = gateway.router.TestProvider(router.TestProviderRequest(name=name, model=model))
        unpriced = gateway.quota.GetQuotaStatus(quota.GetQuotaStatusRequest()).quota_status.unpriced_targets
        models = read_list(gateway.router.ListModels, router.ListModelsRequest(), lambda page: page.models)
    is_priced = seen.target not in unpriced if seen.target in _targets_of(models) else None
    print_result(trial_document(seen, is_priced), "\n".join(trial_lines(seen, is_priced)), as_json=json)
    if seen.problem:
        raise typer.Exit(1)


def _targets_of(models: Iterable[router.Model]) -> set[str]:
    chains = [chain for one in models for chain in (one.targets, *(fallback.to for fallback in one.fallbacks))]
    return {weighted.target for chain in chains for slot in chain for weighted in slot.targets}


def _dialects(preset: Preset) -> list[str]:
    return [str(face.dialect) for face in preset.faces]


def _prices(preset: Preset) -> str:
    return "catalogue" if preset.catalogue_provider else "yours"
