# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's HTTP against a small server: what is sent, what is repeated, and what is never believed.

Once over a port and once over a socket, as a tunnel has it.
"""

import hashlib
import json
import multiprocessing
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.workers.kit import JOB, ORDER
from workers.errors import Fenced, Refused, StrangeOrder
from workers.transfer import HttpFarm
from workers.wire.arch import Arch, Tier
from workers.wire.codec import WireError, encode
from workers.wire.order import WIRE_VERSION, Input
from workers.wire.report import Artifact, Heartbeat, Offer, Outcome, Report

DATA = b"1" * 3_000_000
WANTED = Input("a.dsc", hashlib.sha256(DATA).hexdigest(), len(DATA))
REPORT = Report(JOB, 3, Outcome.FINISHED, "", (), (), "", "", Tier.NATIVE, "w1")


class Coordinator(ThreadingHTTPServer):
    """Answers what it was told to, in that order, and remembers what it was asked."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self.address_family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        super().__init__(address, _Handler)  # type: ignore[arg-type]  # a path is an address of the other family
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, str, bytes]] = []
        self.tokens: set[str | None] = set()
        self.connections = 0

    def server_bind(self) -> None:
        # Not HTTPServer's, which takes a port out of every address.
        socketserver.TCPServer.server_bind(self)

    @property
    def url(self) -> str:
        place: object = self.server_address
        return f"unix://{place}" if isinstance(place, str) else f"http://127.0.0.1:{self.server_address[1]}"

    def farm(self, patience: float = 20.0) -> HttpFarm:
        return HttpFarm(self.url, "w1", lambda: "sesame", patience)


class _Handler(BaseHTTPRequestHandler):
    server: Coordinator
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.tokens.add(self.headers["Authorization"])
        self.server.asked.append((self.command, self.path, body))
        status, content = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            # Whoever has heard too much already hangs up.
            with suppress(ConnectionError):
                self.wfile.write(content)

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815  # the server's own names

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=["port", "socket"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Coordinator]:
    with Coordinator(("127.0.0.1", 0) if request.param == "port" else str(tmp_path / "farm.sock")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_claim_answers_the_order(there: Coordinator) -> None:
    there.answers = [(200, encode(ORDER).encode())]
    assert there.farm().claim() == ORDER
    assert re.fullmatch("POST /api/v1/workers/w1/claim[?]claim=[0-9a-f]{32} b''", "{} {} {}".format(*there.asked[0]))
    assert there.tokens == {"Bearer sesame"}


def test_a_claim_whose_answer_was_lost_is_repeated_by_the_same_name_and_another_has_another(there: Coordinator) -> None:
    there.answers = [(503, b""), (200, encode(ORDER).encode()), (200, encode(ORDER).encode())]
    farm = there.farm()
    assert farm.claim() == farm.claim() == ORDER
    first, again, other = (asked[1] for asked in there.asked)
    assert first == again != other


def test_a_conflict_means_fenced_everywhere(there: Coordinator) -> None:
    there.answers = [(409, b"{}")] * 4
    farm = there.farm()
    for call in (
        farm.claim,
        lambda: farm.renew(JOB, 3),
        lambda: farm.log(JOB, 3, 0, b"x"),
        lambda: farm.report(REPORT),
    ):
        with pytest.raises(Fenced):
            call()


def test_an_order_of_another_version_says_at_least_of_which_attempt_it_is(there: Coordinator) -> None:
    there.answers = [(200, encode(ORDER).replace(f'"version":{WIRE_VERSION}', '"version":9').encode())]
    with pytest.raises(StrangeOrder, match="version 9") as strange:
        there.farm().claim()
    assert (strange.value.job, strange.value.attempt) == (JOB, 3)


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"job":1,"attempt":3}', b'{"attempt":3}'])
def test_an_order_that_is_none_is_a_wire_error(there: Coordinator, answer: bytes) -> None:
    there.answers = [(200, answer)]
    with pytest.raises(WireError):
        there.farm().claim()


def test_a_refusal_carries_the_coordinators_reason_and_is_not_repeated(there: Coordinator) -> None:
    there.answers = [(403, json.dumps({"detail": "not your token"}).encode())]
    with pytest.raises(Refused, match="403: not your token"):
        there.farm().report(REPORT)
    assert len(there.asked) == 1


def test_a_report_is_repeated_until_it_is_taken(there: Coordinator) -> None:
    there.answers = [(503, b""), (500, b""), (204, b"")]
    there.farm().report(REPORT)
    assert [asked[2] for asked in there.asked] == [encode(REPORT).encode()] * 3


def test_a_heartbeat_says_whether_to_go_on(there: Coordinator) -> None:
    there.answers = [(200, b'{"cancel":true,"lease_seconds":60}')]
    assert there.farm().renew(JOB, 3) == Heartbeat(cancel=True, lease_seconds=60)
    assert there.asked[0][1] == "/api/v1/jobs/7/build/amd64/3/renew?worker=w1"


def test_a_log_answers_how_much_there_is(there: Coordinator) -> None:
    there.answers = [(200, b'{"size": 7}')]
    assert there.farm().log(JOB, 3, 4, b"abc") == 7
    assert there.asked == [("POST", "/api/v1/jobs/7/build/amd64/3/log?offset=4", b"abc")]


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"size": "7"}', b'{"size": true}', b'{"size": 7.5}'])
def test_a_log_whose_size_is_none_is_a_wire_error(there: Coordinator, answer: bytes) -> None:
    there.answers = [(200, answer)]
    with pytest.raises(WireError):
        there.farm().log(JOB, 3, 4, b"abc")


def test_signing_on_says_what_the_worker_offers(there: Coordinator) -> None:
    there.answers = [(204, b"")]
    offer = Offer("w1", {Arch.AMD64: Tier.NATIVE}, 2, "host", 2, 8 << 30)
    there.farm().sign_on(offer)
    assert there.asked == [("PUT", "/api/v1/workers/w1", encode(offer).encode())]


def test_a_blob_is_downloaded_and_checked(there: Coordinator, tmp_path: Path) -> None:
    there.answers = [(503, b""), (200, DATA)]
    there.farm().fetch(WANTED, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("content", [DATA[:-1], DATA + b"1", b"2" * len(DATA)])
def test_a_blob_with_other_bytes_is_never_used(there: Coordinator, tmp_path: Path, content: bytes) -> None:
    there.answers = [(200, content)]
    with pytest.raises(requests.ConnectionError, match="other bytes"):
        there.farm(patience=0).fetch(WANTED, tmp_path / "x")


def test_a_file_is_brought_to_its_attempt_and_again_where_that_failed(there: Coordinator, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    there.answers = [(503, b""), (204, b"")]
    there.farm().bring(JOB, 3, Artifact("a.deb", WANTED.sha256, WANTED.size), tmp_path / "x")
    assert there.asked == [("PUT", f"/api/v1/jobs/7/build/amd64/3/files/{WANTED.sha256}", DATA)] * 2


def test_an_empty_file_is_brought_too(there: Coordinator, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    there.answers = [(204, b"")]
    there.farm().bring(JOB, 3, Artifact("empty", hashlib.sha256(b"").hexdigest(), 0), tmp_path / "x")
    assert [(method, body) for method, _, body in there.asked] == [("PUT", b"")]


def test_a_file_of_an_attempt_that_is_somebody_elses_is_not_brought(there: Coordinator, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    there.answers = [(409, b"")]
    with pytest.raises(Fenced):
        there.farm().bring(JOB, 3, Artifact("a.deb", WANTED.sha256, WANTED.size), tmp_path / "x")


def test_a_redirect_is_not_followed_so_that_the_token_stays(there: Coordinator) -> None:
    there.answers = [(302, b"")]
    with pytest.raises(requests.RequestException):
        there.farm(patience=0).report(REPORT)


def test_requests_share_a_connection_and_no_process_has_its_parents(there: Coordinator) -> None:
    there.answers = [(200, b'{"cancel":false,"lease_seconds":60}')] * 4
    farm = there.farm()
    for _ in range(3):
        farm.renew(JOB, 3)
    assert there.connections == 1
    child = multiprocessing.get_context("fork").Process(target=farm.renew, args=(JOB, 3))
    child.start()
    child.join()
    assert (child.exitcode, there.connections) == (0, 2)


def test_no_netrc_puts_another_name_in_the_tokens_place(
    there: Coordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login mallory password guess\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    there.answers = [(200, b'{"cancel":false,"lease_seconds":60}')]
    there.farm().renew(JOB, 3)
    assert there.tokens == {"Bearer sesame"}


def test_no_proxy_stands_between_a_worker_and_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(requests.ConnectionError, match=r"No such file"):
        HttpFarm(f"unix://{tmp_path}/farm.sock", "w1", lambda: "sesame", 0).renew(JOB, 3)
