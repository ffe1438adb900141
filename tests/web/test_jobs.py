# SPDX-License-Identifier: GPL-3.0-or-later
"""`/jobs` and `/workers`, a worker's side of the farm."""

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from coordinator.errors import Fenced
from coordinator.model import sha256_of
from tests.web.kit import KEY, FakeFarm, offer, report
from workers.wire.arch import Arch
from workers.wire.codec import decode, encode
from workers.wire.order import WIRE_VERSION, JobKind, Order

AT = "/api/v1/jobs/1/build/amd64/1"
CLAIM = "0123456789abcdef"


def test_a_claim_answers_the_order(worker: TestClient, farm: FakeFarm) -> None:
    answer = worker.post(f"/api/v1/workers/w1/claim?claim={CLAIM}")
    assert decode(Order, answer.content).job == KEY
    assert farm.asked == [("claim", "w1", CLAIM)]


def test_a_claim_of_nothing_is_409(worker: TestClient, farm: FakeFarm) -> None:
    farm.error = Fenced("there is nothing to do")
    assert worker.post(f"/api/v1/workers/w1/claim?claim={CLAIM}").status_code == 409


@pytest.mark.parametrize("query", ["", "?claim=", "?claim=xyz", f"?claim={CLAIM * 5}", f"?claim={CLAIM}%0a"])
def test_a_claim_that_is_not_understood_is_400(worker: TestClient, farm: FakeFarm, query: str) -> None:
    assert worker.post(f"/api/v1/workers/w1/claim{query}").status_code == 400
    assert farm.asked == []


def test_no_worker_speaks_for_another(worker: TestClient, farm: FakeFarm) -> None:
    answers = [
        worker.post(f"/api/v1/workers/w2/claim?claim={CLAIM}"),
        worker.post(f"{AT}/renew?worker=w2"),
        worker.post(f"{AT}/report", content=encode(report(worker="w2"))),
        worker.put("/api/v1/workers/w2", content=encode(offer("w2"))),
        worker.put("/api/v1/workers/w1", content=encode(offer("w2"))),
    ]
    assert [answer.status_code for answer in answers] == [403] * 5
    assert farm.asked == []


def test_a_renewed_lease_says_whether_to_stop(worker: TestClient, farm: FakeFarm) -> None:
    assert worker.post(f"{AT}/renew?worker=w1").json() == {"cancel": False, "lease_seconds": 60}
    assert farm.asked == [("renew", KEY, 1, "w1")]


def test_a_file_is_brought_to_the_attempt_that_made_it(worker: TestClient, farm: FakeFarm) -> None:
    assert worker.put(f"{AT}/files/{sha256_of(b'deb')}", content=b"deb").status_code == 204
    assert farm.brought == [("w1", KEY, 1, sha256_of(b"deb"), b"deb")]


def test_a_file_of_an_attempt_that_another_has_is_409(worker: TestClient, farm: FakeFarm) -> None:
    farm.error = Fenced("it is not yours")
    assert worker.put(f"{AT}/files/{sha256_of(b'deb')}", content=b"deb").status_code == 409


def test_a_file_of_unknown_length_is_400(worker: TestClient, farm: FakeFarm) -> None:
    assert worker.put(f"{AT}/files/{sha256_of(b'deb')}", content=iter([b"deb"])).status_code == 400
    assert farm.brought == []


def test_nobody_but_a_worker_brings_files_to_an_attempt(person: TestClient, farm: FakeFarm) -> None:
    assert person.put(f"{AT}/files/{sha256_of(b'deb')}", content=b"deb").status_code == 403
    assert farm.brought == []


def test_a_report_reaches_the_farm_whole(worker: TestClient, farm: FakeFarm) -> None:
    assert worker.post(f"{AT}/report", content=encode(report())).status_code == 204
    assert farm.asked == [("report", "w1", report())]


@pytest.mark.parametrize(
    "other", [{"attempt": 2}, {"job": replace(KEY, kind=JobKind.TEST)}, {"version": WIRE_VERSION + 1}]
)
def test_a_report_of_something_else_than_its_address_is_400(
    worker: TestClient, farm: FakeFarm, other: dict[str, Any]
) -> None:
    assert worker.post(f"{AT}/report", content=encode(report(**other))).status_code == 400
    assert farm.asked == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"job": 1}'])
def test_a_report_that_is_none_is_400(worker: TestClient, farm: FakeFarm, body: bytes) -> None:
    assert worker.post(f"{AT}/report", content=body).status_code == 400
    assert farm.asked == []


def test_an_offer_signs_a_worker_on(worker: TestClient, farm: FakeFarm) -> None:
    assert worker.put("/api/v1/workers/w1", content=encode(offer())).status_code == 204
    assert farm.asked == [("sign_on", offer())]


@pytest.mark.parametrize("said", [{"slots": 0}, {"cores": -4}, {"memory_bytes": 10**400}])
def test_an_offer_of_no_possible_machine_is_400(worker: TestClient, farm: FakeFarm, said: dict[str, Any]) -> None:
    assert worker.put("/api/v1/workers/w1", content=encode(replace(offer(), **said))).status_code == 400
    assert farm.asked == []


def test_the_log_grows_at_its_end_alone(worker: TestClient, farm: FakeFarm) -> None:
    assert worker.post(f"{AT}/log?offset=0", content=b"one\n").json() == {"size": 4}
    assert worker.post(f"{AT}/log?offset=9", content=b"two\n").status_code == 400
    assert farm.asked == [("add_to_log", "w1", KEY, 1)] * 2


def test_a_log_of_an_attempt_that_another_has_is_409(worker: TestClient, farm: FakeFarm) -> None:
    farm.error = Fenced("it is not yours")
    assert worker.post(f"{AT}/log?offset=0", content=b"x").status_code == 409


@pytest.mark.parametrize("path", ["1/build/vax/1", "1/deploy/amd64/1", "1/build/amd64/0", "1/build/amd64/9999999999"])
def test_an_address_of_no_possible_job_is_400(worker: TestClient, path: str) -> None:
    assert worker.post(f"/api/v1/jobs/{path}/renew?worker=w1").status_code == 400


def test_a_body_that_is_too_large_to_hold_is_413(worker: TestClient, farm: FakeFarm) -> None:
    assert worker.post(f"{AT}/log?offset=0", content=b"x" * (9 << 20)).status_code == 413
    assert farm.logs.data == b""


def test_workers_are_listed_with_what_they_run(person: TestClient) -> None:
    listed = person.get("/api/v1/workers").json()
    assert [each["worker"]["tiers"] for each in listed] == [{Arch.AMD64: "native"}]
