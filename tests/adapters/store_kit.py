# SPDX-License-Identifier: GPL-3.0-or-later
"""An update to keep, with every field filled; and calls that are begun together."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from coordinator.errors import Blame, PatchfarmError
from coordinator.model import (
    Approval,
    File,
    Job,
    JobState,
    Origin,
    Source,
    TestResult,
    Update,
    UpdateState,
    Urgency,
    Verdict,
)
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKey, JobKind
from workers.wire.report import Artifact, Outcome, Report, StepTiming

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DSC = File("hello_1.1.dsc", "d" * 64, 2**40)


def job(arch: Arch = Arch.AMD64, state: JobState = JobState.QUEUED, **changed: Any) -> Job:
    return replace(Job(JobKind.BUILD, arch, state, attempt=1, queued_at=NOW), **changed)


def leased(arch: Arch = Arch.AMD64) -> Job:
    return job(arch, JobState.LEASED, worker="w1", tier=Tier.NATIVE, started_at=NOW, lease_expires_at=NOW + MINUTE)


def update(*jobs: Job, **changed: Any) -> Update:
    """As it comes from intake: without id and revision."""
    source = Source("hello", "1.1", ("any", "all"), True, True, False, Origin.UPLOAD, "f" * 40, (DSC,))
    made = Update(
        id=0,
        revision=0,
        state=UpdateState.BUILDING,
        source=source,
        suite="bookworm-security",
        recipe="debian/bookworm-security",
        recipe_sha256="0" * 64,
        urgency=Urgency.HIGH,
        submitter="sam",
        approvals_needed=2,
        created_at=NOW - MINUTE,
        changed_at=NOW,
        jobs=jobs,
    )
    return replace(made, **changed)


def full() -> Update:
    """With something in every part and every optional field."""
    step = StepTiming("compile", 0, 1.5, 0.25)
    artifact = Artifact("hello_1.1_amd64.deb", "a" * 64, 3)
    key = JobKey(1, JobKind.BUILD, Arch.AMD64)
    report = Report(
        key, 1, Outcome.FINISHED, "", (step,), (artifact,), "0" * 64, "image", Tier.NATIVE, "w1", ("late index",)
    )
    tests = (TestResult("smoke", Verdict.FLAKY, "failed 'once'\n…"),)
    done = replace(leased(), state=JobState.SUCCEEDED, ended_at=NOW, report=report, tests=tests, reason="built")
    approvals = tuple(Approval(name, "f" * 40, "d" * 64, f"signed by {name}", NOW) for name in ("zoe", "abe"))
    return update(
        done,
        job(Arch.ALL, JobState.WAITING, queued_at=None, cancel=True, farm_faults=2),
        approvals=approvals,
        signed=(File("hello_1.1_multi.changes", "c" * 64, 1), DSC),
        uploaded_at=NOW,
        reason="why",
        blame=Blame.PACKAGE,
    )


def at_once(*calls: Callable[[], object]) -> list[object]:
    """What each call answered or raised, begun together in threads of their own."""
    gate, answers = threading.Barrier(len(calls)), list[object]()

    def run(call: Callable[[], object]) -> None:
        gate.wait()
        try:
            answers.append(call())
        except PatchfarmError as refusal:
            answers.append(refusal)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
