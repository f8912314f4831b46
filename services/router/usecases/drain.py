"""Takes targets out of every chain, and lets them in again. Calls in flight go on: their clusters stay."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.change import AuditAction, AuditEntry, Authorship, ResourceKind
from services.kernel.clock import Clock
from services.kernel.errors import FailedPrecondition, NotFound
from services.kernel.names import no_such
from services.kernel.repetition import Answered
from services.router.domain.drained import DrainedTarget
from services.router.domain.model import names_of
from services.router.ports import ConfigurationStore
from services.router.usecases.administer import Administrator


@dataclass(frozen=True, slots=True)
class Drained:
    """The answer to a request that drained a target, or let it in again."""

    models_without_target: tuple[str, ...] = ()
    """The models that have no usable target left, by name."""


class DrainTargets:
    """Changes which targets are drained."""

    def __init__(self, store: ConfigurationStore, administrator: Administrator, clock: Clock) -> None:
        self._store = store
        self._administrator = administrator
        self._clock = clock

    def drain(self, name: str, *, force: bool, by: Authorship) -> Drained:
        """Takes a target out of every chain, until `undrain`. An application of the configuration does not change that.

        Raises:
            NotFound: no model has such a target.
            FailedPrecondition: it is the last usable target of a model, and `force` is not given.
        """
        known = {target for model in self._administrator.configuration.models for target in names_of(model)}
        if name not in known:
            raise NotFound(no_such("target", name, known))
        now_ms = self._clock.now_ms()
        if first := self._recall(by, now_ms):
            return first
        before = self._administrator.drained
        after = {**before, name: before.get(name, DrainedTarget(name, now_ms))}
        emptied = self._administrator.models_emptied_by(frozenset(after))
        if emptied and not force:
            raise FailedPrecondition(
                f"{name} is the last usable target of {', '.join(emptied)}: give them another target first, or force it"
            )
        done = Drained(emptied)
        self._save(after, AuditAction.DISABLE, name, by, done)
        return done

    def undrain(self, name: str, *, by: Authorship) -> Drained:
        """Lets a drained target in again.

        Raises:
            NotFound: it is not drained.
        """
        if first := self._recall(by, self._clock.now_ms()):
            return first
        before = self._administrator.drained
        if name not in before:
            raise NotFound(no_such("drained target", name, before))
        after = {target: drained for target, drained in before.items() if target != name}
        done = Drained()
        self._save(after, AuditAction.ENABLE, name, by, done)
        return done

    def _recall(self, by: Authorship, now_ms: int) -> Drained | None:
        first = self._store.recall(by.repeatable, Drained, now_ms) if by.repeatable else None
        return first.answer if first is not None else None

    def _save(
        self, after: dict[str, DrainedTarget], action: AuditAction, name: str, by: Authorship, done: Drained
    ) -> None:
        now_ms = self._clock.now_ms()
        was, will_be = ("", '{"drained": true}') if action is AuditAction.DISABLE else ('{"drained": true}', "")
        entry = AuditEntry(now_ms, by, action, ResourceKind.TARGET, name, was, will_be)
        answered = Answered(by.repeatable, done, now_ms) if by.repeatable else None
        self._store.save_drained(tuple(after.values()), [entry], answered)
        self._administrator.put_drained(after)
