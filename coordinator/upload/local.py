# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads into a folder of this machine: a queue that is mounted, or one of the simulator's."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from coordinator.model import File
from coordinator.upload.incoming import CHUNK, bring, no_folder, refusal


class FolderUploader:
    """An Uploader into a folder. Files are on the disk before they have their name, and get the process's umask."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def upload(self, files: Sequence[tuple[File, Path]]) -> Iterator[str]:
        """Put the files there in that order; yields each name when it is whole. Raises UploadFailed."""
        if not self._folder.is_dir():
            raise no_folder("this machine", str(self._folder))
        incoming = _Folder(self._folder)
        for file, path in files:
            with path.open("rb") as source:
                try:
                    bring(incoming, file, source)
                except OSError as error:
                    raise refusal(str(self._folder), file.name, error) from error
            yield file.name


class _Folder:
    """The Incoming that is a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, name: str) -> int | None:
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, name: str, offset: int) -> Iterator[bytes]:
        with (self._root / name).open("rb") as file:
            file.seek(offset)
            while data := file.read(CHUNK):
                yield data

    def write(self, name: str, offset: int, source: BinaryIO) -> None:
        with (self._root / name).open("r+b" if offset else "wb") as file:
            file.seek(offset)
            shutil.copyfileobj(source, file, CHUNK)
            file.flush()
            os.fsync(file.fileno())

    def place(self, part: str, name: str) -> None:
        (self._root / part).replace(self._root / name)
        descriptor = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def discard(self, name: str) -> None:
        with suppress(OSError):
            (self._root / name).unlink()
