# SPDX-License-Identifier: GPL-3.0-or-later
"""`/updates`."""

import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from coordinator.client import Client
from coordinator.errors import IllegalMove
from coordinator.model import JobState, Update, UpdateState, Urgency, Waiting
from tests.web.kit import NOW, FakeFarm, file, job, report, update


def test_an_update_comes_back_as_it_is(person: TestClient, farm: FakeFarm) -> None:
    farm.store.known = update(jobs=[job(state=JobState.SUCCEEDED, report=report())])
    answer = person.get("/api/v1/updates/1")
    assert TypeAdapter(Update).validate_json(answer.content) == farm.store.known


def test_updates_are_listed_by_state(person: TestClient, farm: FakeFarm) -> None:
    answer = person.get("/api/v1/updates?state=failed&state=building&limit=7")
    assert [each["id"] for each in answer.json()] == [1]
    assert farm.store.listed == ([UpdateState.FAILED, UpdateState.BUILDING], 7)


def test_files_are_submitted_in_the_name_of_the_tokens_bearer(person: TestClient, farm: FakeFarm) -> None:
    dsc = file("hello_1.1.dsc", b"dsc")
    named = {"name": dsc.name, "sha256": dsc.sha256, "size": dsc.size}
    body = {"suite": "bookworm-security", "files": [named], "urgency": "critical"}
    assert person.post("/api/v1/updates", json=body).status_code == 201
    assert farm.asked == [("submit", "paula", "bookworm-security", (dsc,), Urgency.CRITICAL)]


def test_a_source_of_the_archive_is_submitted_by_name(person: TestClient, farm: FakeFarm) -> None:
    body = {"suite": "bookworm-security", "archive": "hello"}
    assert person.post("/api/v1/updates", json=body).status_code == 201
    assert farm.asked == [("submit_from_archive", "paula", "bookworm-security", "hello", None)]


@pytest.mark.parametrize(
    "body",
    [
        {"suite": "s"},
        {"suite": "s", "files": []},
        {"suite": "s", "archive": "a", "files": [{"name": "a", "sha256": "b", "size": 1}]},
        {"suite": "s", "archive": "a", "submitter": "somebody else"},
        {"suite": "s", "archive": "a", "urgency": "high"},
        {"suite": "s", "files": [{"name": "a", "sha256": "b", "size": 1}], "version": "1"},
        [],
    ],
)
def test_a_submission_that_is_not_clear_is_refused(person: TestClient, farm: FakeFarm, body: object) -> None:
    answer = person.post("/api/v1/updates", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "BadRequest")
    assert farm.asked == []


def test_the_digest_set_is_plain_text(person: TestClient, farm: FakeFarm) -> None:
    answer = person.get("/api/v1/updates/1/digests")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text == farm.store.known.digest_set()


def test_an_approval_arrives_byte_for_byte(person: TestClient, farm: FakeFarm) -> None:
    signed = b"-----BEGIN PGP SIGNED MESSAGE-----\r\n\xff{}\n"
    answer = person.post("/api/v1/updates/1/approvals", content=signed, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201
    assert farm.asked == [("approve", 1, signed)]


def test_retry_cancel_and_withdraw_say_who_asked(person: TestClient, farm: FakeFarm) -> None:
    person.post("/api/v1/updates/1/retry")
    person.post("/api/v1/updates/1/cancel")
    person.post("/api/v1/updates/1/withdraw", json={"why": "too early"})
    assert farm.asked == [("retry", 1, "paula"), ("cancel", 1, "paula"), ("withdraw", 1, "paula", "too early")]


def test_the_history_of_an_update_that_is_none_is_404(person: TestClient) -> None:
    assert person.get("/api/v1/updates/2/history").status_code == 404


def test_an_illegal_move_tells_blame_advice_and_exit_code(person: TestClient, farm: FakeFarm) -> None:
    farm.error = IllegalMove("update 1 is published", "Look at it.")
    answer = person.post("/api/v1/updates/1/retry")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "title": "The update is not in a state where that can happen; the message carries its story so far.",
        "status": 409,
        "detail": "update 1 is published",
        "blame": "submitter",
        "exit_code": 16,
        "advice": "Look at it.",
        "error": "IllegalMove",
    }


@pytest.mark.parametrize("number", ["0", "-1", "2147483648", "99999999999999999999999", "one"])
def test_a_number_that_no_update_can_have_is_refused(person: TestClient, number: str) -> None:
    assert person.get(f"/api/v1/updates/{number}").status_code == 400


def test_suites_are_those_of_the_recipes(person: TestClient) -> None:
    found = {suite["name"]: suite for suite in person.get("/api/v1/suites").json()}
    assert found["bookworm-security"]["all_on"] == "amd64"
    assert found["bookworm-security"]["approvals_needed"] == 2


def test_what_an_update_waits_for_is_told_to_people(person: TestClient, farm: FakeFarm) -> None:
    farm.store.open = [Waiting("Upload", 3, NOW, "the target does not take it")]
    assert Client(person).waiting(1) == farm.store.open
    assert person.get("/api/v1/updates/2/waiting").status_code == 404
