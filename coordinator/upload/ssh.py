# SPDX-License-Identifier: GPL-3.0-or-later
"""Connects to a target by SSH, and says in one sentence why it cannot.

Only the farm's own known_hosts and its own key count: never the system's, the user's, an agent's or a password. A host
key is never learnt by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

from paramiko import (
    AuthenticationException,
    BadHostKeyException,
    Channel,
    PKey,
    RejectPolicy,
    SFTPClient,
    SSHClient,
    SSHException,
)
from paramiko.hostkeys import InvalidHostKey
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import IncompatiblePeer

from coordinator.config import TargetSettings
from coordinator.errors import UploadFailed

#: Seconds between two signs of life, so that a firewall does not forget the connection.
_KEEPALIVE = 15
_REACH = "Check the target's `host` and `port` in farm.toml, the network, and that its SSH server runs."


def address(target: TargetSettings) -> str:
    """How messages name a target."""
    return f"{target.host}:{target.port}"


@contextmanager
def connected(target: TargetSettings, patience: float) -> Iterator[SSHClient]:
    """A connection to the pinned server, let in by the farm's key. Raises UploadFailed; `patience` is in seconds."""
    with SSHClient() as client:
        client.set_missing_host_key_policy(_Pinned(target))
        _pin(client, target)
        key = _key(target)
        try:
            client.connect(
                target.host,
                target.port,
                target.user or None,
                pkey=key,
                allow_agent=False,
                look_for_keys=False,
                timeout=patience,
                banner_timeout=patience,
                auth_timeout=patience,
                channel_timeout=patience,
            )
        except (SSHException, EOFError, OSError) as error:
            raise _explained(target, error) from error
        yield client


def opened(client: SSHClient, target: TargetSettings, patience: float) -> tuple[Channel, SFTPClient]:
    """An SFTP session. Not by open_sftp(), which has no time limit. Raises UploadFailed."""
    transport = client.get_transport()
    if transport is None:
        raise _no_session(target)
    try:
        transport.set_keepalive(_KEEPALIVE)
        channel = transport.open_session(timeout=patience)
        channel.settimeout(patience)
        channel.invoke_subsystem("sftp")
        return channel, SFTPClient(channel)
    except (SSHException, EOFError, OSError) as error:
        raise _no_session(target) from error


class _Pinned(RejectPolicy):
    """Refuses a server that nobody pinned, and says which key it shows."""

    def __init__(self, target: TargetSettings) -> None:
        self._target = target

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> Never:  # noqa: ARG002  # paramiko calls it so
        raise UploadFailed(
            f"no host key is pinned for {hostname}, which shows {key.fingerprint}",
            f"Compare it with what the target's administrators say, add the key to {self._target.known_hosts}, "
            "then `patchfarm retry N`.",
        )


def _pin(client: SSHClient, target: TargetSettings) -> None:
    if target.known_hosts is None:
        raise UploadFailed(
            f"no host keys are pinned for {address(target)}",
            "Name a file with the target's host key as `known_hosts` in farm.toml, then `patchfarm retry N`.",
        )
    try:
        client.load_host_keys(target.known_hosts)
    except (OSError, ValueError, InvalidHostKey) as error:
        raise UploadFailed(
            f"the pinned host keys in {target.known_hosts} cannot be read",
            "Put the target's host key there as known_hosts(5) lines have it, then `patchfarm retry N`.",
        ) from error


def _key(target: TargetSettings) -> PKey:
    if target.identity is None:
        raise UploadFailed(
            f"no key is set to upload to {address(target)} with",
            "Name a private key as `identity` of the target in farm.toml, then `patchfarm retry N`.",
        )
    return _opened_key(target.identity)


def _opened_key(path: Path) -> PKey:
    try:
        return PKey.from_path(path)
    except (OSError, ValueError, TypeError, SSHException, UnknownKeyType) as error:
        raise UploadFailed(
            f"the upload key {path} cannot be used",
            "It must be a private key that the engine can read, without a passphrase (`ssh-keygen -p` takes it away).",
        ) from error


def _no_session(target: TargetSettings) -> UploadFailed:
    return UploadFailed(
        f"{address(target)} lets the farm in but opens no SFTP session",
        "Let its SSH server offer the subsystem sftp to the farm's user, then `patchfarm retry N`.",
    )


def _explained(target: TargetSettings, error: Exception) -> UploadFailed:
    where = address(target)
    match error:
        case BadHostKeyException():
            return UploadFailed(
                f"{where} shows the host key {error.key.fingerprint}, and another one is pinned",
                "Somebody may stand between. Ask the target's administrators; only if they changed their key, "
                f"replace it in {target.known_hosts}.",
            )
        case AuthenticationException():
            return UploadFailed(
                f"{where} does not let the farm in with the key {target.identity}",
                "Check the target's `user` in farm.toml, and that the key's public half is in that user's "
                "authorized_keys.",
            )
        case IncompatiblePeer():
            return UploadFailed(
                f"{where} and the farm have no algorithm in common: it may offer nothing newer than SHA-1",
                "SHA-1 is not supported any more; the target's SSH server must be brought up to date.",
            )
        case TimeoutError():
            return UploadFailed(f"{where} does not answer", _REACH)
        case OSError():
            return UploadFailed(f"{where} cannot be reached: {error.strerror or error}", _REACH)
        case _:
            return UploadFailed(f"no SSH connection to {where} came about: {error}", _REACH)
