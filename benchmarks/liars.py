# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that speaks too late, or says what is not so, at each stage of a job: it is refused, and another does it.

It is a script with a token of its own that says what it likes over HTTP, as a broken worker would, or a hostile one.
"""

import hashlib
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import cell, kit
from benchmarks.cell import AMID, LEASE, Fault
from benchmarks.kit import ARCH, MIB, Farm
from coordinator.embedded import machine, preparation
from coordinator.model import Clearance, HistoryEntry, Job, JobState, UpdateState, sha256_of
from workers.errors import Fenced, Refused
from workers.transfer import HttpFarm
from workers.wire.arch import Tier
from workers.wire.order import JobKey, JobKind
from workers.wire.report import Artifact, Offer, Outcome, Report, StepTiming

LIAR = "liar"
#: How long a lost attempt may stay the liar's, in seconds: its lease, and until the engine has counted that.
_LOST = 90.0
#: What the logs of the stages have in them; the liar's has it too.
_BEGUN = ["preparing"]
_AMID = [*_BEGUN, *(f"line {number}" for number in range(1, AMID + 1))]
_PRINTED: dict[str, list[str]] = {
    cell.preparing.__name__: _BEGUN,
    cell.building.__name__: _AMID,
    cell.reporting.__name__: [*_AMID, "dpkg-genchanges"],
    cell.testing.__name__: _AMID,
}


def worker(farm: Farm) -> HttpFarm:
    """What the liar speaks by. The first call lets it in."""
    file = farm.home.secrets / f"{LIAR}.token"
    if not file.exists():
        token = secrets.token_urlsafe(32)
        preparation.write(file, f"{token}\n")
        farm.client.admit(LIAR, None, Clearance.EMBARGOED, sha256_of(token))
    return HttpFarm(farm.settings.url, LIAR, lambda: file.read_text().strip(), patience=10)


def claimed(farm: Farm, update: int, stage: str) -> JobKey:
    """The liar has the first attempt of the job that the stage is of, and takes no other; nor does anybody."""
    kind = JobKind.BUILD
    if stage == cell.testing.__name__:
        kind = JobKind.TEST
        farm.client.resume(machine.worker_name())
        cell.building(farm, update)
        farm.client.drain(machine.worker_name())
    kit.wait_for(lambda: (job := job_of(farm, update, kind)) is not None and job.state == JobState.QUEUED, cell.REST)
    liar = worker(farm)
    liar.sign_on(Offer(LIAR, {ARCH: Tier.NATIVE}, 1, LIAR, 1, 1024 * MIB))
    farm.client.resume(LIAR)
    order = liar.claim()
    farm.client.drain(LIAR)
    return order.job


def silent(farm: Farm, update: int, stage: str) -> None:
    """It claims, and says nothing until the attempt is lost; then the farm's worker may have it."""
    key = claimed(farm, update, stage)
    kit.wait_for(lambda: (job := job_of(farm, update, key.kind)) is not None and job.worker != LIAR, _LOST)
    if stage != cell.queued.__name__:
        farm.client.resume(machine.worker_name())


def late(farm: Farm, update: int) -> str:
    """With its old number, and with the number that is another's now: a sign of life, a log, a file, a report."""
    liar, before = worker(farm), told_of_first(farm, update)
    kind, job = current(farm, update)
    key = JobKey(update, kind, ARCH)
    for attempt in range(1, job.attempt + 1):
        refused(partial(liar.renew, key, attempt), Fenced)
        refused(partial(liar.log, key, attempt, 0, b"it was mine\n"), Fenced)
        refused(partial(liar.report, made_up(key, attempt, ())), Fenced)
    bring(farm, update, *made_of_nothing())
    if told_of_first(farm, update) != before:
        raise RuntimeError("what a worker said too late has changed something")
    return f"refused with every number up to {job.attempt}"


def at_work(farm: Farm, update: int, stage: str) -> None:
    """It claims, and its log says that it has come to the stage. What waits for a claim is not claimed."""
    if stage == cell.queued.__name__:
        return
    key = claimed(farm, update, stage)
    worker(farm).log(key, 1, 0, "".join(f"{line}\n" for line in _PRINTED[stage]).encode())


def never_uploaded(farm: Farm, update: int) -> str:
    """It reports a file that nobody has."""
    return lie(farm, update, made_of_nothing()[0])


def other_size(farm: Farm, update: int) -> str:
    """It reports a file that it has brought, with another size."""
    file, data = made_of_nothing()
    bring(farm, update, file, data)
    return lie(farm, update, replace(file, size=file.size + 1))


def other_bytes(farm: Farm, update: int) -> str:
    """It brings bytes that do not have the digest under which it reports them."""
    file, data = made_of_nothing()
    bring(farm, update, file, data[::-1], Refused)
    return lie(farm, update, file)


def beside_another(farm: Farm, update: int, stage: str) -> None:
    """The same, and there is an update whose files are none of the liar's business."""
    other = cell.submit(farm, f"other-{secrets.token_hex(4)}")
    farm.client.withdraw(other, "it was here for its files alone")
    at_work(farm, update, stage)


def of_another_update(farm: Farm, update: int) -> str:
    """It reports a file of another update, of which it knows the digest, as its own."""
    stolen = farm.client.updates([UpdateState.WITHDRAWN])[0].source.dsc
    return lie(farm, update, Artifact("stolen.deb", stolen.sha256, stolen.size))


def lie(farm: Farm, update: int, artifact: Artifact) -> str:
    """Report it: it is refused and is the farm's fault, and the liar is not given the job again."""
    kind, job = current(farm, update)
    key = JobKey(update, kind, ARCH)
    liar, attempt = worker(farm), max(job.attempt, 1)
    if job.farm_faults:
        raise RuntimeError("the liar had lost its attempt before it could lie")
    if job.worker != LIAR:
        refused(partial(liar.report, made_up(key, attempt, (artifact,))), Fenced)
        return "refused, as it has nothing to report of"
    refused(partial(liar.report, made_up(key, attempt, (artifact,))), Refused)
    after = current(farm, update)[1]
    if (after.state, after.farm_faults, after.failed_on) != (JobState.QUEUED, 1, (LIAR,)):
        raise RuntimeError(f"after a lie the job is {after.state}, and the fault was counted {after.farm_faults} times")
    farm.client.resume(machine.worker_name())
    farm.client.resume(LIAR)
    refused(liar.claim, Fenced)
    farm.client.drain(LIAR)
    return "refused, and not given it again"


def made_up(key: JobKey, attempt: int, artifacts: tuple[Artifact, ...]) -> Report:
    """A report of an attempt that went well, as if it had been."""
    steps, digest = (StepTiming("build", 0, 1.0, 0.1),), sha256_of("")
    return Report(key, attempt, Outcome.FINISHED, "", steps, artifacts, digest, "sha256:0", Tier.NATIVE, LIAR)


def made_of_nothing() -> tuple[Artifact, bytes]:
    """A file that no build has made, and its bytes."""
    data = secrets.token_bytes(8)
    return Artifact("made-up.deb", hashlib.sha256(data).hexdigest(), len(data)), data


def bring(farm: Farm, update: int, file: Artifact, data: bytes, how: type[Exception] | None = None) -> None:
    """Say that these bytes are the file. What the liar does not have takes none; else `how` it is refused, if it is."""
    kind, job = current(farm, update)
    expected = how if job.worker == LIAR else Fenced
    with tempfile.NamedTemporaryFile() as kept:
        kept.write(data)
        kept.flush()
        say = partial(worker(farm).bring, JobKey(update, kind, ARCH), max(job.attempt, 1), file, Path(kept.name))
        if expected is None:
            say()
        else:
            refused(say, expected)


def refused(say: Callable[[], object], how: type[Exception]) -> None:
    """Raises RuntimeError where it is not refused like that."""
    try:
        say()
    except how:
        return
    raise RuntimeError(f"what a liar said was taken, and should have been {how.__name__}")


def job_of(farm: Farm, update: int, kind: JobKind) -> Job | None:
    """The update's job of that kind, if there is one."""
    return farm.client.update(update).job(kind, ARCH)


def current(farm: Farm, update: int) -> tuple[JobKind, Job]:
    """The job that the update is at."""
    build, test = (job_of(farm, update, kind) for kind in (JobKind.BUILD, JobKind.TEST))
    job = test if build is not None and build.ended else build
    if job is None:
        raise RuntimeError(f"update {update} has no jobs yet")
    return job.kind, job


def told_of_first(farm: Farm, update: int) -> tuple[list[HistoryEntry], bytes]:
    """What the farm knows of the first attempt at the job that the update is at."""
    kind = current(farm, update)[0]
    first = f"kind {kind}, arch {ARCH}, attempt 1"
    entries = [entry for entry in farm.client.history(update) if first in entry.detail]
    return entries, farm.client.log(JobKey(update, kind, ARCH), 1, 0).data


#: Each costs the liar's attempt. What nobody has claimed is not lost by a lie.
FAULTS: dict[str, Fault] = {
    fault.inject.__name__: fault
    for fault in (
        Fault(late, silent, most=1),
        Fault(never_uploaded, at_work, most=1),
        Fault(other_size, at_work, most=1),
        Fault(other_bytes, at_work, most=1),
        Fault(of_another_update, beside_another, most=1),
    )
}


def main() -> None:
    """Every cell, or those that were asked for; the exit code is 1 where one is wrong."""
    asked = cell.asked(__doc__, FAULTS)
    with kit.farm("liars", cell.with_a_slow_preparation, slots="1", lease_seconds=str(LEASE)) as farm:
        cell.warm_up(farm)
        cells = [cell.tell(cell.run(farm, name, FAULTS[name], stage)) for name, stage in asked]
        cell.conclude(farm, "two jobs of six seconds each, and a worker that is not honest", cells, asked.json)


if __name__ == "__main__":
    main()
