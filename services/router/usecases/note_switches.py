"""Notes each switch once, durably, and reports it to the ledger until the ledger has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.kernel.clock import Clock
from services.router.domain.health import HealthMemory
from services.router.domain.plan import ModelPlan
from services.router.domain.switch import NamedSwitch, Switch, noted_leads, switches_between
from services.router.ports import Switches, SwitchReceiver
from services.router.usecases.target_health import TargetHealth

REPORT_AT_ONCE = 100
"""Switches in one report."""


class NoteSwitches:
    """Compares each new plan with what was noted.

    The noted leads, the switches to report and what is known of sick targets are written in one transaction. So a
    process that dies at any moment leaves no switch out and reports none twice.
    """

    def __init__(self, store: Switches, health: TargetHealth, clock: Clock, entropy: Callable[[int], bytes]) -> None:
        self._store = store
        self._health = health
        self._clock = clock
        self._entropy = entropy
        self._noted = {lead.place: lead for lead in store.load_noted_leads()}
        self._remembered = store.load_health()
        health.resume(self._remembered)

    def __call__(self, plans: Sequence[ModelPlan]) -> tuple[Switch, ...]:
        """Returns the switches since the last time."""
        now_ms = self._clock.now_ms()
        leads = noted_leads(plans, self._noted)
        switches = [
            NamedSwitch(self._new_id(now_ms), switch) for switch in switches_between(self._noted, leads, plans, now_ms)
        ]
        memory = self._health.memory
        if switches or leads != self._noted or _changed(memory, self._remembered):
            self._store.save_switches(switches, tuple(leads.values()), memory)
            self._noted, self._remembered = leads, memory
        return tuple(each.switch for each in switches)

    def _new_id(self, now_ms: int) -> str:
        return f"{now_ms:013d}-{self._entropy(8).hex()}"


class ReportSwitches:
    """Hands what was noted to the ledger, oldest first."""

    def __init__(self, store: Switches, receiver: SwitchReceiver) -> None:
        self._store = store
        self._receiver = receiver

    def __call__(self) -> None:
        """Reports what the ledger does not have.

        Raises:
            Unavailable: the ledger does not answer. Everything unreported stays in the store.
        """
        while batch := self._store.unreported_switches(REPORT_AT_ONCE):
            self._receiver.report(batch)
            self._store.forget_switches([each.id for each in batch])


def _changed(memory: HealthMemory, remembered: HealthMemory) -> bool:
    """Whether more than the pace of probes changed, which a restart may forget."""
    return memory.out != remembered.out or [(each.watched, each.left_at_ms) for each in memory.left] != [
        (each.watched, each.left_at_ms) for each in remembered.left
    ]
