# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in the words of buildd.debian.org, which every Debian developer reads already.

Pure, and only for people: nothing may decide by these words. Tests are no builds there; theirs are made alike.
"""

from enum import StrEnum
from typing import assert_never

from coordinator.model import Job, JobState, Update, UpdateState
from workers.wire.order import JobKind


class Word(StrEnum):
    """What a row of a build status page says."""

    NEEDS_BUILD = "Needs-Build"
    NEEDS_TEST = "Needs-Test"
    BUILDING = "Building"
    TESTING = "Testing"
    BUILT = "Built"
    TESTED = "Tested"
    BUILD_ATTEMPTED = "Build-Attempted"
    TEST_ATTEMPTED = "Test-Attempted"
    FAILED = "Failed"
    DEP_WAIT = "Dep-Wait"
    BD_UNINSTALLABLE = "BD-Uninstallable"
    UPLOADED = "Uploaded"
    INSTALLED = "Installed"


def word(update: Update, job: Job) -> Word:
    """What a job of the update is called now.

    `Failed` is the package's own doing. `Build-Attempted` says nothing of the package: the farm gave up, or a person
    stopped it.
    """
    test = job.kind == JobKind.TEST
    match job.state:
        case JobState.WAITING | JobState.DEP_WAIT:
            return Word.DEP_WAIT
        case JobState.QUEUED:
            return Word.NEEDS_TEST if test else Word.NEEDS_BUILD
        case JobState.LEASED:
            return Word.TESTING if test else Word.BUILDING
        case JobState.SUCCEEDED:
            return Word.TESTED if test else _built(update)
        case JobState.FAILED if job.report is not None:
            return Word.FAILED
        case JobState.FAILED | JobState.CANCELLED:
            return Word.TEST_ATTEMPTED if test else Word.BUILD_ATTEMPTED
        case JobState.UNINSTALLABLE:
            return Word.BD_UNINSTALLABLE
        case _ as unreachable:
            assert_never(unreachable)


def _built(update: Update) -> Word:
    if update.state == UpdateState.PUBLISHED:
        return Word.INSTALLED
    return Word.BUILT if update.uploaded_at is None else Word.UPLOADED
