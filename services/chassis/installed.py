"""Locates Envoy's own files: inside the package in a wheel, at the root in a checkout."""

from __future__ import annotations

from pathlib import Path

import services


def envoy_files() -> Path:
    """Returns the folder of `bootstrap.yaml` and the Lua scripts."""
    package = Path(next(iter(services.__path__)))
    installed = package / "envoy_files"
    return installed if installed.is_dir() else package.parent / "envoy"
