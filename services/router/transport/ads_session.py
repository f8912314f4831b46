"""The state of one ADS stream (state-of-the-world variant): what an Envoy requested, got and acknowledged.

The rules are those of https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol. A request repeats the nonce of
the response that it answers. With an `error_detail` it refuses that response, otherwise it acknowledges it. A request
with an older nonce is out of date and says nothing. A request with other names than before asks for an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf import any_pb2
from google.protobuf.message import Message
from spendgate_envoy.envoy.service.discovery.v3 import discovery_pb2

from services.router.usecases.publish import Version

_PREFIX = "type.googleapis.com/"
CLUSTER_TYPE = f"{_PREFIX}envoy.config.cluster.v3.Cluster"
SECRET_TYPE = f"{_PREFIX}envoy.extensions.transport_sockets.tls.v3.Secret"
LISTENER_TYPE = f"{_PREFIX}envoy.config.listener.v3.Listener"
ROUTE_TYPE = f"{_PREFIX}envoy.config.route.v3.RouteConfiguration"

# Resources are sent before the resources that refer to them.
PUSH_ORDER = (CLUSTER_TYPE, SECRET_TYPE, LISTENER_TYPE, ROUTE_TYPE)
# An Envoy requests all resources of these types. Of the others it requests those that it has seen named.
_WILDCARD_TYPES = frozenset({CLUSTER_TYPE, LISTENER_TYPE})

Contents = Mapping[str, bytes]
"""Serialized resources of one type, by name."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A version in the form for one Envoy: contents by type URL."""

    version: Version
    contents: Mapping[str, Contents]


def render(version: Version, resources: Mapping[str, Mapping[str, Message]]) -> Rendering:
    """Serializes resources. Equal resources become equal bytes."""
    contents = {
        type_url: {name: message.SerializeToString(deterministic=True) for name, message in by_name.items()}
        for type_url, by_name in resources.items()
    }
    return Rendering(version, contents)


@dataclass(slots=True)
class _Subscription:
    """One type of resources on one stream."""

    type_url: str
    names: frozenset[str] = frozenset()
    nonce: str = ""
    sent: Contents | None = None
    acknowledged: Contents | None = None
    answer_due: bool = True

    @property
    def wants_all(self) -> bool:
        return self.type_url in _WILDCARD_TYPES and (not self.names or "*" in self.names)

    def select(self, contents: Contents) -> Contents:
        if self.wants_all:
            return contents
        return {name: contents[name] for name in sorted(self.names) if name in contents}


@dataclass(slots=True)
class Session:
    """What one Envoy requested, got and acknowledged."""

    _subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    _nonces: int = 0

    def receive(self, request: discovery_pb2.DiscoveryRequest) -> str | None:
        """Processes a request. Returns the reason if it refuses what was last sent."""
        if request.type_url not in PUSH_ORDER:
            return None
        names = frozenset(request.resource_names)
        subscription = self._subscriptions.get(request.type_url)
        if subscription is None:
            self._subscriptions[request.type_url] = _Subscription(request.type_url, names)
            return None
        if request.response_nonce != subscription.nonce:
            return None
        if names != subscription.names:
            subscription.names = names
            subscription.answer_due = True
        if request.HasField("error_detail"):
            kind = request.type_url.rpartition(".")[2]
            return f"{kind}: {request.error_detail.message}"
        subscription.acknowledged = subscription.sent
        return None

    def due(self, rendering: Rendering) -> Iterator[discovery_pb2.DiscoveryResponse]:
        """Yields the responses that are due now, in order. Does not resend what the Envoy already has."""
        for type_url in PUSH_ORDER:
            subscription = self._subscriptions.get(type_url)
            if subscription is None:
                continue
            selected = subscription.select(rendering.contents.get(type_url, {}))
            if not subscription.answer_due and selected == subscription.sent:
                continue
            subscription.answer_due = False
            # An answer without the one requested secret would say nothing.
            if selected or subscription.wants_all:
                yield self._respond(subscription, rendering.version.snapshot.version, selected)

    def holds(self, rendering: Rendering) -> bool:
        """Whether the Envoy acknowledged everything in `rendering`, including secrets that its clusters wait for."""
        return all(self._holds(type_url, rendering.contents.get(type_url, {})) for type_url in PUSH_ORDER)

    def _holds(self, type_url: str, contents: Contents) -> bool:
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            return not contents and type_url not in _WILDCARD_TYPES
        if not contents and not subscription.wants_all:
            return True
        return subscription.acknowledged == contents

    def _respond(
        self, subscription: _Subscription, version: str, selected: Contents
    ) -> discovery_pb2.DiscoveryResponse:
        self._nonces += 1
        subscription.nonce = str(self._nonces)
        subscription.sent = selected
        return discovery_pb2.DiscoveryResponse(
            version_info=version,
            type_url=subscription.type_url,
            nonce=subscription.nonce,
            resources=[any_pb2.Any(type_url=subscription.type_url, value=value) for value in selected.values()],
        )
