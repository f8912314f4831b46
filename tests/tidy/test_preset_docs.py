"""The guide lists every preset as it is."""

from __future__ import annotations

from pathlib import Path

from services.kernel.endpoint import Operation, endpoint_of
from services.kernel.preset import Preset

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_guide_lists_every_preset_with_its_address() -> None:
    rows = {
        f"| `{preset}` | {', '.join(face.dialect for face in preset.faces)} | `{preset.base_url}` | "
        f"{'catalogue' if preset.catalogue_provider else 'yours'} |"
        for preset in Preset
    }
    assert rows <= set(GUIDE.read_text().splitlines())


def test_the_guide_lists_what_presets_serve_besides_chats() -> None:
    rows = {
        "embeddings": Operation.EMBED,
        "the Responses API": Operation.RESPOND,
        "completions": Operation.COMPLETE,
        "counting tokens": Operation.COUNT,
        "moderations": Operation.MODERATE,
    }
    # Servers of one's own may serve anything that is metered: the guide says so in a sentence.
    expected = {
        f"| {what} | {', '.join(f'`{preset}`' for preset in Preset if _serves(preset, operation))} |"
        for what, operation in rows.items()
    }

    assert expected <= set(GUIDE.read_text().splitlines())


def _serves(preset: Preset, operation: Operation) -> bool:
    if preset.base_url.startswith("http://127.0.0.1") and not operation.is_free:
        return False
    faces = [face for face in preset.faces if endpoint_of(face.dialect, operation) is not None]
    return any(operation in face.operations for face in faces)
