# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads by SFTP into a target's incoming queue. One connection for each upload, and none is kept.

paramiko's own put() is not used: it knows no resuming, and looks at the final name after the queue may have taken it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from paramiko import Channel, SFTPClient, SFTPError, SSHException

from coordinator.config import TargetSettings
from coordinator.errors import UploadFailed
from coordinator.model import File
from coordinator.upload.incoming import CHUNK, bring, no_folder, refusal
from coordinator.upload.ssh import address, connected, opened

#: How long the target may say nothing, in seconds.
_PATIENCE = 60.0
#: How much is asked for before the first answer is read: enough for a distant server, and all that is held in memory.
_AHEAD = 2**21
#: What paramiko raises when the connection breaks; a closed channel is an OSError like any other.
_CUT = (SSHException, SFTPError, EOFError)
_GOES_ON = "Check the network and the target's SSH server; `patchfarm retry N` goes on where it stopped."


class SftpUploader:
    """An Uploader to an SSH server whose host key is pinned."""

    def __init__(self, target: TargetSettings, patience: float = _PATIENCE) -> None:
        self._target = target
        self._patience = patience

    def upload(self, files: Sequence[tuple[File, Path]]) -> Iterator[str]:
        """Send the files in that order; yields each name when it is whole. Raises UploadFailed."""
        with connected(self._target, self._patience) as client:
            channel, sftp = opened(client, self._target, self._patience)
            with _explained(channel, self._target, "the upload"):
                _check_folder(sftp, self._target)
            incoming = _Remote(channel, sftp, PurePosixPath(self._target.incoming))
            for file, path in files:
                with path.open("rb") as source, _explained(channel, self._target, file.name):
                    bring(incoming, file, source)
                yield file.name


class _Remote:
    """The Incoming that is a folder of a server."""

    def __init__(self, channel: Channel, sftp: SFTPClient, root: PurePosixPath) -> None:
        self._channel = channel
        self._sftp = sftp
        self._root = root

    def size(self, name: str) -> int | None:
        try:
            return self._sftp.stat(self._path(name)).st_size or 0
        except FileNotFoundError:
            return None

    def read(self, name: str, offset: int) -> Iterator[bytes]:
        with self._sftp.open(self._path(name), "rb") as file:
            size = file.stat().st_size or 0
            file.seek(offset)
            # Window by window: paramiko's own limit on requests under way spins for ever when the connection breaks.
            for start in range(offset, size, _AHEAD):
                file.prefetch(min(start + _AHEAD, size))
                yield file.read(_AHEAD)

    def write(self, name: str, offset: int, source: BinaryIO) -> None:
        with self._sftp.open(self._path(name), "r+b" if offset else "wb") as file:
            file.seek(offset)
            file.set_pipelined(True)
            data = source.read(CHUNK)
            while data:
                following = source.read(CHUNK)
                # close() drops the answers that are still to come, refusals too; a write that waits collects them all.
                file.set_pipelined(bool(following))
                file.write(data)
                data = following

    def place(self, part: str, name: str) -> None:
        try:
            self._sftp.posix_rename(self._path(part), self._path(name))
        except OSError:
            # An extension of OpenSSH's, which not every server has; SFTP itself replaces nothing.
            with suppress(FileNotFoundError):
                self._sftp.remove(self._path(name))
            self._sftp.rename(self._path(part), self._path(name))

    def discard(self, name: str) -> None:
        if not self._channel.closed:
            with suppress(OSError, *_CUT):
                self._sftp.remove(self._path(name))

    def _path(self, name: str) -> str:
        return str(self._root / name)


def _check_folder(sftp: SFTPClient, target: TargetSettings) -> None:
    try:
        sftp.stat(target.incoming or ".")
    except FileNotFoundError as error:
        raise no_folder(address(target), target.incoming) from error


@contextmanager
def _explained(channel: Channel, target: TargetSettings, what: str) -> Iterator[None]:
    """Raises UploadFailed for everything the connection or the server may do."""
    where = address(target)
    try:
        yield
    except TimeoutError as error:
        raise UploadFailed(f"{where} stopped answering during {what}", _GOES_ON) from error
    except _CUT as error:
        raise UploadFailed(f"the connection to {where} broke during {what}", _GOES_ON) from error
    except OSError as error:
        if channel.closed:
            raise UploadFailed(f"the connection to {where} broke during {what}", _GOES_ON) from error
        raise refusal(where, what, error) from error
