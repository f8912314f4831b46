from __future__ import annotations

import grpc
from google.rpc import error_details_pb2

from services.chassis.status import status_of
from services.kernel.errors import AlreadyExists, InvalidInput, NotFound, SpendgateError


def test_invalid_input_names_its_field_in_a_bad_request_detail() -> None:
    code, status = status_of(InvalidInput("policies[0].limits", "write at least one limit"))
    violations = error_details_pb2.BadRequest()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert status.details[1].Unpack(violations)
    assert violations.field_violations[0].field == "policies[0].limits"
    assert violations.field_violations[0].description == "write at least one limit"


def test_every_error_carries_a_reason_in_upper_snake_case() -> None:
    info = error_details_pb2.ErrorInfo()
    _, status = status_of(AlreadyExists("a key named x exists: choose another name"))
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("ALREADY_EXISTS", "spendgate")


def test_codes_follow_the_kind_of_error() -> None:
    assert status_of(NotFound("no key named x"))[0] is grpc.StatusCode.NOT_FOUND
    assert status_of(SpendgateError("?"))[0] is grpc.StatusCode.INTERNAL
