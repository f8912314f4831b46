"""`spendgate.quota.v1.RecipientService`: tells the ledger whom to tell."""

from __future__ import annotations

from functools import partial

import grpc
from spendgate.quota.v1 import recipient_service_pb2 as pb
from spendgate.quota.v1 import recipient_service_pb2_grpc as pb_grpc

from services.chassis.grpc_server import Registration
from services.quota.usecases.recipients import ListRecipients

SERVICE = "spendgate.quota.v1.RecipientService"


class RecipientService(pb_grpc.RecipientServiceServicer):
    """Parses the request and asks the use case."""

    def __init__(self, list_recipients: ListRecipients) -> None:
        self._list_recipients = list_recipients

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        return Registration(SERVICE, partial(pb_grpc.add_RecipientServiceServicer_to_server, self))

    def ListRecipients(
        self, request: pb.ListRecipientsRequest, context: grpc.ServicerContext
    ) -> pb.ListRecipientsResponse:
        """Lists the channels of the policies that bind calls for a model."""
        return pb.ListRecipientsResponse(channels=self._list_recipients(request.model))
