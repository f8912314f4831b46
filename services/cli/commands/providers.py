"""`spendgate providers`: the vendors that a configuration can name."""

from __future__ import annotations

import typer

from services.cli.printing import Listing
from services.cli.session import JsonOption
from services.kernel.preset import Preset


def build_providers() -> typer.Typer:
    """Builds the group `providers`."""
    group = typer.Typer(
        help="Vendors that `preset:` can name. `spendgate routes` shows those that are configured.",
        no_args_is_help=True,
    )
    # With a callback, a group of one command still expects its name.
    group.callback()(lambda: None)
    group.command("list")(list_providers)
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


def _dialects(preset: Preset) -> list[str]:
    return [str(face.dialect) for face in preset.faces]


def _prices(preset: Preset) -> str:
    return "catalogue" if preset.catalogue_provider else "yours"
