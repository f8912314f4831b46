from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from spendgate.quota.v1 import quota_service_pb2 as pb

from services.cli.repeating import Repeating

REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: "
    "connect: Connection refused (111)"
)
NO_UPSTREAM = (
    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport "
    "failure reason: delayed connect error: Connection refused"
)


@dataclass
class Ended:
    """A finished call."""

    status: grpc.StatusCode
    text: str = ""

    def code(self) -> grpc.StatusCode:
        return self.status

    def details(self) -> str:
        return self.text


OK = Ended(grpc.StatusCode.OK)
AWAY = Ended(grpc.StatusCode.UNAVAILABLE, NO_UPSTREAM)


@dataclass
class Service:
    """Ends calls as told, the last way for ever."""

    ends: list[Ended]
    requests: list[Any] = field(default_factory=list)

    def send(self, request: Message, *, repetitions: int = 4) -> Any:
        return Repeating([0.0] * repetitions).intercept_unary_unary(self._take, None, request)

    def _take(self, _details: Any, request: Message) -> Ended:
        self.requests.append(request)
        return self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]

    def ids(self) -> list[str]:
        return [request.request_id for request in self.requests]


@pytest.mark.parametrize(
    "lost",
    [
        AWAY,
        Ended(grpc.StatusCode.UNAVAILABLE, "Socket closed"),
        Ended(grpc.StatusCode.UNAVAILABLE, "recvmsg:Connection reset by peer"),
        Ended(grpc.StatusCode.UNAVAILABLE, "another process changed the directory at the same time: try again"),
        Ended(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
        Ended(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
        Ended(grpc.StatusCode.CANCELLED, "Received RST_STREAM with error code 8"),
    ],
)
def test_a_change_whose_answer_may_be_lost_is_sent_again_with_the_same_id(lost: Ended) -> None:
    service = Service([lost, AWAY, OK])

    assert service.send(pb.RotateVirtualKeyRequest(name="ci")) is OK
    assert len(set(service.ids())) == 1
    assert uuid.UUID(service.ids()[0]).version == 4
    assert [request.name for request in service.requests] == ["ci"] * 3


@pytest.mark.parametrize(
    "ended",
    [
        OK,
        Ended(grpc.StatusCode.ALREADY_EXISTS, "there is a virtual key 'ci' already"),
        Ended(grpc.StatusCode.UNAUTHENTICATED, "no such token"),
        Ended(grpc.StatusCode.INTERNAL, "something went wrong"),
        Ended(grpc.StatusCode.UNIMPLEMENTED, ""),
    ],
)
def test_an_answer_is_an_answer(ended: Ended) -> None:
    service = Service([ended, OK])

    assert service.send(pb.RotateVirtualKeyRequest(name="ci")) is ended
    assert len(service.requests) == 1


def test_where_nothing_listens_the_user_is_told_so_at_once() -> None:
    service = Service([Ended(grpc.StatusCode.UNAVAILABLE, REFUSED), OK])

    assert service.send(pb.RotateVirtualKeyRequest(name="ci")) is not OK
    assert len(service.requests) == 1


def test_once_something_listened_a_refused_connection_is_a_restart() -> None:
    service = Service([AWAY, Ended(grpc.StatusCode.UNAVAILABLE, REFUSED), OK])

    assert service.send(pb.RotateVirtualKeyRequest(name="ci")) is OK


def test_it_gives_up_with_the_last_error() -> None:
    service = Service([AWAY])

    assert service.send(pb.RotateVirtualKeyRequest(name="ci"), repetitions=3) is AWAY
    assert len(service.requests) == 4


def test_two_commands_are_two_changes_even_with_one_message() -> None:
    service, request = Service([OK]), pb.RotateVirtualKeyRequest(name="ci")
    service.send(request)
    service.send(request)

    assert len(set(service.ids())) == 2
    assert request.request_id == ""


def test_an_id_of_the_callers_own_stays() -> None:
    service, chosen = Service([OK]), str(uuid.uuid4())
    service.send(pb.RotateVirtualKeyRequest(name="ci", request_id=chosen))

    assert service.ids() == [chosen]


def test_a_question_is_sent_once_and_as_it_is() -> None:
    service, request = Service([AWAY, OK]), pb.ListBudgetsRequest()

    assert service.send(request) is AWAY
    assert service.requests == [request]
