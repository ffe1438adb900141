# SPDX-License-Identifier: GPL-3.0-or-later
"""From a job being ready to its container being there, on an idle worker; beside it, a bare `docker create`.

Ready is the time that the database has; the container's is the engine's own event. A job does nothing at all, so that
the next one finds the worker idle again. `--together` submits that many at once: how long the last of them waits then.
"""

import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import docker

from benchmarks import kit
from benchmarks.kit import ARCH, SUITE, Farm
from coordinator.model import ENDED, Update
from tests.sources import Person, as_files, make_source
from workers.wire.order import JobKind

#: The targets, in seconds.
MEDIAN, P95 = 0.3, 1.0
_NOTHING = """
[build]
collect = ["*.deb"]
[[build.step]]
name = "compile"
run  = [["true"]]
[test]
collect = ["summary"]
[[test.step]]
name = "autopkgtest"
run  = [["true"]]

[approve]"""


@dataclass(frozen=True)
class Sample:
    """One job, in seconds from when it was ready: until it was claimed, its container was there, it was reported."""

    claimed: float
    created: float
    reported: float


class Watch:
    """When the engine made which container of a farm, by name, in seconds since the epoch."""

    def __init__(self, client: docker.DockerClient, farm: str) -> None:
        self.created: dict[str, float] = {}
        self._events = client.events(decode=True, filters={"event": "create", "label": f"patchfarm.farm={farm}"})
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        for event in self._events:
            self.created.setdefault(event["Actor"]["Attributes"]["name"], event["timeNano"] / 1e9)


class Submitter:
    """Somebody who hands in one tiny source package after the other."""

    def __init__(self, farm: Farm, folder: Path) -> None:
        self._farm = farm
        self._folder = folder
        self._person = Person("bench")
        farm.run("submitter", "add", "bench", str(self._person.write_cert(folder)), "--replace")

    def submit(self, number: int) -> int:
        """Answers the update."""
        paths = make_source(self._folder / f"{number}", f"tiny{number}", "1.0-1", self._person, tested=False)
        for path, file in zip(paths, as_files(paths), strict=True):
            self._farm.client.store(file, path)
        return self._farm.client.submit(SUITE, as_files(paths)).id


def tiny(recipe: str) -> str:
    """The recipe for one architecture, with steps that do nothing."""
    before, rest = kit.only_here(recipe).split("\n[build]", 1)
    return before + _NOTHING + rest.split("\n[approve]", 1)[1]


def until_over(farm: Farm, update: int) -> Update:
    """Until its only job has ended; that it made no package is no matter."""
    kit.wait_for(lambda: farm.client.update(update).state in ENDED, pause=0.1)
    return farm.client.update(update)


def sample(update: Update, farm_id: str, watch: Watch) -> Sample:
    """How long its job waited."""
    job = update.job(JobKind.BUILD, ARCH)
    if job is None or job.queued_at is None or job.started_at is None or job.ended_at is None:
        raise RuntimeError(f"update {update.id} has no build: {update.reason}")
    name = f"patchfarm-{farm_id}-{update.id}-build-{ARCH}-{job.attempt}-0-compile"
    kit.wait_for(lambda: name in watch.created, 5)
    ready = job.queued_at.timestamp()
    return Sample(job.started_at.timestamp() - ready, watch.created[name] - ready, job.ended_at.timestamp() - ready)


def bare_create(client: docker.DockerClient, image: str) -> float:
    """Seconds that the engine takes for a container alone."""
    began = time.monotonic()
    container = client.containers.create(image, ["true"], network_mode="none")
    took = time.monotonic() - began
    container.remove()
    return took


@contextmanager
def watched(name: str) -> Iterator[tuple[Farm, Submitter, Watch, str]]:
    """A farm that does nothing for each job, its submitter, its containers, and its id."""
    with kit.farm(name, tiny) as farm, tempfile.TemporaryDirectory() as folder:
        farm_id = str(tomllib.loads(farm.home.settings.read_text())["farm"])
        yield farm, Submitter(farm, Path(folder)), Watch(docker.from_env(), farm_id), farm_id


def one_by_one(jobs: int) -> tuple[list[Sample], list[float]]:
    """Each job on an idle worker; and what a bare container costs meanwhile. The first two are not counted."""
    engine = docker.from_env()
    with watched("dispatch") as (farm, submitter, watch, farm_id):
        samples, bare = [], []
        for number in range(jobs + 2):
            update = until_over(farm, submitter.submit(number))
            samples.append(sample(update, farm_id, watch))
            report = next(job.report for job in update.jobs if job.report)
            bare.append(bare_create(engine, report.image))
    return samples[2:], bare[2:]


def together(jobs: int) -> tuple[list[Sample], float]:
    """All at once, and how long all of them took, in seconds."""
    with watched("dispatch-all") as (farm, submitter, watch, farm_id):
        until_over(farm, submitter.submit(jobs))
        began = datetime.now(UTC)
        updates = [submitter.submit(number) for number in range(jobs)]
        ended = [until_over(farm, update) for update in updates]
        return [sample(update, farm_id, watch) for update in ended], (datetime.now(UTC) - began).total_seconds()


def row(what: str, seconds: list[float]) -> tuple[str, float, float, float]:
    """Median, 95th percentile and the most, in milliseconds."""
    return what, 1000 * kit.median(seconds), 1000 * kit.quantile(seconds, 0.95), 1000 * max(seconds)


def main() -> None:
    """Measure and print."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="how many jobs, one after the other (200)")
    parser.add_argument("--together", type=int, default=0, help="how many jobs at once, after that (0)")
    asked = parser.parse_args()
    samples, bare = one_by_one(asked.jobs)
    created = [each.created for each in samples]
    rows = [
        row("ready → claimed", [each.claimed for each in samples]),
        row("claimed → container created", [each.created - each.claimed for each in samples]),
        row("ready → container created", created),
        row("container created → reported", [each.reported - each.created for each in samples]),
        row("a bare docker create", bare),
    ]
    kit.table(f"{asked.jobs} jobs, one by one (ms)", ("", "median", "p95", "most"), rows)
    kit.verdict("median", kit.median(created), MEDIAN, "s")
    kit.verdict("p95", kit.quantile(created, 0.95), P95, "s")
    if asked.together:
        crowd, took = together(asked.together)
        waited = row("ready → container created", [each.created for each in crowd])
        kit.table(f"{asked.together} jobs at once, over in {took:.1f} s (ms)", ("", "median", "p95", "most"), [waited])
    kit.write(asked.json, {"samples": [vars(each) for each in samples], "bare": bare})


if __name__ == "__main__":
    main()
