# SPDX-License-Identifier: GPL-3.0-or-later
"""What a farm remembers of the hosts that workers were added on: a file for each in `hosts/`, and the pinned host keys.

Nothing in it is secret; the private key that a tunnel logs in with is named and stays where it is.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from coordinator.embedded import preparation
from coordinator.errors import PatchfarmError
from coordinator.remote.address import Address
from workers.wire.codec import WireError, decode, encode


class Keeper(StrEnum):
    """Who starts the worker: the machine's systemd, that of the login's account, or nobody but us."""

    SYSTEM = "systemd"
    USER = "systemd --user"
    NONE = "none"


@dataclass(frozen=True)
class Host:
    """A worker that was added. `keeper` is what keeps it running there, `folder` where everything of it is.

    `home` and `uid` are those of the account that it runs as.
    `tunnel` is whether the worker reaches the farm through one; `identity` is the private key to log in with, empty for
    those that OpenSSH tries by itself.
    """

    worker: str
    address: Address
    folder: str
    keeper: Keeper
    home: str
    uid: int
    tunnel: bool
    identity: str


class Book:
    """The folder `hosts/` of a farm's home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def known_hosts(self) -> Path:
        """The file of pinned keys, in the form of OpenSSH's own."""
        return self.folder / "known_hosts"

    def find(self, worker: str) -> Host | None:
        """What is remembered of a worker. Raises PatchfarmError where it cannot be read."""
        path = self._place(worker)
        if not path.exists():
            return None
        try:
            return decode(Host, path.read_bytes())
        except (OSError, WireError) as error:
            raise PatchfarmError(
                f"{path} cannot be read: {error}",
                f"Remove it and add the worker again: `patchfarm worker add --name {worker}`.",
            ) from error

    def keep(self, host: Host) -> None:
        """Remember it in the place of what was known."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        preparation.write(self._place(host.worker), encode(host) + "\n")

    def forget(self, worker: str) -> None:
        """The pinned key stays: it is the host's and not the worker's."""
        self._place(worker).unlink(missing_ok=True)

    def pin(self, line: str) -> None:
        """Add a host key."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = self.known_hosts.read_text() if self.known_hosts.exists() else ""
        preparation.write(self.known_hosts, f"{known}{line}\n")

    def _place(self, worker: str) -> Path:
        return self.folder / f"{worker}.json"
