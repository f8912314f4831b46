"""Who is to be told of a switch of a model: the channels of the policies that bind calls for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from services.kernel.scope import Dimension
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.policy import Mode, QuotaPolicy
from services.quota.domain.policies.scope import properties_of
from services.quota.ports.turns import Turns
from services.quota.usecases.live import Live

_KEYS_AT_ONCE = 2_000

Property = tuple[Dimension, str]


class ListRecipients:
    """Finds the channels of the thresholds of policies."""

    def __init__(self, live: Live, turns: Turns) -> None:
        self._live = live
        self._turns = turns

    def __call__(self, model: str) -> tuple[str, ...]:
        """The channels of the enforced policies under which calls for the model can come, each once.

        A policy counts if for each value that it matches there is a key with that value which may use the model.
        """
        directory = self._live.snapshot.directory.directory
        found = self._properties(directory.keys, model)
        binding = [policy for policy in directory.policies if policy.mode is Mode.ENFORCE and _can_match(policy, found)]
        return tuple(
            dict.fromkeys(name for policy in binding for threshold in policy.thresholds for name in threshold.notify)
        )

    def _properties(self, keys: Iterable[VirtualKey], model: str) -> set[Property]:
        found: set[Property] = set()
        for some in self._turns.between(_slices(keys)):
            for key in some:
                if key.may_use(model):
                    found.update(properties_of(key.attribution, model).items())
        return found


def _slices(keys: Iterable[VirtualKey]) -> Iterator[list[VirtualKey]]:
    left = iter(keys)
    while some := list(islice(left, _KEYS_AT_ONCE)):
        yield some


def _can_match(policy: QuotaPolicy, found: set[Property]) -> bool:
    # Without any key nobody calls, so nobody is told.
    return bool(found) and found.issuperset(policy.match.named)
