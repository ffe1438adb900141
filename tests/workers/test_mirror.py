# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a mirror's indices, asked of a small one: when it is asked, and what it may not do."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from workers.mirror import MOST, Mirror
from workers.wire.order import Index


class Archive(ThreadingHTTPServer):
    """Serves one suite as it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.release: bytes | None = b"as it was"
        self.etag = ""
        self.endless = False
        self.moved = ""
        self.asked: list[tuple[str, str]] = []

    def index(self, suite: str = "stable", optional: bool = False) -> Index:
        return Index(f"http://127.0.0.1:{self.server_port}/debian/", suite, ("main",), optional)


class _Handler(BaseHTTPRequestHandler):
    server: Archive
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        self.server.asked.append((self.path, self.headers.get("If-None-Match", "")))
        content = server.release or b""
        if server.etag and self.headers.get("If-None-Match") == server.etag:
            self.send_response(304)
            content = b""
        elif server.moved:
            self.send_response(302)
            self.send_header("Location", server.moved)
        else:
            self.send_response(404 if server.release is None else 200)
        self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(1 << 40 if server.endless else len(content)))
        self.end_headers()
        try:
            while server.endless:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            return
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def archive() -> Iterator[Archive]:
    server = Archive()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mirror(clock: Clock) -> Iterator[Mirror]:
    asking = Mirror(clock)
    yield asking
    asking.close()


def test_a_state_is_that_of_the_release_as_it_is_served(archive: Archive, mirror: Mirror, clock: Clock) -> None:
    before = mirror.states([archive.index()])
    archive.release = b"as it is"
    clock.now = 60
    after = mirror.states([archive.index()])
    assert (len(before), len(after)) == (1, 1)
    assert before != after
    assert archive.asked[0][0] == "/debian/dists/stable/InRelease"


def test_a_mirror_is_not_asked_again_within_seconds(archive: Archive, mirror: Mirror, clock: Clock) -> None:
    for clock.now in (0, 4, 8):
        mirror.states([archive.index()])
    assert len(archive.asked) == 1


def test_what_did_not_change_is_not_sent_again(archive: Archive, mirror: Mirror, clock: Clock) -> None:
    archive.etag = '"1"'
    first = mirror.states([archive.index()])
    clock.now = 60
    assert mirror.states([archive.index()]) == first
    assert archive.asked[1][1] == '"1"'


def test_an_index_that_is_not_there_has_no_state_unless_it_is_optional(archive: Archive, mirror: Mirror) -> None:
    archive.release = None
    assert mirror.states([archive.index(optional=True)]) == ("absent",)
    assert mirror.states([archive.index("other")]) == ()


def test_one_index_without_a_state_leaves_all_unknown(archive: Archive, mirror: Mirror) -> None:
    nobody = Index("http://127.0.0.1:1/debian", "stable", ("main",))
    for other in (nobody, Index("file:///debian", "stable", ("main",))):
        assert mirror.states([archive.index(), other]) == ()


def test_a_release_that_is_larger_than_any_is_not_believed(archive: Archive, mirror: Mirror, clock: Clock) -> None:
    archive.release = bytes(MOST)
    assert len(mirror.states([archive.index()])) == 1
    clock.now = 60
    archive.release += b"1"
    assert mirror.states([archive.index()]) == ()


def test_a_mirror_that_says_it_is_elsewhere_is_not_followed_there(archive: Archive, mirror: Mirror) -> None:
    archive.moved = "/elsewhere"
    assert mirror.states([archive.index()]) == ()
    assert [path for path, _ in archive.asked] == ["/debian/dists/stable/InRelease"]


def test_a_release_without_end_is_not_read_to_it(archive: Archive, mirror: Mirror) -> None:
    archive.endless = True
    assert mirror.states([archive.index()]) == ()
