# SPDX-License-Identifier: GPL-3.0-or-later
"""`/blobs` and `/repository`: bytes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from coordinator.errors import NotAllowed
from coordinator.model import sha256_of
from tests.web.kit import FakeFarm, web
from tests.web.test_auth import PEOPLES

LARGE = b"0123456789abcdef" * (1 << 18)


def test_bytes_come_back_by_their_digest(person: TestClient) -> None:
    place = f"/api/v1/blobs/{sha256_of(LARGE)}"
    assert person.head(place).status_code == 404
    assert person.put(place, content=LARGE).status_code == 204
    assert person.head(place).headers["Content-Length"] == str(len(LARGE))
    assert person.get(place).content == LARGE


def test_a_worker_gets_what_the_farm_says_is_for_it(worker: TestClient, farm: FakeFarm) -> None:
    place = f"/api/v1/blobs/{farm.blobs.add(b'mine')}"
    assert worker.get(place).content == b"mine"
    farm.error = NotAllowed("it belongs to nothing that w1 has")
    assert (worker.get(place).status_code, worker.head(place).status_code) == (403, 403)


def test_a_worker_brings_nothing_but_to_an_attempt(worker: TestClient, farm: FakeFarm) -> None:
    answer = worker.put(f"/api/v1/blobs/{sha256_of(b'mine')}", content=b"mine")
    assert (answer.status_code, answer.json()["error"]) == (403, "NotAllowed")
    assert not (farm.blobs.folder / sha256_of(b"mine")).exists()


def test_an_empty_file_can_be_kept(person: TestClient) -> None:
    assert person.put(f"/api/v1/blobs/{sha256_of(b'')}", content=b"").status_code == 204


def test_other_bytes_than_the_digest_says_are_refused(person: TestClient) -> None:
    answer = person.put(f"/api/v1/blobs/{sha256_of(b'good')}", content=b"evil")
    assert (answer.status_code, answer.json()["error"]) == (422, "BadSource")


def test_an_upload_of_unknown_length_is_refused(person: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"

    assert person.put(f"/api/v1/blobs/{sha256_of(b'x')}", content=pieces()).status_code == 400


def test_an_upload_beyond_the_limit_is_413_before_a_byte_is_read(person: TestClient, farm: FakeFarm) -> None:
    headers = {"Content-Length": str((8 << 30) + 1)}
    answer = person.put(f"/api/v1/blobs/{sha256_of(b'x')}", content=b"x", headers=headers)
    assert answer.status_code == 413
    assert farm.blobs.longest_read == 0


@pytest.mark.parametrize("name", ["0" * 63, "G" * 64, "A" * 64, "..%2f..%2fetc%2fpasswd"])
def test_a_name_that_is_no_digest_is_refused(worker: TestClient, name: str) -> None:
    assert worker.get(f"/api/v1/blobs/{name}").status_code in (400, 404)


def test_nobody_without_a_token_gets_or_puts_bytes(farm: FakeFarm) -> None:
    digest = farm.blobs.add(b"secret")
    assert web(farm).get(f"/api/v1/blobs/{digest}").status_code == 401
    assert web(farm).put(f"/api/v1/blobs/{sha256_of(b'x')}", content=b"x").status_code == 401
    assert not (farm.blobs.folder / sha256_of(b"x")).exists()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive's folder with what reprepro keeps beside dists and pool."""
    for name in ("dists/s/InRelease", "pool/h.deb", "conf/distributions", "db/packages.db"):
        (tmp_path / "repository" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repository" / name).write_text(name)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "repository/pool/link").symlink_to(tmp_path / "secret")
    return tmp_path / "repository"


@pytest.mark.parametrize("name", ["dists/s/InRelease", "pool/h.deb"])
def test_the_archive_is_for_everybody(farm: FakeFarm, archive: Path, name: str) -> None:
    assert web(farm, repository=archive).get(f"/repository/{name}").text == name


@pytest.mark.parametrize(
    "name",
    ["conf/distributions", "db/packages.db", "pool/../conf/distributions", "pool/%2e%2e/%2e%2e/secret", "pool/link"],
)
def test_nothing_beside_the_archive_is(farm: FakeFarm, archive: Path, name: str) -> None:
    assert web(farm, repository=archive).get(f"/repository/{name}").status_code == 404


def test_an_archive_that_is_not_there_yet_is_empty(farm: FakeFarm, tmp_path: Path) -> None:
    assert web(farm, repository=tmp_path / "later").get("/repository/dists/s/InRelease").status_code == 404


def test_an_unexpected_error_tells_nothing_of_itself(person: TestClient, farm: FakeFarm) -> None:
    farm.error = RuntimeError("postgresql://user:password@host")
    answer = person.post("/api/v1/updates/1/retry")
    assert (answer.status_code, answer.json()["error"]) == (500, "PatchfarmError")
    assert "password" not in answer.text


def test_a_full_disk_is_said_to_be_one(person: TestClient, farm: FakeFarm) -> None:
    farm.error = OSError(28, "No space left on device")
    assert person.post("/api/v1/updates/1/retry").status_code == 507


def test_the_description_knows_every_address_of_people(person: TestClient) -> None:
    described = person.get("/api/v1/openapi.json").json()["paths"]
    assert len(described) > len({path for _, path in PEOPLES})
