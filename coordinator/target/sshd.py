# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded archive's door: an OpenSSH server that lets one key transfer files. No shell, terminal or forwarding.

SFTP begins in the archive's folder and is not kept there: the key can read and write what the server's account can.
A server of its own, apart from the machine's: it reads no file of the system's and changes none.
"""

import getpass
import os
import subprocess
from pathlib import Path

from coordinator.errors import PatchfarmError


def prepare(root: Path, identity: Path, known_hosts: Path, port: int, host: str = "127.0.0.1") -> None:
    """Make the keys of both sides and the server's configuration; what is there stays.

    It listens at `host` alone, the address or name that it is reached by.
    """
    host_key = root / "ssh_host_ed25519_key"
    for key, comment in ((host_key, "patchfarm target"), (identity, "patchfarm upload")):
        if not key.exists():
            _make_key(key, comment)
    allowed = f'restrict,command="internal-sftp -d {root}" {_public(identity)}'
    _write(root / "authorized_keys", f"{allowed}\n")
    _write(known_hosts, f"[{host}]:{port} {_public(host_key)}\n")
    _write(root / "sshd_config", _configuration(root, host_key, f"{host}:{port}"))


def command(sshd: Path, root: Path) -> tuple[str, ...]:
    """How the server is run: in the foreground, by its absolute path, which sshd insists on."""
    return (str(sshd), "-D", "-e", "-f", str(root / "sshd_config"))


def privileges() -> None:
    """As root, sshd wants a folder that systems without systemd do not have."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _configuration(root: Path, host_key: Path, address: str) -> str:
    lines = (
        f"ListenAddress {address}",
        f"HostKey {_quoted(host_key)}",
        f"AuthorizedKeysFile {_quoted(root / 'authorized_keys')}",
        f"AllowUsers {getpass.getuser()}",
        "PermitRootLogin forced-commands-only",
        "AuthenticationMethods publickey",
        "PubkeyAuthentication yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        # The folder is its owner's alone, but its parents may be a shared /tmp.
        "StrictModes no",
        "PidFile none",
        "DisableForwarding yes",
        "PermitTTY no",
        "PermitUserRC no",
        "PrintMotd no",
        "Subsystem sftp internal-sftp",
        "LogLevel VERBOSE",
    )
    return "".join(f"{line}\n" for line in lines)


def _quoted(path: Path) -> str:
    return f'"{path}"'


def _make_key(path: Path, comment: str) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise PatchfarmError(f"ssh-keygen made no key: {done.stderr.strip()[-200:]}")


def _public(key: Path) -> str:
    """A key's public half, without the comment."""
    return " ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2])


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
