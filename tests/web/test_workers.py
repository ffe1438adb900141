# SPDX-License-Identifier: GPL-3.0-or-later
"""`/workers`, what people decide about workers."""

import pytest
from fastapi.testclient import TestClient

from coordinator.errors import IllegalMove
from coordinator.model import Clearance, Role
from tests.web.kit import FakeFarm

AT = "/api/v1/workers/w1"


def test_a_worker_is_admitted_before_its_token_counts(person: TestClient, farm: FakeFarm) -> None:
    body = {"trust_domain": "rack-1", "clearance": "public", "token_sha256": "a" * 64}
    assert person.put(f"{AT}/admission", json=body).status_code == 204
    assert farm.store.decided == [
        ("admit", "w1", "rack-1", Clearance.PUBLIC),
        ("grant", "w1", Role.WORKER, "a" * 64),
    ]


def test_what_an_admission_does_not_say_is_left_as_it_is(person: TestClient, farm: FakeFarm) -> None:
    assert person.put(f"{AT}/admission", json={}).status_code == 204
    assert farm.store.decided == [("admit", "w1", None, None)]


@pytest.mark.parametrize(
    "body",
    [
        {"clearance": "secret"},
        {"trust_domain": ""},
        {"trust_domain": "Rack 1"},
        {"token_sha256": "the token itself"},
        {"draining": True},
    ],
)
def test_an_admission_that_is_not_understood_decides_nothing(
    person: TestClient, farm: FakeFarm, body: dict[str, object]
) -> None:
    assert person.put(f"{AT}/admission", json=body).status_code == 400
    assert farm.store.decided == []


@pytest.mark.parametrize("name", ["W1", "-w", "w%201", "w" * 64, "w%0a"])
def test_nobody_is_admitted_by_a_name_that_no_worker_can_have(person: TestClient, farm: FakeFarm, name: str) -> None:
    assert person.put(f"/api/v1/workers/{name}/admission", json={}).status_code == 400
    assert farm.store.decided == []


def test_a_worker_drains_and_resumes(person: TestClient, farm: FakeFarm) -> None:
    assert [person.post(f"{AT}/{word}").status_code for word in ("drain", "resume")] == [204, 204]
    assert farm.store.decided == [("drain", "w1", True), ("drain", "w1", False)]


def test_a_worker_that_nobody_knows_does_not_drain(person: TestClient) -> None:
    assert person.post("/api/v1/workers/w2/drain").status_code == 404


@pytest.mark.parametrize(("query", "force"), [("", False), ("?force=true", True)])
def test_a_worker_is_dismissed(person: TestClient, farm: FakeFarm, query: str, force: bool) -> None:
    assert person.delete(f"{AT}{query}").status_code == 204
    assert farm.asked == [("dismiss", "w1", force)]


def test_a_worker_at_work_is_not_dismissed(person: TestClient, farm: FakeFarm) -> None:
    farm.error = IllegalMove("w1 has 1 attempts")
    assert person.delete(AT).status_code == 409
