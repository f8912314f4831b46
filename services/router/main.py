"""Entry point of `spendgate-router`."""

from __future__ import annotations

from services.chassis.installed import envoy_files
from services.chassis.process import SystemClock, run_async
from services.chassis.settings import Environ
from services.router.settings import Settings
from services.router.wiring import RouterService


def main() -> None:
    """Runs the router until it is told to stop."""
    run_async("spendgate-router", _build)


def _build(environ: Environ) -> RouterService:
    settings = Settings.from_environ(environ, envoy_files())
    return RouterService(settings, environ, SystemClock())


if __name__ == "__main__":
    main()
