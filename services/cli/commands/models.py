"""`spendgate models`: what the price catalogue knows of a vendor's models."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import typer

from services.cli.printing import Listing
from services.cli.session import JsonOption, session_of
from services.cli.vendor_models import VendorModel, vendor_models

_NUMERIC = frozenset({"CONTEXT", "INPUT", "CACHED", "OUTPUT"})


def build_models() -> typer.Typer:
    """Builds the group `models`."""
    group = typer.Typer(
        help="Models that the price catalogue knows. `spendgate routes` shows those that are configured.",
        no_args_is_help=True,
    )
    # With a callback, a group of one command still expects its name.
    group.callback()(lambda: None)
    group.command("list")(list_models)
    return group


def list_models(
    context: typer.Context,
    *,
    provider: Annotated[str, typer.Option("--provider", metavar="PRESET", help="A name of `providers list`.")],
    search: Annotated[str, typer.Option("--search", metavar="TEXT", help="Only names that contain it.")] = "",
    json: JsonOption = False,
) -> None:
    """Lists a vendor's models with their published prices, in dollars per million tokens.

    A + behind a price says that long prompts cost more.

    Example: spendgate models list --provider openai --search mini
    """
    models = vendor_models(provider, session_of(context).clock.now_ms())
    listing: Listing[VendorModel] = Listing(
        name="models",
        columns=("MODEL", "CONTEXT", "INPUT", "CACHED", "OUTPUT"),
        row=lambda model: (
            f"{model.name}{' (deprecated)' if model.is_deprecated else ''}",
            "" if model.context_window is None else model.context_window,
            *(_price(model, price) for price in (model.input, model.cached_input, model.output)),
        ),
        document=lambda model: {
            "model": model.name,
            "context_window": model.context_window,
            "input_usd_per_million": _exact(model.input),
            "cached_input_usd_per_million": _exact(model.cached_input),
            "output_usd_per_million": _exact(model.output),
            "has_tiers": model.has_tiers,
            "deprecated": model.is_deprecated,
        },
        empty=f"The catalogue has no model of {provider} whose name contains {search!r}.",
        numeric=_NUMERIC,
    )
    listing.print([model for model in models if search.lower() in model.name.lower()], as_json=json)


def _price(model: VendorModel, price: Decimal | None) -> str:
    return "" if price is None else f"{price.normalize():f}{'+' if model.has_tiers else ''}"


def _exact(price: Decimal | None) -> str | None:
    return None if price is None else f"{price.normalize():f}"
