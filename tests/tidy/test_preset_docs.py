"""The guide lists every preset as it is."""

from __future__ import annotations

from pathlib import Path

from services.kernel.preset import Preset

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_guide_lists_every_preset_with_its_address() -> None:
    rows = {
        f"| `{preset}` | {', '.join(face.dialect for face in preset.faces)} | `{preset.base_url}` | "
        f"{'catalogue' if preset.catalogue_provider else 'yours'} |"
        for preset in Preset
    }
    assert rows <= set(GUIDE.read_text().splitlines())
