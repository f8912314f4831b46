"""Records the switches that the router reports, each once, with those who are to be told of it."""

from __future__ import annotations

from collections.abc import Sequence

from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput
from services.ledger.domain.lead_switch import LeadSwitch
from services.ledger.ports import Recipients, SwitchStore

MOST_AT_ONCE = 100


class RecordSwitches:
    """Called by the router, which repeats a report until it is answered."""

    def __init__(self, store: SwitchStore, recipients: Recipients, clock: Clock) -> None:
        self._store = store
        self._recipients = recipients
        self._clock = clock

    def __call__(self, switches: Sequence[LeadSwitch]) -> None:
        """Records those that are new. The others change nothing.

        Raises:
            InvalidInput: there are too many at once.
            Unavailable: quota does not say whom to tell. Nothing of this report is recorded.
        """
        if len(switches) > MOST_AT_ONCE:
            raise InvalidInput("switches", f"at most {MOST_AT_ONCE} at a time")
        known = self._store.known_switches([switch.id for switch in switches])
        fresh = [switch for switch in switches if switch.id not in known]
        channels = {model: self._recipients.recipients_of(model) for model in {switch.model for switch in fresh}}
        self._store.add_switches([(switch, channels[switch.model]) for switch in fresh], self._clock.now_ms())
