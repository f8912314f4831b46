"""Entry point of `spendgate-quota`."""

from __future__ import annotations

from services.chassis.process import run
from services.quota.settings import Settings
from services.quota.wiring import build


def main() -> None:
    """Runs quota until a signal stops it."""
    run("spendgate-quota", Settings.from_environ, build)


if __name__ == "__main__":
    main()
