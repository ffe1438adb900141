# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings bytes from an archive's address, http, https or file. Checks nothing but sizes: callers compare digests.

Every way it can fail becomes one sentence that says what was asked and what came.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import httpx2
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

from coordinator.errors import ArchiveUnreachable, DiskFull

_CHUNK = 1 << 18
#: Seconds for one connection, one read, one write; a download as a whole may take as long as it must.
_TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
#: Nothing is left open between downloads: they are few, and far between.
_LIMITS = httpx2.Limits(max_keepalive_connections=0)


class NotThere(ArchiveUnreachable):
    """The archive answers, and does not have it."""


class _TryAgain(Exception):
    """The connection broke or the server is in trouble: worth another try."""


class Transport:
    """Downloads. `client` is there for tests; `wait_seconds` is the first pause between tries."""

    def __init__(self, client: httpx2.Client | None = None, wait_seconds: float = 1.0) -> None:
        self._client = client or httpx2.Client(timeout=_TIMEOUT, limits=_LIMITS, follow_redirects=True)
        self._retrying = retry(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(4),
            wait=wait_exponential(multiplier=wait_seconds, max=20 * wait_seconds) + wait_random(0, wait_seconds),
            reraise=True,
        )

    def download(self, url: str, into: BinaryIO, cap: int, begin: Callable[[], object] = lambda: None) -> int:
        """Write what is at `url` to `into` from where it stands, and answer how many bytes; never more than `cap`.

        `begin` is called before every try, so that a caller can forget what a broken one brought.
        Raises ArchiveUnreachable, NotThere, DiskFull.
        """
        start = into.tell()

        def once() -> int:
            into.seek(start)
            into.truncate()
            begin()
            return self._once(url, into, cap)

        try:
            return self._retrying(once)()
        except _TryAgain as error:
            raise ArchiveUnreachable(f"{url}: {error}") from error

    def _once(self, url: str, into: BinaryIO, cap: int) -> int:
        size = 0
        with self._opened(url) as chunks:
            for chunk in chunks:
                size += len(chunk)
                if size > cap:
                    raise ArchiveUnreachable(f"{url} has more bytes than the {cap} that were expected")
                _write(into, chunk)
        return size

    @contextmanager
    def _opened(self, url: str) -> Iterator[Iterator[bytes]]:
        parts = urlsplit(url)
        if parts.scheme == "file":
            with _local(url, Path(unquote(parts.path))) as stream:
                yield iter(lambda: stream.read(_CHUNK), b"")
        elif parts.scheme in ("http", "https"):
            with self._answered(url) as response:
                yield response.iter_raw(_CHUNK)
        else:
            raise ArchiveUnreachable(f"{url} is not an address of http, https or file")

    @contextmanager
    def _answered(self, url: str) -> Iterator[httpx2.Response]:
        # No Accept-Encoding: digests are of the bytes as they lie in the archive.
        try:
            with self._client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
                if response.status_code >= 500 or response.status_code == 429:
                    raise _TryAgain(f"the server answers {response.status_code}")
                if response.status_code in (404, 410):
                    raise NotThere(f"{url}: the server answers {response.status_code}, it does not have it")
                if response.status_code != 200:
                    raise ArchiveUnreachable(f"{url}: the server answers {response.status_code}")
                yield response
        except httpx2.TransportError as error:
            raise _TryAgain(f"no connection, or a broken one ({type(error).__name__}: {error})") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ArchiveUnreachable(f"{url}: {type(error).__name__}: {error}") from error


def _local(url: str, path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotThere(f"{url} does not exist") from None
    except OSError as error:
        raise ArchiveUnreachable(f"{url} cannot be read: {error.strerror}") from error


def _write(into: BinaryIO, chunk: bytes) -> None:
    try:
        into.write(chunk)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull("no space is left for a download from the archive") from error
        raise
