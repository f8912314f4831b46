"""Turns our errors into gRPC status, with the details of Google's API guide (AIP-193)."""

from __future__ import annotations

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from services.kernel.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    PermissionDenied,
    SpendgateError,
    Unavailable,
)

DOMAIN = "spendgate"
DETAILS_KEY = "grpc-status-details-bin"

_CODES: dict[type[SpendgateError], tuple[grpc.StatusCode, int]] = {
    InvalidInput: (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    PermissionDenied: (grpc.StatusCode.PERMISSION_DENIED, code_pb2.PERMISSION_DENIED),
    NotFound: (grpc.StatusCode.NOT_FOUND, code_pb2.NOT_FOUND),
    AlreadyExists: (grpc.StatusCode.ALREADY_EXISTS, code_pb2.ALREADY_EXISTS),
    FailedPrecondition: (grpc.StatusCode.FAILED_PRECONDITION, code_pb2.FAILED_PRECONDITION),
    Unavailable: (grpc.StatusCode.UNAVAILABLE, code_pb2.UNAVAILABLE),
}
_INTERNAL = (grpc.StatusCode.INTERNAL, code_pb2.INTERNAL)


def status_of(error: SpendgateError) -> tuple[grpc.StatusCode, status_pb2.Status]:
    """Returns the gRPC code, and the rich status for the trailer `grpc-status-details-bin`."""
    code, number = next((codes for kind, codes in _CODES.items() if isinstance(error, kind)), _INTERNAL)
    status = status_pb2.Status(code=number, message=str(error))
    _add(status, error_details_pb2.ErrorInfo(reason=_reason(error), domain=DOMAIN))
    if isinstance(error, InvalidInput):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.problem)
        _add(status, error_details_pb2.BadRequest(field_violations=[violation]))
    return code, status


def _add(status: status_pb2.Status, detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _reason(error: SpendgateError) -> str:
    """Converts to upper snake case, as ErrorInfo expects: InvalidInput -> INVALID_INPUT."""
    name = type(error).__name__
    return "".join(f"_{letter}" if letter.isupper() and at else letter for at, letter in enumerate(name)).upper()
