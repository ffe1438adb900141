# SPDX-License-Identifier: GPL-3.0-or-later
"""The farm's API for people and the signer, as Python: the same nouns come back, and the same errors are raised.

The token goes to the farm's own address and nowhere else: no redirect is followed, no proxy of the environment is used.
"""

import hashlib
import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar, cast
from urllib.parse import quote

import httpx2
from pydantic import TypeAdapter, ValidationError

from coordinator.duty import Duty
from coordinator.errors import BadRequest, FarmDown, PatchfarmError
from coordinator.model import (
    Clearance,
    File,
    HistoryEntry,
    SigningRequest,
    Suite,
    Update,
    UpdateState,
    Urgency,
    Waiting,
)
from coordinator.problem import MEDIA_TYPE, Problem, error_of
from workers.wire.order import JobKey

T = TypeVar("T")

_CHUNK = 1 << 20
#: In seconds: a farm that verifies a large source answers slowly, one that is not there at once.
_TIMEOUT = httpx2.Timeout(120, connect=5)


@dataclass(frozen=True)
class LogPart:
    """Some bytes of a log, how long it is now, and whether its attempt has ended."""

    data: bytes
    size: int
    ended: bool


def connect(url: str, token: str) -> "Client":
    """A client of the farm at that address. Raises BadRequest for an address that is none."""
    if not re.fullmatch(r"https?://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?/?", url, re.ASCII):
        raise BadRequest(
            f"{url!r} is not the address of a farm", "Set PATCHFARM_URL to one like https://farm.example.org."
        )
    headers = {"Authorization": f"Bearer {token}"}
    return Client(httpx2.Client(base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=False))


class Client:
    """A person's or the signer's way to a farm. Every method raises the error the farm answers with, or FarmDown."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def close(self) -> None:
        """Give up its connections."""
        self._http.close()

    def updates(self, states: Sequence[UpdateState] = (), limit: int = 100) -> list[Update]:
        """The newest first."""
        asked = [("state", str(state)) for state in states]
        return self._ask(list[Update], "GET", "/updates", params=httpx2.QueryParams([*asked, ("limit", str(limit))]))

    def update(self, number: int) -> Update:
        """One update."""
        return self._ask(Update, "GET", f"/updates/{number}")

    def history(self, number: int) -> list[HistoryEntry]:
        """What happened to an update, oldest first."""
        return self._ask(list[HistoryEntry], "GET", f"/updates/{number}/history")

    def waiting(self, number: int) -> list[Waiting]:
        """What the engine has still to do for an update, oldest first."""
        return self._ask(list[Waiting], "GET", f"/updates/{number}/waiting")

    def digests(self, number: int) -> str:
        """The text that an approver signs."""
        return self._send("GET", f"/updates/{number}/digests").text

    def submit(self, suite: str, files: Sequence[File], urgency: Urgency | None = None) -> Update:
        """Make an update of files that were stored before."""
        body = {"suite": suite, "files": _named(files), "urgency": urgency}
        return self._ask(Update, "POST", "/updates", json=body)

    def submit_from_archive(self, suite: str, source: str, version: str | None = None) -> Update:
        """Make an update of a source package in the suite's archive."""
        body = {"suite": suite, "archive": source, "version": version}
        return self._ask(Update, "POST", "/updates", json=body)

    def approve(self, number: int, clearsigned: bytes) -> Update:
        """Hand in the signed digest set."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        return self._ask(Update, "POST", f"/updates/{number}/approvals", content=clearsigned, headers=headers)

    def retry(self, number: int) -> Update:
        """Do again what did not succeed."""
        return self._ask(Update, "POST", f"/updates/{number}/retry")

    def cancel(self, number: int) -> Update:
        """Stop the work."""
        return self._ask(Update, "POST", f"/updates/{number}/cancel")

    def withdraw(self, number: int, why: str) -> Update:
        """Take the update back."""
        return self._ask(Update, "POST", f"/updates/{number}/withdraw", json={"why": why})

    def workers(self) -> list[Duty]:
        """Every worker ever seen, and what it has."""
        return self._ask(list[Duty], "GET", "/workers")

    def admit(
        self, name: str, trust_domain: str | None, clearance: Clearance | None, token_sha256: str | None = None
    ) -> None:
        """Let a worker sign on, or change what was decided about it; what is None stays as it is."""
        body = {"trust_domain": trust_domain, "clearance": clearance, "token_sha256": token_sha256}
        self._send("PUT", f"/workers/{_quoted(name)}/admission", json=body)

    def drain(self, name: str) -> None:
        """Give a worker nothing new."""
        self._send("POST", f"/workers/{_quoted(name)}/drain")

    def resume(self, name: str) -> None:
        """Give it work again."""
        self._send("POST", f"/workers/{_quoted(name)}/resume")

    def dismiss(self, name: str, force: bool = False) -> None:
        """Forget a worker and its token; `force` gives what it has to others."""
        self._send("DELETE", f"/workers/{_quoted(name)}", params={"force": force})

    def suites(self) -> list[Suite]:
        """What the farm has recipes for."""
        return self._ask(list[Suite], "GET", "/suites")

    def signing_requests(self) -> list[SigningRequest]:
        """What waits for the signer."""
        return self._ask(list[SigningRequest], "GET", "/signing")

    def signed(self, number: int, files: Sequence[File]) -> Update:
        """Hand in what the signer made of files that were stored before, the .changes first."""
        return self._ask(Update, "POST", f"/signing/{number}", json={"files": _named(files)})

    def refused(self, number: int, reason: str) -> Update:
        """Say that the signer will not sign an update."""
        return self._ask(Update, "POST", f"/signing/{number}/refusal", json={"reason": reason})

    def log(self, job: JobKey, attempt: int, offset: int, wait: int = 0) -> LogPart:
        """Bytes of an attempt's log from `offset`; waits up to so many seconds for the first."""
        params = {"offset": offset, "wait": wait}
        answer = self._send("GET", f"/jobs/{job}/{attempt}/log", params=params)
        try:
            size = int(answer.headers["X-Log-Size"])
        except (KeyError, ValueError) as error:
            raise _strange(answer) from error
        return LogPart(answer.content, size, answer.headers.get("X-Log-Ended") == "true")

    def store(self, file: File, path: Path) -> None:
        """Upload a file, unless its bytes are there already."""
        with _translated():
            known = self._http.head(f"/api/v1/blobs/{file.sha256}")
        if known.status_code == httpx2.codes.OK:
            return
        if known.status_code != httpx2.codes.NOT_FOUND:
            self._send("GET", f"/blobs/{file.sha256}")  # the answer to a HEAD cannot say why not
        with path.open("rb") as stream:
            self._send("PUT", f"/blobs/{file.sha256}", content=_pieces(stream), headers=_sized(file))

    def fetch(self, file: File, into: IO[bytes]) -> None:
        """Download a file; raises PatchfarmError where what comes is not what its digest says."""
        digest, size = hashlib.sha256(), 0
        with _translated(), self._http.stream("GET", f"/api/v1/blobs/{file.sha256}") as answer:
            _check(answer)
            for piece in answer.iter_raw(_CHUNK):
                size += len(piece)
                if size > file.size:
                    break
                digest.update(piece)
                into.write(piece)
        if (size, digest.hexdigest()) != (file.size, file.sha256):
            raise PatchfarmError(f"{file.name} arrived with other bytes than its sha256 names")

    def _ask(self, kind: type[T], method: str, path: str, **request: Any) -> T:
        answer = self._send(method, path, **request)
        try:
            value: T = _adapter(cast("Hashable", kind)).validate_json(answer.content)
        except ValidationError as error:
            raise _strange(answer) from error
        return value

    def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        with _translated():
            answer = self._http.request(method, f"/api/v1{path}", **request)
            _check(answer)
        return answer


def _quoted(name: str) -> str:
    """A name from the command line as one part of a path."""
    return quote(name, safe="")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once for each type: that takes longer than most answers do."""
    return TypeAdapter(kind)


def _named(files: Sequence[File]) -> list[dict[str, Any]]:
    return [{"name": file.name, "sha256": file.sha256, "size": file.size} for file in files]


def _sized(file: File) -> dict[str, str]:
    return {"Content-Length": str(file.size), "Content-Type": "application/octet-stream"}


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(_CHUNK):
        yield piece


@contextmanager
def _translated() -> Iterator[None]:
    """The transport's errors, as ours."""
    try:
        yield
    except httpx2.ConnectError as error:
        raise FarmDown("the farm's web service does not answer") from error
    except httpx2.TimeoutException as error:
        raise FarmDown(
            "the farm's web service took too long to answer", "Try again; then `patchfarm doctor`."
        ) from error
    except httpx2.TransportError as error:
        raise FarmDown("the connection to the farm's web service was cut") from error


def _check(answer: httpx2.Response) -> None:
    """Raise what the answer says went wrong, if anything did."""
    if answer.is_success:
        return
    answer.read()
    if answer.status_code == httpx2.codes.CONTENT_TOO_LARGE:
        raise BadRequest("that is more than the farm takes at once", "Submit fewer or smaller files.")
    if answer.headers.get("Content-Type", "").partition(";")[0] != MEDIA_TYPE:
        raise _strange(answer)
    try:
        problem = TypeAdapter(Problem).validate_json(answer.content)
    except ValidationError as error:
        raise _strange(answer) from error
    raise error_of(problem)


def _strange(answer: httpx2.Response) -> PatchfarmError:
    place = f"{answer.request.url.scheme}://{answer.request.url.netloc.decode()}"
    said = f"{place} answered {answer.status_code} in a way that is not a farm's"
    if answer.status_code in (502, 503, 504):
        return FarmDown(f"{place} answered {answer.status_code}: the farm behind it does not answer")
    return PatchfarmError(said, "Check that `url` names a farm, of the same version as this command.")
