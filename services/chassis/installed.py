"""Where Envoy's own files are: in a wheel inside the package, in a checkout at its root."""

from __future__ import annotations

from pathlib import Path

import services


def envoy_files() -> Path:
    """The folder of `bootstrap.yaml` and the Lua scripts."""
    package = Path(next(iter(services.__path__)))
    installed = package / "envoy_files"
    return installed if installed.is_dir() else package.parent / "envoy"
