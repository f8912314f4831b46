"""The descriptors of our own API, from which Envoy translates the REST form of the admin services."""

from __future__ import annotations

from importlib import resources

import spendgate

_FILE = "descriptors.binpb"


def load_descriptors() -> bytes:
    """The serialized FileDescriptorSet that was generated with the stubs, imports included."""
    return resources.files(spendgate).joinpath(_FILE).read_bytes()
