# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker says to the coordinator and asks of it, over HTTP.

Every call that may be repeated is repeated while the coordinator does not answer. A claim carries a name of its own, so
that whoever did not hear the answer gets the same attempt again. No answer is believed beyond its type and digest.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import requests
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from workers import local
from workers.errors import Fenced, Refused, StrangeOrder
from workers.wire.codec import WireError, decode, encode
from workers.wire.order import Input, JobKey, Order
from workers.wire.report import Artifact, Heartbeat, Offer, Report

_CHUNK = 1 << 20
#: How long a claim is repeated, in seconds: half of the usual lease, so that what is left of it is of use.
_CLAIM = 30.0
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True)
class _Kept:
    """The answer to a piece of log: how much the coordinator has of it now."""

    size: int


class Farm(Protocol):
    """The coordinator as a worker sees it. Each raises OSError where nobody answers, Refused for other noes."""

    def sign_on(self, offer: Offer) -> None:
        """Say who is here; also the idle sign of life."""

    def claim(self) -> Order:
        """Ask for something to do; raises Fenced where there is nothing, StrangeOrder where it cannot be read."""

    def renew(self, job: JobKey, attempt: int) -> Heartbeat:
        """Keep the lease; raises Fenced."""

    def log(self, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        """Add to the log; answers the size it has there now. Raises Fenced."""

    def report(self, report: Report) -> None:
        """End the attempt; raises Fenced."""

    def fetch(self, wanted: Input, into: Path) -> None:
        """Download a blob and check it."""

    def bring(self, job: JobKey, attempt: int, artifact: Artifact, path: Path) -> None:
        """Upload a file that an attempt made; its report can name no other. Raises Fenced."""


def _passing(error: BaseException) -> bool:
    """Whether trying again may help: no connection, or the server's own trouble."""
    if isinstance(error, requests.HTTPError):
        return error.response is None or error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, requests.RequestException)


class HttpFarm:
    """Farm, over the JSON API. `token` is asked for every request, so that it can be replaced while a worker runs.

    `url` is `http://…`, `https://…`, or `unix://` and the path of a socket.
    """

    def __init__(self, url: str, worker: str, token: Callable[[], str], patience: float = 600.0) -> None:
        self._socket = url.removeprefix("unix://") if url.startswith("unix://") else ""
        self._url = "http://localhost" if self._socket else url
        self._worker = worker
        self._token = token
        self._patience = patience
        self._session: requests.Session | None = None
        self._process = 0

    def sign_on(self, offer: Offer) -> None:
        """See Farm. Not repeated: the next sign of life comes by itself."""
        self._send("PUT", f"/workers/{self._worker}", encode(offer).encode())

    def claim(self) -> Order:
        """See Farm. Not repeated for longer than a lease may take: then the attempt is somebody else's."""
        path = f"/workers/{self._worker}/claim?claim={secrets.token_hex(16)}"
        return _order(self._retrying(min(self._patience, _CLAIM))(self._send, "POST", path, b""))

    def renew(self, job: JobKey, attempt: int) -> Heartbeat:
        """See Farm. Not repeated: the next heartbeat comes by itself."""
        return decode(Heartbeat, self._send("POST", f"/jobs/{job}/{attempt}/renew?worker={self._worker}", b""))

    def log(self, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        """See Farm."""
        path = f"/jobs/{job}/{attempt}/log?offset={offset}"
        answer = self._retrying(self._patience)(self._send, "POST", path, data, "application/octet-stream")
        return decode(_Kept, answer).size

    def report(self, report: Report) -> None:
        """See Farm."""
        path = f"/jobs/{report.job}/{report.attempt}/report"
        self._retrying(self._patience)(self._send, "POST", path, encode(report).encode())

    def fetch(self, wanted: Input, into: Path) -> None:
        """See Farm."""
        self._retrying(self._patience)(self._fetch, wanted, into)

    def bring(self, job: JobKey, attempt: int, artifact: Artifact, path: Path) -> None:
        """See Farm."""
        self._retrying(self._patience)(self._bring, f"/jobs/{job}/{attempt}/files/{artifact.sha256}", artifact, path)

    def _retrying(self, patience: float) -> Retrying:
        return Retrying(
            retry=retry_if_exception(_passing),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            stop=stop_after_delay(patience),
            reraise=True,
        )

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As `auth` of each request, so that no .netrc puts another name in its place."""
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request

    def _ask(
        self,
        method: str,
        path: str,
        data: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        timeout: float = 60,
        stream: bool = False,
    ) -> requests.Response:
        """One request over a connection that is kept. One of a parent process cannot be shared with it."""
        if self._session is None or self._process != os.getpid():
            session = local.session(self._socket) if self._socket else requests.Session()
            self._session, self._process = session, os.getpid()
        return self._session.request(
            method,
            f"{self._url}/api/v1{path}",
            data=data,
            headers=headers,
            auth=self._authorize,
            timeout=timeout,
            stream=stream,
            allow_redirects=False,
        )

    def _send(self, method: str, path: str, body: bytes, media: str = "application/json") -> bytes:
        with self._ask(method, path, body, {"Content-Type": media}) as answer:
            _raise_for(answer)
            return answer.content

    def _fetch(self, wanted: Input, into: Path) -> None:
        digest = hashlib.sha256()
        size = 0
        with self._ask("GET", f"/blobs/{wanted.sha256}", stream=True) as answer, into.open("wb") as file:
            _raise_for(answer)
            for chunk in answer.iter_content(_CHUNK):
                size += len(chunk)
                if size > wanted.size:
                    break
                digest.update(chunk)
                file.write(chunk)
        if size != wanted.size or digest.hexdigest() != wanted.sha256:
            raise requests.ConnectionError(f"{wanted.name} arrived with other bytes than the order names")

    def _bring(self, address: str, artifact: Artifact, path: Path) -> None:
        headers = {"Content-Length": str(artifact.size), "Content-Type": "application/octet-stream"}
        with path.open("rb") as file:
            body = file if artifact.size else b""
            with self._ask("PUT", address, body, headers, timeout=300) as answer:
                _raise_for(answer)


def _order(answer: bytes) -> Order:
    """The order; where it cannot be read, at least which attempt it was for."""
    try:
        return decode(Order, answer)
    except WireError as error:
        try:
            told = json.loads(answer)
            job, attempt = decode(JobKey, json.dumps(told["job"])), int(told["attempt"])
        except (ValueError, TypeError, KeyError):
            raise error from None
        raise StrangeOrder(job, attempt, str(error)) from error


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
