# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive is read through its signed Release; whatever does not match is told with what was asked and what came."""

import gzip
import hashlib
import io
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest

from coordinator.archive import HttpArchive, NotThere, Transport
from coordinator.depends import Package
from coordinator.errors import ArchiveUnreachable, BadSignature
from coordinator.mirror import checks_valid_until, mirror_for
from coordinator.model import File
from coordinator.openpgp import SequoiaVerifier
from coordinator.stages import intake
from tests.fakes.archive import MemoryArchive
from tests.sources import Person
from workers.wire.arch import Arch
from workers.wire.order import Index

KEY, STRANGER = Person("archive"), Person("stranger")
NOW = datetime(2026, 1, 10, tzinfo=UTC)
DEBIAN = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEB = b"not really a package"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def source(version: str, name: str = "sample", more: str = "") -> str:
    names = (f"{name}_1.0.orig.tar.xz", f"{name}_{version}.dsc")
    rows = "".join(f" {sha256(DEB)} {len(DEB)} {file}\n" for file in names)
    return f"Package: {name}\nVersion: {version}\nDirectory: pool/main/s\n{more}Checksums-Sha256:\n{rows}"


def binary(name: str, more: str = "") -> str:
    return (
        f"Package: {name}\n{more}Version: 1.0-1\nArchitecture: amd64\n"
        f"Filename: pool/main/s/{name}_1.0-1_amd64.deb\nSize: {len(DEB)}\nSHA256: {sha256(DEB)}\n"
    )


@dataclass
class Repository:
    """An archive in a folder, and what reads it."""

    root: Path
    keyring: Path
    archive: HttpArchive

    @property
    def index(self) -> Index:
        return Index(self.root.as_uri(), "stable", ("main",))

    @property
    def dist(self) -> Path:
        return self.root / "dists" / "stable"

    def write(self, path: str, data: bytes) -> None:
        (self.dist / path).parent.mkdir(parents=True, exist_ok=True)
        (self.dist / path).write_bytes(data)

    def sign(self, key: Person = KEY, more: str = "", suite: str = "stable") -> None:
        files = [path for path in sorted(self.dist.rglob("*")) if path.is_file() and path.name != "InRelease"]
        rows = [f" {sha256(path.read_bytes())} {path.stat().st_size} {path.relative_to(self.dist)}" for path in files]
        text = f"Origin: Test\nSuite: {suite}\nCodename: {suite}\n{more}SHA256:\n" + "\n".join(rows) + "\n"
        self.write("InRelease", key.clearsign(text))

    def versions(self, name: str = "sample") -> list[str]:
        return [entry.version for entry in self.archive.sources(self.index, self.keyring, name)]


SOURCES = "main/source/Sources.xz"
PACKAGES = "main/binary-amd64/Packages.gz"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    archive = HttpArchive(tmp_path / "cache", SequoiaVerifier(), now=lambda: NOW)
    made = Repository(tmp_path / "repository", KEY.write_cert(tmp_path), archive)
    old = source("1.0-0", more="Extra-Source-Only: yes\n")
    listed = [source("1.0-1"), source("1.0-9", "sample-more"), old, source("1.0-10"), source("1.0-2")]
    made.write(SOURCES, lzma.compress("\n".join(listed).encode()))
    packages = [binary("sample"), binary("libsample", "Source: sample (1.0)\n"), binary("other", "Source: samples\n")]
    made.write(PACKAGES, gzip.compress("\n".join(packages).encode()))
    made.sign()
    return made


def test_every_version_of_a_source_is_found_newest_first_by_debians_order(repository: Repository) -> None:
    assert repository.versions() == ["1.0-10", "1.0-2", "1.0-1"]


def test_a_sources_files_come_with_the_dsc_first(repository: Repository) -> None:
    entry = repository.archive.sources(repository.index, repository.keyring, "sample")[0]
    assert [file.name for file in entry.files] == ["sample_1.0-10.dsc", "sample_1.0.orig.tar.xz"]
    assert (entry.directory, entry.files[0].sha256, entry.files[0].size) == ("pool/main/s", sha256(DEB), len(DEB))


def test_a_source_that_the_suite_has_not_is_no_error(repository: Repository) -> None:
    assert repository.versions("nothing") == []


def test_the_binaries_of_a_source_are_found_whatever_their_names(repository: Repository) -> None:
    found = repository.archive.binaries(repository.index, repository.keyring, "sample", Arch.AMD64)
    assert [(entry.name, entry.version, entry.verified) for entry in found] == [
        ("libsample", "1.0-1", True),
        ("sample", "1.0-1", True),
    ]


def test_binaries_of_an_index_that_lags_are_marked_as_not_verified(repository: Repository) -> None:
    repository.write(PACKAGES, gzip.compress(binary("sample").encode()))
    found = repository.archive.binaries(repository.index, repository.keyring, "sample", Arch.AMD64)
    assert [(entry.name, entry.verified) for entry in found] == [("sample", False)]


def test_packages_are_found_by_name_and_by_what_they_provide(repository: Repository) -> None:
    offers = "Provides: mta, compat (= 13)\n"
    listed = [binary("sample"), binary("exim4", offers), binary("other", "Depends: sample, mta\n")]
    repository.write(PACKAGES, gzip.compress("\n".join(listed).encode()))
    repository.sign()
    both = [Package("sample", "1.0-1"), Package("exim4", "1.0-1", (("mta", ""), ("compat", "13")))]
    memory = MemoryArchive()
    memory.has["stable"] = [*both, Package("other", "1.0-1")]
    for names, found in (("sample mta", both), ("compat", both[1:]), ("samp exim", [])):
        asked = (repository.index, repository.keyring, Arch.AMD64, frozenset(names.split()))
        assert repository.archive.packages(*asked) == memory.packages(*asked) == found


def test_packages_of_an_index_that_lags_are_not_believed(repository: Repository) -> None:
    repository.write(PACKAGES, gzip.compress(binary("sample").encode()))
    with pytest.raises(ArchiveUnreachable, match="its index says"):
        repository.archive.packages(repository.index, repository.keyring, Arch.AMD64, frozenset({"sample"}))


def test_sources_of_an_index_that_lags_are_refused_with_both_sizes(repository: Repository) -> None:
    listed = (repository.dist / SOURCES).stat().st_size
    repository.write(SOURCES, b"x")
    with pytest.raises(ArchiveUnreachable, match=rf"Sources\.xz has 1 bytes, its index says {listed}"):
        repository.versions()


def test_sources_of_the_right_size_and_wrong_digest_are_refused(repository: Repository) -> None:
    repository.write(SOURCES, b"x" * (repository.dist / SOURCES).stat().st_size)
    with pytest.raises(ArchiveUnreachable, match=r"Sources\.xz has the sha256 [0-9a-f]{64}, its index says"):
        repository.versions()


def test_an_index_is_downloaded_once(repository: Repository) -> None:
    first = repository.versions()
    (repository.dist / SOURCES).unlink()
    assert repository.versions() == first


def test_a_damaged_cache_is_not_believed(repository: Repository) -> None:
    first = repository.versions()
    for path in repository.root.with_name("cache").iterdir():
        path.write_bytes(b"x" * path.stat().st_size)
    assert repository.versions() == first


def test_an_index_is_asked_for_by_its_digest_first(repository: Repository) -> None:
    data = (repository.dist / SOURCES).read_bytes()
    repository.sign(more="Acquire-By-Hash: yes\n")
    repository.write(f"main/source/by-hash/SHA256/{sha256(data)}", data)
    repository.write(SOURCES, b"of tomorrow")
    assert repository.versions() != []


def test_an_index_that_is_not_there_by_its_digest_is_asked_for_by_name(repository: Repository) -> None:
    repository.sign(more="Acquire-By-Hash: yes\n")
    assert repository.versions() != []


def test_an_architecture_that_the_release_does_not_list_is_named(repository: Repository) -> None:
    with pytest.raises(ArchiveUnreachable, match="does not list main/binary-s390x/Packages"):
        repository.archive.binaries(repository.index, repository.keyring, "sample", Arch.S390X)


def test_a_release_that_a_stranger_signed_is_refused(repository: Repository) -> None:
    repository.sign(STRANGER)
    with pytest.raises(BadSignature, match="stable/InRelease: no good signature"):
        repository.versions()


def test_the_release_of_another_suite_is_refused(repository: Repository) -> None:
    repository.sign(suite="oldstable")
    with pytest.raises(ArchiveUnreachable, match="is the Release of oldstable, not stable"):
        repository.versions()


def until(day: int) -> str:
    return f"Valid-Until: {format_datetime(NOW.replace(day=day)).replace('+0000', 'UTC')}\n"


def test_a_release_past_its_time_is_refused(repository: Repository) -> None:
    repository.sign(more=until(9))
    with pytest.raises(ArchiveUnreachable, match="was valid until 2026-01-09 00:00 UTC only"):
        repository.versions()


def test_a_release_past_its_time_is_taken_where_that_is_asked_for(repository: Repository) -> None:
    repository.sign(more=until(9))
    cache = repository.root.with_name("cache")
    repository.archive = HttpArchive(cache, SequoiaVerifier(), check_valid_until=False, now=lambda: NOW)
    assert repository.versions() != []


def test_a_release_within_its_time_is_taken(repository: Repository) -> None:
    repository.sign(more=until(11))
    assert repository.versions() != []


@pytest.mark.parametrize("data", [b"x", lzma.compress(b"Package: sample\n")[:-9]], ids=["not xz", "cut"])
def test_a_listed_index_that_cannot_be_unpacked_is_told(data: bytes, repository: Repository) -> None:
    repository.write(SOURCES, data)
    repository.sign()
    with pytest.raises(ArchiveUnreachable, match="cannot be unpacked"):
        repository.versions()


def test_an_index_that_unpacks_without_end_is_stopped(repository: Repository) -> None:
    repository.write(SOURCES, lzma.compress(b"x" * (20 << 20)))
    repository.sign()
    with pytest.raises(ArchiveUnreachable, match="a paragraph of more than"):
        repository.versions()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sample_1.0.orig", "../../evil", "unusable file"),
        ("Version: 1.0-1", "Version: x/y", "a version that is none"),
        ("Directory:", "Folder:", "without Directory"),
        (".dsc", ".txt", "no .dsc with a sha256"),
    ],
)
def test_an_entry_that_no_archive_tool_writes_is_refused(
    old: str, new: str, message: str, repository: Repository
) -> None:
    repository.write(SOURCES, lzma.compress(source("1.0-1").replace(old, new).encode()))
    repository.sign()
    with pytest.raises(ArchiveUnreachable, match=message):
        repository.versions()


FILE = File("a.deb", sha256(DEB), len(DEB))


def fetch(repository: Repository, file: File = FILE, path: str = "pool/a.deb") -> bytes:
    (repository.root / "pool").mkdir(exist_ok=True)
    (repository.root / "pool" / "a.deb").write_bytes(DEB)
    into = io.BytesIO()
    repository.archive.fetch(repository.index, path, file, into)
    return into.getvalue()


def test_a_file_is_fetched_whole(repository: Repository) -> None:
    assert fetch(repository) == DEB


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (replace(FILE, size=3), "has more bytes than the 3 that were expected"),
        (replace(FILE, size=99), "has 20 bytes, its index says 99"),
        (replace(FILE, sha256="0" * 64), "has the sha256"),
    ],
)
def test_a_file_that_is_not_what_its_index_says_is_refused(file: File, message: str, repository: Repository) -> None:
    with pytest.raises(ArchiveUnreachable, match=message):
        fetch(repository, file)


@pytest.mark.parametrize("path", ["../cache/x", "pool/../../x", "/etc/passwd", "pool//x", "a b", "x?y", ""])
def test_a_path_never_leads_out_of_the_archive(path: str, repository: Repository) -> None:
    with pytest.raises(ArchiveUnreachable, match="is not a path inside an archive"):
        fetch(repository, path=path)


def test_a_missing_file_is_told_as_such(repository: Repository) -> None:
    with pytest.raises(NotThere, match=r"pool/b\.deb does not exist"):
        fetch(repository, path="pool/b.deb")


class Body(httpx2.SyncByteStream):
    """What comes over a connection that may break in the midst of it."""

    def __init__(self, whole: bool = True) -> None:
        self._whole = whole

    def __iter__(self) -> Iterator[bytes]:
        yield DEB[:5]
        if not self._whole:
            raise httpx2.ReadError("connection reset")
        yield DEB[5:]


def over_http(answer: Callable[[int], httpx2.Response]) -> tuple[Transport, list[str]]:
    """A transport whose server answers by the number of the request, and the addresses asked for."""
    asked: list[str] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return answer(len(asked))

    return Transport(httpx2.Client(transport=httpx2.MockTransport(handle)), wait_seconds=0), asked


def get(transport: Transport) -> bytes:
    into = io.BytesIO()
    transport.download("http://a.example/x", into, 100)
    return into.getvalue()


def test_a_server_in_trouble_is_asked_again() -> None:
    transport, asked = over_http(lambda count: httpx2.Response(503 if count < 3 else 200, stream=Body()))
    assert get(transport) == DEB
    assert len(asked) == 3


def test_a_server_in_lasting_trouble_is_given_up_with_what_it_said() -> None:
    transport, asked = over_http(lambda count: httpx2.Response(502))
    with pytest.raises(ArchiveUnreachable, match=r"http://a\.example/x: the server answers 502"):
        get(transport)
    assert len(asked) == 4


def test_what_a_server_does_not_have_is_not_asked_for_again() -> None:
    transport, asked = over_http(lambda count: httpx2.Response(404))
    with pytest.raises(NotThere, match="the server answers 404, it does not have it"):
        get(transport)
    assert len(asked) == 1


def test_a_broken_download_begins_anew_and_its_digest_with_it(repository: Repository) -> None:
    def answer(count: int) -> httpx2.Response:
        return httpx2.Response(200, stream=Body(whole=count > 1))

    transport, asked = over_http(answer)
    archive = HttpArchive(repository.root, SequoiaVerifier(), transport=transport)
    into = io.BytesIO()
    archive.fetch(Index("http://a.example", "stable", ("main",)), "pool/a.deb", FILE, into)
    assert (into.getvalue(), len(asked)) == (DEB, 2)


def test_no_connection_is_told_in_plain_words() -> None:
    def refuse(count: int) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(ArchiveUnreachable, match="no connection, or a broken one"):
        get(over_http(refuse)[0])


@pytest.mark.parametrize("url", ["ftp://a.example/x", "x", "http://"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ArchiveUnreachable):
        Transport(wait_seconds=0).download(url, io.BytesIO(), 1)


@pytest.mark.engine
@pytest.mark.parametrize(("suite", "version"), [("bookworm-security", "3.1.6-2.1+deb12u1"), ("bookworm", "3.1.6-2.1")])
def test_a_real_source_comes_from_this_machines_mirror(suite: str, version: str, tmp_path: Path) -> None:
    archive = HttpArchive(tmp_path, SequoiaVerifier(), check_valid_until=checks_valid_until())
    index = Index(mirror_for(suite, "", ""), suite, ("main",))
    entry = archive.sources(index, DEBIAN, "libmodbus")[0]
    fetched = {}
    for file in entry.files:
        into = io.BytesIO()
        archive.fetch(index, f"{entry.directory}/{file.name}", file, into)
        fetched[file.name] = into.getvalue()
    source = intake.from_archive(fetched[entry.files[0].name], entry)
    assert (source.version, source.has_tests, len(fetched)) == (version, True, 3)


@pytest.mark.engine
def test_real_binaries_say_whether_their_index_was_verified(tmp_path: Path) -> None:
    archive = HttpArchive(tmp_path, SequoiaVerifier(), check_valid_until=checks_valid_until())
    index = Index(mirror_for("bookworm", "", ""), "bookworm", ("main",))
    found = archive.binaries(index, DEBIAN, "libmodbus", Arch.AMD64)
    assert [(entry.name, entry.verified) for entry in found] == [("libmodbus-dev", True), ("libmodbus5", True)]
