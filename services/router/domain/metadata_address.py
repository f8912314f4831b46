"""Addresses at which clouds hand out credentials to whoever asks from inside. None of them is ever a provider.

A gateway that fetches any given URL can be made to ask them. An address has many spellings and may stand within
another one; `readings` decodes those within IPv6.
"""

from __future__ import annotations

import ipaddress

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        # Link-local: AWS, Azure, Google, Oracle, DigitalOcean, Hetzner, OpenStack, and the tasks of ECS and EKS.
        "169.254.0.0/16",
        "fe80::/10",
        # Azure's platform: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "168.63.129.16/32",
        # Alibaba Cloud: https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
        "100.100.100.200/32",
        # Oracle Cloud, on older images.
        "192.0.0.192/32",
        # AWS over IPv6: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
        "fd00:ec2::/32",
        # Google over IPv6: https://cloud.google.com/compute/docs/metadata/querying-metadata
        "fd20:ce::254/128",
        # Scaleway over IPv6.
        "fd00:42::42/128",
    )
)
_NAMES = ("metadata", "instance-data")
_DOMAINS = ("metadata.google.internal", "metadata.goog", "instance-data.ec2.internal", "metadata.tencentyun.com")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


def is_metadata_address(address: IpAddress) -> bool:
    """Whether the address, or one within it, belongs to a cloud's metadata service."""
    return any(one in network for one in readings(address) for network in _NETWORKS)


def is_metadata_name(host: str) -> bool:
    """Whether clouds give this name to their metadata service. Names differ neither by case nor by a dot at the end."""
    name = host.removesuffix(".").lower()
    return name in _NAMES or any(name == domain or name.endswith(f".{domain}") for domain in _DOMAINS)


def readings(address: IpAddress) -> list[IpAddress]:
    """Returns the address, and the IPv4 addresses that are embedded in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or address in _LOCAL_NAT64 or int(address) < 1 << 32:
        embedded.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return [address, *(one for one in embedded if one is not None)]
