# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the engine's own disk has room, for what no limit of a container counts.

No engine counts a container's files, only what is in them; nor what root writes to /etc/hosts, /etc/hostname and
/etc/resolv.conf, which are no part of its layer. One such container must not take the last of it from all others. It is
seen only where the engine is on the worker's own machine.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import docker

#: What has to stay free: this share of the bytes, or so many where that is less; and this share of the files.
_SHARE: Final = 0.01
_BYTES: Final = 1 << 30
#: What the SDK calls the address of an engine on a Unix socket.
_ON_A_SOCKET: Final = "http+docker://localhost"


Look = Callable[[Path], os.statvfs_result]


def lacking(folder: Path, look: Look = os.statvfs) -> str:
    """What the file system of a folder has too little of, for people; nothing where that is not so, or not known."""
    try:
        found = look(folder)
    except OSError:
        return ""
    free = found.f_bavail * found.f_frsize
    if free < min(_BYTES, _SHARE * found.f_blocks * found.f_frsize):
        return f"{free >> 20} MiB are free"
    # Some file systems count none.
    if found.f_favail < _SHARE * found.f_files:
        return f"there is room for {found.f_favail} files"
    return ""


def of_engine(client: docker.DockerClient, look: Look = os.statvfs) -> Callable[[], str]:
    """Asks for what the engine lacks, as `lacking` says it. Raises what the SDK does."""
    # An engine on another machine has its folder there, whatever this one has under that name.
    folder = client.api.info().get("DockerRootDir") if client.api.base_url == _ON_A_SOCKET else None
    return lambda: lacking(Path(folder), look) if folder else ""
