# SPDX-License-Identifier: GPL-3.0-or-later
"""`/signing`, for the signer alone."""

from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from coordinator.model import SigningRequest
from tests.web.kit import FakeFarm, file


def test_the_signer_gets_whole_updates(signer: TestClient, farm: FakeFarm) -> None:
    answer = signer.get("/api/v1/signing")
    found = TypeAdapter(list[SigningRequest]).validate_json(answer.content)
    assert found == [SigningRequest(farm.store.known, "archive")]


def test_signed_files_are_handed_in_by_digest(signer: TestClient, farm: FakeFarm) -> None:
    made = file("hello_1.1_multi.changes", b"c")
    body = {"files": [{"name": made.name, "sha256": made.sha256, "size": made.size}]}
    assert signer.post("/api/v1/signing/1", json=body).json()["id"] == 1
    assert farm.asked == [("signed", 1, (made,))]


def test_a_refusal_carries_its_reason(signer: TestClient, farm: FakeFarm) -> None:
    assert signer.post("/api/v1/signing/1/refusal", json={"reason": "one approval"}).status_code == 200
    assert farm.asked == [("refused", 1, "one approval")]


def test_a_refusal_without_a_reason_is_none(signer: TestClient, farm: FakeFarm) -> None:
    assert signer.post("/api/v1/signing/1/refusal", json={"reason": ""}).status_code == 400
    assert farm.asked == []
