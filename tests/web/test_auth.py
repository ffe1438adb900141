# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what."""

import pytest
from fastapi.testclient import TestClient

from tests.web.kit import FakeFarm, web

PEOPLES = [
    ("GET", "/updates"),
    ("GET", "/updates/1"),
    ("GET", "/updates/1/history"),
    ("GET", "/updates/1/digests"),
    ("POST", "/updates/1/approvals"),
    ("POST", "/updates/1/retry"),
    ("POST", "/updates/1/cancel"),
    ("POST", "/updates/1/withdraw"),
    ("GET", "/jobs/1/build/amd64/1/log"),
    ("GET", "/workers"),
    ("PUT", "/workers/w1/admission"),
    ("POST", "/workers/w1/drain"),
    ("POST", "/workers/w1/resume"),
    ("DELETE", "/workers/w1"),
    ("GET", "/suites"),
]
SIGNERS = [("GET", "/signing"), ("POST", "/signing/1"), ("POST", "/signing/1/refusal")]
WORKERS = [
    ("PUT", "/workers/w1"),
    ("POST", "/workers/w1/claim?claim=0123456789abcdef"),
    ("POST", "/jobs/1/build/amd64/1/renew?worker=w1"),
    ("POST", "/jobs/1/build/amd64/1/log?offset=0"),
    ("POST", "/jobs/1/build/amd64/1/report"),
]


@pytest.mark.parametrize(("method", "path"), [*PEOPLES, *SIGNERS, *WORKERS, ("GET", "/openapi.json")])
def test_nothing_is_answered_without_a_token(farm: FakeFarm, method: str, path: str) -> None:
    answer = web(farm).request(method, f"/api/v1{path}")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert farm.asked == []


@pytest.mark.parametrize(("method", "path"), PEOPLES)
def test_what_is_a_persons_is_no_workers(worker: TestClient, farm: FakeFarm, method: str, path: str) -> None:
    assert worker.request(method, f"/api/v1{path}").status_code == 403
    assert farm.asked == []


@pytest.mark.parametrize(("method", "path"), [*SIGNERS, *WORKERS])
def test_what_is_the_signers_or_a_workers_is_no_persons(
    person: TestClient, farm: FakeFarm, method: str, path: str
) -> None:
    assert person.request(method, f"/api/v1{path}").status_code == 403
    assert farm.asked == []


def test_an_unknown_token_is_refused_and_not_repeated(farm: FakeFarm) -> None:
    answer = web(farm, "stolen-and-revoked").get("/api/v1/updates")
    assert answer.status_code == 401
    assert "stolen" not in answer.text


def test_health_needs_no_token(farm: FakeFarm) -> None:
    assert web(farm).get("/health").json() == {"status": "ok"}


def test_the_description_is_for_everybody_with_a_token(worker: TestClient) -> None:
    assert "/api/v1/updates/{update}" in worker.get("/api/v1/openapi.json").json()["paths"]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_there_is_no_page_about_the_api(person: TestClient, path: str) -> None:
    assert person.get(path).status_code == 404
