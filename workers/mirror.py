# SPDX-License-Identifier: GPL-3.0-or-later
"""How a mirror's indices are now, for knowing whether what was made of them is still what would be made of them.

Nothing is verified here, so nothing that a mirror says is used but to be compared: what is installed, apt verifies.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import requests
from requests.adapters import HTTPAdapter

from workers.wire.order import Index

#: Seconds that an answer is believed, that a mirror may take for one, and that a connection may be silent.
_FRESH: Final = 10.0
_PATIENCE: Final = 5.0
_SILENCE: Final = 3.0
#: Bytes of an InRelease file: many times what any has.
MOST: Final = 8 << 20
_CHUNK: Final = 64 << 10


@dataclass(frozen=True)
class _Known:
    """A state, when it was asked for, and how the mirror can be asked whether it is another now."""

    state: str
    asked: float
    etag: str


class Mirror:
    """One per process, made before or after a fork and used only after it: its connections are kept open."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            # Once more, for a connection that the mirror had closed in the meantime.
            self._session.mount(scheme, HTTPAdapter(max_retries=1))

    def states(self, indices: Sequence[Index]) -> tuple[str, ...]:
        """The state of every index, in their order; nothing at all where one of them is not known.

        An optional index may be absent. The files asked for are those that apt asks for first.
        """
        with ThreadPoolExecutor(max_workers=max(1, len(indices))) as threads:
            states = tuple(threads.map(self._state, indices))
        return states if all(states) else ()

    def close(self) -> None:
        """End its connections."""
        self._session.close()

    def _state(self, index: Index) -> str:
        url = f"{index.url.rstrip('/')}/dists/{index.suite}/InRelease"
        known = self._known.get(url)
        if known and self._clock() - known.asked < _FRESH:
            return known.state
        try:
            known = self._ask(url, known, index.optional)
        except (requests.RequestException, TimeoutError):
            return ""
        if known:
            self._known[url] = known
        return known.state if known else ""

    def _ask(self, url: str, known: _Known | None, optional: bool) -> _Known | None:
        headers = {"Accept-Encoding": "identity", "Cache-Control": "max-age=0"}
        if known and known.etag:
            headers["If-None-Match"] = known.etag
        asked = self._clock()
        # To where a mirror says that it is instead, no container comes either.
        asking = self._session.get(url, headers=headers, timeout=_SILENCE, stream=True, allow_redirects=False)
        with closing(asking) as answer:
            if known and answer.status_code == requests.codes.not_modified:
                return _Known(known.state, asked, known.etag)
            if optional and answer.status_code == requests.codes.not_found:
                return _Known("absent", asked, "")
            if answer.status_code != requests.codes.ok:
                return None
            return _Known(_digest(answer), asked, answer.headers.get("ETag", "")[:200])


def _digest(answer: requests.Response) -> str:
    """The sha256 of what comes; raises TimeoutError where it is endless or too slow."""
    digest = hashlib.sha256()
    size = 0
    until = time.monotonic() + _PATIENCE
    for piece in answer.iter_content(_CHUNK):
        digest.update(piece)
        size += len(piece)
        if size > MOST or time.monotonic() > until:
            raise TimeoutError
    return digest.hexdigest()
