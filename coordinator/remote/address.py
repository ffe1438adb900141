# SPDX-License-Identifier: GPL-3.0-or-later
"""`user@host:port`, checked so that no part can be taken for an option, a pattern or another part. Pure."""

import getpass
import re
from dataclasses import dataclass

from coordinator.errors import BadRequest

_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z_][A-Za-z0-9_.-]{0,31})@)?"
    r"(?:(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)|\[(?P<six>[0-9A-Fa-f:.]{2,45})\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class Address:
    """Where to log in, and as whom."""

    user: str
    host: str
    port: int = 22

    @property
    def known_as(self) -> str:
        """As sshd(8) names it in known_hosts."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" if self.port == 22 else f"{self.user}@{host}:{self.port}"


def address(text: str) -> Address:
    """Raises BadRequest. Without a user it is who asks, without a port SSH's own."""
    found = _ADDRESS.fullmatch(text)
    port = int(found["port"] or 22) if found else 0
    if found is None or not 0 < port < 65536:
        raise BadRequest(f"{text[:80]!r} is no host to log in to", "Write it as user@host or user@host:port.")
    return Address(found["user"] or getpass.getuser(), found["host"] or found["six"], port)


def name_of(where: Address) -> str:
    """What a worker there is called unless somebody says otherwise: the host, without its domain."""
    host = where.host.lower()
    if re.fullmatch(r"[0-9.]+|.*:.*", host):
        return host.replace(":", "-").strip("-")
    return host.partition(".")[0]
