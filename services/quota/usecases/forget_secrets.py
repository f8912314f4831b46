"""Forgets all secrets after the loss of their pepper."""

from __future__ import annotations

from dataclasses import replace

from services.kernel.change import OWNER
from services.kernel.clock import Clock
from services.quota.domain.directory.directory import Directory
from services.quota.ports.directory import DirectoryStore
from services.quota.usecases.amend import Amend
from services.quota.usecases.live import Live


def forget_secrets(store: DirectoryStore, clock: Clock) -> None:
    """Removes the secrets of keys, which keep their budgets and policies. Removes all admin tokens."""
    amend = Amend(store=store, live=Live(Directory()), adoption=None, clock=clock)
    amend(_without_secrets, by=replace(OWNER, reason="the pepper was lost"))


def _without_secrets(before: Directory) -> Directory:
    keys = (replace(key, digest=None, hint="", old_digest=None, old_until_ms=0) for key in before.keys)
    return replace(before, keys=tuple(keys), tokens=(), retired=())
