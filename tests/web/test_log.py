# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an attempt's log while it grows."""

import pytest
from fastapi.testclient import TestClient

from coordinator.model import JobState
from tests.web.kit import KEY, FakeFarm, FakeLogs, job, update
from workers.wire.order import JobKey

AT = "/api/v1/jobs/1/build/amd64/1/log"


def test_a_part_of_a_log_tells_its_whole_size_and_that_more_may_come(person: TestClient, farm: FakeFarm) -> None:
    farm.logs.data = b"one\ntwo\n"
    answer = person.get(f"{AT}?offset=4&count=3")
    assert (answer.content, answer.headers["X-Log-Size"], answer.headers["X-Log-Ended"]) == (b"two", "8", "false")


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.WAITING])
def test_an_attempt_that_nobody_works_on_has_ended(person: TestClient, farm: FakeFarm, state: JobState) -> None:
    farm.store.known = update(jobs=[job(state=state)])
    assert person.get(f"{AT}?wait=30").headers["X-Log-Ended"] == "true"


def test_an_attempt_before_the_current_one_has_ended(person: TestClient, farm: FakeFarm) -> None:
    farm.store.known = update(jobs=[job(attempt=2)])
    assert person.get(AT).headers["X-Log-Ended"] == "true"


@pytest.mark.parametrize("path", ["1/build/amd64/2", "1/test/amd64/1", "2/build/amd64/1"])
def test_an_attempt_that_never_was_is_404(person: TestClient, path: str) -> None:
    assert person.get(f"/api/v1/jobs/{path}/log").status_code == 404


class LateLogs(FakeLogs):
    """Bytes come at the second look."""

    looks = 0

    def read(self, key: JobKey, attempt: int, offset: int, count: int) -> bytes:
        self.looks += 1
        if self.looks == 2:
            self.append(KEY, 1, 0, b"late")
        return super().read(key, attempt, offset, count)


def test_a_reader_that_waits_gets_what_comes_late(person: TestClient, farm: FakeFarm) -> None:
    farm.logs = LateLogs()
    assert person.get(f"{AT}?wait=30").content == b"late"


def test_a_reader_that_does_not_wait_gets_nothing_at_once(person: TestClient, farm: FakeFarm) -> None:
    farm.logs = LateLogs()
    assert person.get(AT).content == b""


@pytest.mark.parametrize("query", ["wait=31", "offset=-1", "count=0", "count=9999999", "offset=99999999999999"])
def test_nobody_asks_for_too_much(person: TestClient, query: str) -> None:
    assert person.get(f"{AT}?{query}").status_code == 400
