"""The descriptors of our own API, which Envoy uses to translate the REST form of the admin services."""

from __future__ import annotations

from importlib import resources

import spendgate

_FILE = "descriptors.binpb"


def load_descriptors() -> bytes:
    """Returns the serialized FileDescriptorSet that was generated with the stubs, including imports."""
    return resources.files(spendgate).joinpath(_FILE).read_bytes()
