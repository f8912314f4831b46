"""The process that sends alerts: `python -m services.ledger.adapters.courier_process`.

It reads one list of parcels as JSON from its standard input, sends them side by side, and writes a line of JSON as soon
as it knows what became of one, to its standard output and to a journal, which is locked while it lives:
{"id": ..., "problem": null or why it did not arrive, "for_good": whether the receiver wants nothing more}.

A webhook gets a signed POST: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
Everything else is an address of Apprise: https://github.com/caronc/apprise/wiki.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import httpx
from standardwebhooks import Webhook

from services.chassis.process import SystemClock

_AT_ONCE = 8
_TIMEOUT_S = 15.0
_GONE = 410

Parcel = Mapping[str, Any]
Result = tuple[str | None, bool]
"""Why a parcel did not arrive, and whether the receiver wants nothing more."""

_ARRIVED: Result = (None, False)


def send(parcel: Parcel) -> Result:
    """Sends one parcel."""
    return _post(parcel) if parcel["webhook"] else _notify(parcel)


def _post(parcel: Parcel) -> Result:
    happened_at = _moment(parcel["created_ms"])
    data = {"title": parcel["title"], "text": parcel["text"], **parcel["data"]}
    body = json.dumps({"type": parcel["kind"], "timestamp": happened_at.isoformat(), "data": data})
    try:
        headers = _signed(parcel["id"], body, parcel["secret"])
    except ValueError as error:
        return str(error), False
    try:
        answer = httpx.post(parcel["webhook"], content=body, headers=headers, timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        # Its text may quote the address, which may hold a secret.
        return f"no answer: {type(error).__name__}", False
    if answer.is_success:
        return _ARRIVED
    if answer.is_redirect:
        return f"status {answer.status_code}: redirects are not followed", False
    return f"status {answer.status_code}", answer.status_code == _GONE


def _signed(parcel_id: str, body: str, secret: str) -> dict[str, str]:
    now = _moment(SystemClock().now_ms())
    headers = {
        "content-type": "application/json",
        "user-agent": "spendgate",
        "webhook-id": parcel_id,
        "webhook-timestamp": str(int(now.timestamp())),
    }
    if secret:
        try:
            letters = secret.removeprefix("whsec_").rstrip("=")
            base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError("the secret to sign with must be base64, with or without whsec_ before it") from error
        headers["webhook-signature"] = Webhook(secret).sign(parcel_id, now, body)
    return headers


def _moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _notify(parcel: Parcel) -> Result:
    # It takes a third of a second, and a webhook needs none of it.
    from apprise import Apprise, NotifyFormat, NotifyType  # noqa: PLC0415
    from apprise.logger import logger  # noqa: PLC0415

    # What it logs may quote an address with a secret.
    logger.disabled = True
    channel = Apprise()
    if not channel.add(parcel["url"]):
        return "Apprise does not know such an address: https://github.com/caronc/apprise/wiki lists all", False
    words = {"title": f"Spendgate: {parcel['title']}", "body": parcel["text"]}
    kind, form = NotifyType.WARNING, NotifyFormat.TEXT
    if channel.notify(**words, notify_type=kind, body_format=form, timeout=_TIMEOUT_S):
        return _ARRIVED
    return "the service did not take it: check the address, and whether it can be reached from here", False


def main() -> None:
    """Sends what standard input has.

    Arguments: the file descriptor of the journal, and the seconds after which this process ends itself.
    """
    journal_number, timeout_s = map(int, sys.argv[1:])
    signal.alarm(timeout_s)
    turn = Lock()
    parcels = json.load(sys.stdin)
    with os.fdopen(journal_number, "w") as journal:

        def attempt(parcel: Parcel) -> None:
            try:
                problem, for_good = send(parcel)
            except Exception as error:  # noqa: BLE001  (a plugin's mistake must not keep the others from arriving)
                problem, for_good = f"sending failed: {type(error).__name__}", False
            line = json.dumps({"id": parcel["id"], "problem": problem, "for_good": for_good}) + "\n"
            with turn:
                journal.write(line)
                journal.flush()
                # If the ledger was killed, nobody reads this any more.
                with suppress(BrokenPipeError):
                    sys.stdout.write(line)
                    sys.stdout.flush()

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(attempt, parcels))


if __name__ == "__main__":
    main()
