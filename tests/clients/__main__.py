"""Installs all: `python -m tests.clients`."""

from __future__ import annotations

from tests.clients.install import install_all

if __name__ == "__main__":
    install_all()
