# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in buildd's words."""

import pytest

from coordinator.buildd import Word, word
from coordinator.model import JobState, UpdateState
from tests.web.kit import NOW, job, report, update
from workers.wire.order import JobKind

S, J = UpdateState, JobState


@pytest.mark.parametrize(
    ("state", "build", "test"),
    [
        (J.WAITING, Word.DEP_WAIT, Word.DEP_WAIT),
        (J.DEP_WAIT, Word.DEP_WAIT, Word.DEP_WAIT),
        (J.QUEUED, Word.NEEDS_BUILD, Word.NEEDS_TEST),
        (J.LEASED, Word.BUILDING, Word.TESTING),
        (J.SUCCEEDED, Word.BUILT, Word.TESTED),
        (J.CANCELLED, Word.BUILD_ATTEMPTED, Word.TEST_ATTEMPTED),
        (J.FAILED, Word.BUILD_ATTEMPTED, Word.TEST_ATTEMPTED),
        (J.UNINSTALLABLE, Word.BD_UNINSTALLABLE, Word.BD_UNINSTALLABLE),
    ],
)
def test_every_state_has_a_word(state: JobState, build: Word, test: Word) -> None:
    assert word(update(), job(JobKind.BUILD, state)) == build
    assert word(update(), job(JobKind.TEST, state)) == test


@pytest.mark.parametrize("kind", [JobKind.BUILD, JobKind.TEST])
def test_failed_is_what_the_package_itself_did(kind: JobKind) -> None:
    assert word(update(), job(kind, J.FAILED, report=report())) == Word.FAILED


def test_what_is_built_is_uploaded_and_then_installed() -> None:
    built = job(state=J.SUCCEEDED)
    assert word(update(S.PUBLISHING), built) == Word.BUILT
    assert word(update(S.PUBLISHING, uploaded_at=NOW), built) == Word.UPLOADED
    assert word(update(S.PUBLISHED, uploaded_at=NOW), built) == Word.INSTALLED
