"""Writes what the ledger books of an admission: one text of JSON, which Envoy puts into the line of the call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import orjson

from services.kernel.spool_contract import AdmittedKey
from services.quota.domain.identity.attribution import Attribution
from services.quota.transport.check_request import Check
from services.quota.transport.names_wire import join_names
from services.quota.usecases.admit import Admitted

_MAX_REMEMBERED = 4_096
# To format a member of an enumeration takes a microsecond, so the names are written once.
_OF_RESERVATION = (
    f'"{AdmittedKey.RESERVATION}":"%s",'
    f'"{AdmittedKey.EXPECTED_INPUT_TOKENS}":%d,"{AdmittedKey.EXPECTED_OUTPUT_TOKENS}":%d,'
    f'"{AdmittedKey.ANSWER_TOKENS}":%d,"{AdmittedKey.ANSWER_MICROTOKENS_PER_BYTE}":%d,'
    f'"{AdmittedKey.HELD_OUTPUT_TOKENS}":%d'
)
_HELD_INPUT = f'"{AdmittedKey.HELD_INPUT_TOKENS}":%d'


def write_members(admitted: Admitted, check: Check) -> list[str]:
    """Members of the JSON object that differ from call to call, and those of the key."""
    reservation, answer, admission = admitted.reservation, admitted.answer, admitted.admission
    facts, most = admission.facts, admission.most
    members = [
        _members_of_key(reservation.attribution),
        _OF_RESERVATION
        % (
            reservation.id,
            reservation.expected_input_tokens,
            reservation.expected_output_tokens,
            answer.per_call,
            answer.per_byte_micro,
            most.output,
        ),
    ]
    texts: dict[AdmittedKey, str] = {}
    if facts.unknown_members:
        texts[AdmittedKey.UNKNOWN_MEMBERS] = join_names(facts.unknown_members)
    if facts.price_options:
        texts[AdmittedKey.PRICE_OPTIONS] = join_names(facts.price_options)
    if not texts:
        # Otherwise tokens do not bound the cost of an attempt.
        members.append(_HELD_INPUT % most.input)
    if admission.left_out:
        texts[AdmittedKey.LEFT_OUT] = join_names(
            tuple([f"{each.target}={'+'.join(each.lacks)}" for each in admission.left_out])
        )
    if check.tags:
        texts[AdmittedKey.TAGS] = check.tags
    if check.run:
        texts[AdmittedKey.RUN] = check.run
    if admission.limit_statuses:
        members.append(_member_of_policy(admission.limit_statuses[0].policy))
    if texts:
        members.append(_members(texts))
    return members


def write_members_of_route(admitted: Admitted) -> str:
    """Members that are the same for all calls of one model and chain."""
    targets = [attempt.fit.target for attempt in admitted.chain]
    texts = {
        AdmittedKey.MODEL: admitted.reservation.model,
        AdmittedKey.DECISION: "downgrade" if admitted.downgraded else "allow",
        AdmittedKey.DOWNGRADED: admitted.lead_reason or "",
        AdmittedKey.CHAIN: ",".join(target.name for target in targets),
        AdmittedKey.STOPS_ON_DISCONNECT: ",".join(target.name for target in targets if target.stops_on_disconnect),
    }
    return _members(texts)


# Each key has one, and the line of each of its calls has it.
@lru_cache(maxsize=_MAX_REMEMBERED)
def _members_of_key(attribution: Attribution) -> str:
    texts = {
        AdmittedKey.KEY_ID: attribution.key_id,
        AdmittedKey.KEY: attribution.key,
        AdmittedKey.TEAM: attribution.team,
        AdmittedKey.PROJECT: attribution.project,
        AdmittedKey.ENVIRONMENT: attribution.environment,
        AdmittedKey.USER: attribution.user,
    }
    return _members(texts)


@lru_cache(maxsize=_MAX_REMEMBERED)
def _member_of_policy(policy: str) -> str:
    return _members({AdmittedKey.POLICY: policy})


def _members(texts: Mapping[AdmittedKey, str]) -> str:
    """The texts that are not empty, as JSON without its braces."""
    return orjson.dumps({key.value: text for key, text in texts.items() if text}).decode()[1:-1]
