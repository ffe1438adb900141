# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker says to the coordinator and asks of it, over HTTP.

Every call that may be repeated is repeated while the coordinator does not answer; claiming is not, because the
answer to a claim that was lost cannot be had again. No answer is believed beyond its type and digest.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import requests
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from workers.errors import Fenced, Refused
from workers.wire.arch import Tier
from workers.wire.codec import decode, encode
from workers.wire.order import Input, JobKey, Order
from workers.wire.report import Heartbeat, Offer, Report

_CHUNK = 1 << 20


class Farm(Protocol):
    """The coordinator as a worker sees it. Each raises OSError where nobody answers, Refused for other noes."""

    def sign_on(self, offer: Offer) -> None:
        """Say who is here; also the idle sign of life."""

    def claim(self, job: JobKey, attempt: int, tier: Tier) -> Order:
        """Take an attempt; raises Fenced where it is no longer to be had."""

    def renew(self, job: JobKey, attempt: int) -> Heartbeat:
        """Keep the lease; raises Fenced."""

    def log(self, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        """Add to the log; answers the size it has there now. Raises Fenced."""

    def report(self, report: Report) -> None:
        """End the attempt; raises Fenced."""

    def fetch(self, wanted: Input, into: Path) -> None:
        """Download a blob and check it."""

    def store(self, sha256: str, size: int, path: Path) -> None:
        """Upload a blob, unless it is there already."""


def _passing(error: BaseException) -> bool:
    """Whether trying again may help: no connection, or the server's own trouble."""
    if isinstance(error, requests.HTTPError):
        return error.response is None or error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, requests.RequestException)


class HttpFarm:
    """Farm, over the JSON API. `token` is asked for every request, so that it can be replaced while a worker runs."""

    def __init__(self, url: str, worker: str, token: Callable[[], str], patience: float = 600.0) -> None:
        self._url = url
        self._worker = worker
        self._token = token
        self._patience = patience

    def sign_on(self, offer: Offer) -> None:
        """See Farm. Not repeated: the next sign of life comes by itself."""
        self._send("PUT", f"/workers/{self._worker}", encode(offer).encode())

    def claim(self, job: JobKey, attempt: int, tier: Tier) -> Order:
        """See Farm."""
        body = json.dumps({"worker": self._worker, "tier": tier}).encode()
        return decode(Order, self._send("POST", f"/jobs/{job}/{attempt}/claim", body))

    def renew(self, job: JobKey, attempt: int) -> Heartbeat:
        """See Farm. Not repeated: the next heartbeat comes by itself."""
        return decode(Heartbeat, self._send("POST", f"/jobs/{job}/{attempt}/renew?worker={self._worker}", b""))

    def log(self, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        """See Farm."""
        path = f"/jobs/{job}/{attempt}/log?offset={offset}"
        answer = self._retrying()(self._send, "POST", path, data, "application/octet-stream")
        size = json.loads(answer)["size"]
        if type(size) is not int:
            raise Refused("the coordinator did not say the log's size")
        return size

    def report(self, report: Report) -> None:
        """See Farm."""
        path = f"/jobs/{report.job}/{report.attempt}/report"
        self._retrying()(self._send, "POST", path, encode(report).encode())

    def fetch(self, wanted: Input, into: Path) -> None:
        """See Farm."""
        self._retrying()(self._fetch, wanted, into)

    def store(self, sha256: str, size: int, path: Path) -> None:
        """See Farm."""
        self._retrying()(self._store, sha256, size, path)

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception(_passing),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            stop=stop_after_delay(self._patience),
            reraise=True,
        )

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token()}"}

    def _send(self, method: str, path: str, body: bytes, media: str = "application/json") -> bytes:
        headers = {**self._headers(), "Content-Type": media}
        url = f"{self._url}/api/v1{path}"
        with requests.request(method, url, data=body, headers=headers, timeout=60, allow_redirects=False) as answer:
            _raise_for(answer)
            return answer.content

    def _fetch(self, wanted: Input, into: Path) -> None:
        url = f"{self._url}/api/v1/blobs/{wanted.sha256}"
        digest = hashlib.sha256()
        size = 0
        with (
            requests.get(url, headers=self._headers(), timeout=60, stream=True, allow_redirects=False) as answer,
            into.open("wb") as file,
        ):
            _raise_for(answer)
            for chunk in answer.iter_content(_CHUNK):
                size += len(chunk)
                if size > wanted.size:
                    break
                digest.update(chunk)
                file.write(chunk)
        if size != wanted.size or digest.hexdigest() != wanted.sha256:
            raise requests.ConnectionError(f"{wanted.name} arrived with other bytes than the order names")

    def _store(self, sha256: str, size: int, path: Path) -> None:
        url = f"{self._url}/api/v1/blobs/{sha256}"
        with requests.head(url, headers=self._headers(), timeout=60, allow_redirects=False) as known:
            if known.status_code == requests.codes.ok:
                return
        headers = {**self._headers(), "Content-Length": str(size), "Content-Type": "application/octet-stream"}
        with (
            path.open("rb") as file,
            requests.put(
                url, data=file if size else b"", headers=headers, timeout=300, allow_redirects=False
            ) as answer,
        ):
            _raise_for(answer)


def _raise_for(answer: requests.Response) -> None:
    if answer.status_code == requests.codes.conflict:
        raise Fenced("the attempt belongs to somebody else now")
    if 400 <= answer.status_code < 500 and answer.status_code != requests.codes.too_many_requests:
        raise Refused(f"the coordinator answered {answer.status_code}: {_detail(answer)}")
    # A redirect too: the token goes to the coordinator alone.
    if answer.status_code >= 300:
        raise requests.HTTPError(f"the coordinator answered {answer.status_code}", response=answer)


def _detail(answer: requests.Response) -> str:
    """The one line of a problem document (RFC 9457) that people read, or nothing."""
    try:
        problem = answer.json()
    except ValueError:
        return ""
    return str(problem.get("detail", ""))[:300] if isinstance(problem, dict) else ""


def chunks(path: Path) -> Iterator[bytes]:
    """A file in pieces of at most one MiB."""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def digest_of(path: Path) -> str:
    """A file's sha256, in constant memory."""
    digest = hashlib.sha256()
    for piece in chunks(path):
        digest.update(piece)
    return digest.hexdigest()
