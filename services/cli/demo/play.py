"""The script: thirty days, what must happen during them, and what must be true at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from services.cli.demo.application import Application, Denied, Served
from services.cli.demo.books import Books, BooksError, Sums
from services.cli.demo.inbox import Inbox
from services.cli.demo.month import DAYS, OUTAGE_DAY, PROD, Task, tasks_of
from services.cli.demo.stage import Stage, percent

POLICY = "data-science-prod"
SONNET, HAIKU, OTHER_VENDOR = "anthropic/claude-sonnet-4-5", "anthropic/claude-haiku-4-5", "openai/gpt-4o-mini"
SWITCH_BASIS_POINTS, ALERT_BASIS_POINTS = 7_500, 8_000
_FULL_BASIS_POINTS = 10_000
# "Nothing left that a call could use".
_SPENT_BASIS_POINTS = 9_990
# The rest may be too little for a long answer and enough for a short one.
_SHORTER_ANSWERS = (600, 250, 100, 40, 15, 5, 1)
_CONTENTION = "rate_limit_exceeded"
_DELIVERY_TIMEOUT_S = 30.0


@dataclass
class Play:
    """The month as it is played. `outage` switches Anthropic's simulated failure on and off."""

    application: Application
    books: Books
    stage: Stage
    outage: Callable[[bool], None]
    inbox: Inbox
    served: list[Served] = field(default_factory=list)
    refused: int = 0
    """Calls that were refused after the budget was spent."""
    switched_on: int = 0
    alerted_on: int = 0
    denied_on: int = 0
    """The day it happened; 0: not yet."""
    _events: list[tuple[str, str]] = field(default_factory=list)
    """Events of the day, printed after its line."""

    def run(self) -> Sums:
        """Plays all days and adds up.

        Raises:
            BooksError: something that the demo shows did not happen.
        """
        for day in range(1, DAYS + 1):
            if day in {OUTAGE_DAY, OUTAGE_DAY + 1}:
                self.outage(day == OUTAGE_DAY)
            self._day(day)
        for happened, what in (
            (self.switched_on, "the switch to the cheaper model"),
            (self.alerted_on, "the crossing of 80 %"),
            (self.denied_on, "the denial"),
        ):
            _must(happened, f"{what} did not happen")
        counts = {recipient: len(alerts) for recipient, alerts in self.inbox.thresholds.items()}
        _must(set(counts.values()) == {1}, f"the recipients were told {counts} times")
        return self._add_up()

    def _day(self, day: int) -> None:
        targets: Counter[str] = Counter()
        refused = 0
        for task in tasks_of(day):
            outcome = self._call(task)
            if isinstance(outcome, Served):
                if task.environment == PROD:
                    targets[outcome.target] += 1
                    self._watch_target(day, outcome)
            elif self.denied_on:
                refused += 1
            else:
                self._deny(day, task, outcome)
        self.books.settle()
        self.refused += refused
        budget = self.books.budget(POLICY)
        _must(budget.settled <= budget.limit, "the budget was exceeded")
        served = ", ".join(f"{calls} x {target.partition('/')[2]}" for target, calls in targets.most_common())
        notes = [served or "no production calls", *([f"{refused} refused"] if refused else [])]
        self._watch_outage(day, targets)
        self._watch_alerts(day)
        self.stage.day(day, self._used_basis_points(), budget.settled, ", ".join(notes))
        for headline, text in self._events:
            self.stage.event(headline, text)
        self._events.clear()

    def _call(self, task: Task) -> Served | Denied:
        outcome = self.application.call(task)
        while isinstance(outcome, Denied) and outcome.code == _CONTENTION:
            # Only calls in flight are in the way. They give back what they did not use.
            self.books.settle()
            outcome = self.application.call(task)
        if isinstance(outcome, Served):
            self.served.append(outcome)
        return outcome

    def _watch_target(self, day: int, outcome: Served) -> None:
        if outcome.target != HAIKU or self.switched_on:
            _must(
                outcome.target == (HAIKU if self.switched_on else SONNET) or day == OUTAGE_DAY,
                f"{outcome.target} served on day {day}",
            )
            return
        used = self._used_basis_points()
        _must(used >= SWITCH_BASIS_POINTS, f"the cheaper model leads at {percent(used)}")
        self.switched_on = day
        self._note(
            f"75 % of the budget: claude-sonnet-4 is now served by {HAIKU}",
            "The application asked for claude-sonnet-4 as before, and its code did not change; a third of the cost.",
        )

    def _watch_outage(self, day: int, targets: Counter[str]) -> None:
        if day != OUTAGE_DAY:
            return
        _must(set(targets) == {OTHER_VENDOR}, f"during the outage {dict(targets)} served")
        _must(all(call.attempts > 1 for call in self.served[-1:]), "the outage left no second attempt")
        self._note(
            f"Anthropic is down (simulated): {OTHER_VENDOR} serves in the same request",
            "The application saw no error. Every attempt is on record, one call is booked.",
        )

    def _watch_alerts(self, day: int) -> None:
        alerts = [alert for alert in self.books.alerts() if alert.policy == POLICY]
        _must(len(alerts) <= 1, f"{len(alerts)} thresholds were crossed, and only one is set")
        if not alerts or self.alerted_on:
            return
        _must(alerts[0].basis_points == ALERT_BASIS_POINTS, "another threshold than 80 % was crossed")
        self.alerted_on = day
        recipients = set(alerts[0].recipients)
        _must(self.inbox.wait_for(recipients, _DELIVERY_TIMEOUT_S), "an alert did not arrive")
        (alert, *_), *_ = self.inbox.thresholds.values()
        self._note(f"80 % of the budget: {', '.join(alerts[0].recipients)} are told", alert["text"].partition("\n")[0])

    def _deny(self, day: int, task: Task, denied: Denied) -> None:
        """Plays the first refusal: the application asks for ever shorter answers, until there is no room for any."""
        self.denied_on = day
        self._note("The budget no longer has room for this call", denied.message)
        for length in _SHORTER_ANSWERS:
            # Not streamed, like the SDK's call below. A body that asks for a stream is larger, and may just not fit.
            short = replace(task, prompt=f"Answer in {length} tokens.", max_tokens=length, stream=False)
            outcome = self._call(short)
            while isinstance(outcome, Served):
                self.books.settle()
                outcome = self._call(short)
            denied = outcome
        self.books.settle()
        used = self._used_basis_points()
        _must(used >= _SPENT_BASIS_POINTS, f"refused at {percent(used)}")
        self._note(f"{percent(used)}: spent, and the smallest call is denied", denied.message)
        self._watch_sdk(replace(task, prompt="Answer in 1 tokens.", max_tokens=1))

    def _watch_sdk(self, task: Task) -> None:
        denial = self.application.call_with_sdk(task)
        if denial is None:
            self._note("The official `openai` package is not installed", "Its exception cannot be shown here.")
            return
        _must(denial.exception == "openai.RateLimitError", f"the SDK raised {denial.exception}")
        _must(denial.kind == "insufficient_quota", f"the SDK got {denial.kind}")
        _must(denial.requests == 1, f"the SDK sent {denial.requests} requests for one denied call")
        self._note(
            f"The unchanged SDK raises {denial.exception}, type {denial.kind}, code {denial.code}",
            "By default it tries three times. The answer told it not to retry, so it sent one request.",
        )

    def _note(self, headline: str, text: str) -> None:
        self._events.append((headline, text))

    def _used_basis_points(self) -> int:
        budget = self.books.budget(POLICY)
        return int(budget.settled) * _FULL_BASIS_POINTS // int(budget.limit)

    def _add_up(self) -> Sums:
        sums = self.books.sums(self.served)
        _must(sums.agree, f"the books do not add up: {sums}")
        _must(sums.calls == len(self.served), f"{sums.calls} calls are booked, {len(self.served)} were served")
        return sums


def _must(condition: object, otherwise: str) -> None:
    if not condition:
        raise BooksError(otherwise)
