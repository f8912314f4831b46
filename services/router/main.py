"""Entry point of `spendgate-router`."""

from __future__ import annotations

from services.chassis.process import run
from services.router.settings import Settings
from services.router.wiring import build


def main() -> None:
    """Runs the router until it is asked to stop."""
    run("spendgate-router", Settings.from_environ, build)


if __name__ == "__main__":
    main()
