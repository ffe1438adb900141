# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole farm in memory behind the real ports: real stages, engine, reception, coordinator and workers.

Its methods are the words that stories are told in. Nothing happens in it by itself and no time passes: `run` lets
everything happen that can happen now, `pass_time` moves the clock. It must never decide anything the farm decides.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from coordinator.engine import Destination, Engine, Timing
from coordinator.engine.collector import Collector
from coordinator.engine.depwait import Supply
from coordinator.model import Clearance, File, Job, Role, Update, UpdateState, Urgency, sha256_of
from coordinator.openpgp import SequoiaVerifier
from coordinator.pipeline import FAULT_WAITS
from coordinator.reception import Reception
from coordinator.recipe import Recipe, Recipes, keyring_in
from coordinator.service import Coordinator, Parts
from tests.fakes.archive import MemoryArchive, MemoryTarget, MemoryUploader
from tests.fakes.signer import HandSigner
from tests.fakes.store import MemoryLogs
from tests.fakes.workshop import Host, Script, ordinary
from tests.fakes.world import HandBell, HandClock, Phonebook, Poked, SmallDisk
from tests.invariants import WatchedStore, check_rest
from tests.sources import Person, as_files, make_source
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import Index, JobKey, JobKind

SUITE = "bookworm-security"
VERSION = "1.0-1+deb12u1"
RECIPES = Path(__file__).parents[1] / "recipes"
LEASE = 60
UNUSED = timedelta(days=7)
TIMING = Timing(ring_again=2, confirm=600, lease=LEASE, look=300)
#: Rounds after which a farm that still does something is taken for one that never stops.
_ROUNDS = 50

# Keys take longer to make than all that is done with them.
SAM, ALICE, BOB, CAROL, MALLORY = map(Person, ("sam", "alice", "bob", "carol", "mallory"))
_SIGNER = Person("signer")


class Farm:
    """See the module. Sam submits; Alice, Bob, Carol and Sam are people; the shipped recipes ask for two of them."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.clock, self.bell, self.archive, self.target = HandClock(), HandBell(), MemoryArchive(), MemoryTarget()
        self.uploader = MemoryUploader(self.target)
        self.store, self.blobs, self.wake = WatchedStore(), SmallDisk(home / "blobs", self.clock.now), Poked()
        self.logs = MemoryLogs(self.clock.now)
        self.recipes = Recipes(RECIPES)
        self.people, self.keyrings = home / "people", home / "keyrings"
        self._write_keys()
        self.engine = self._engine()
        self.reception = self._reception()
        self.coordinator = self._coordinator()
        self.signer = HandSigner(self.coordinator, _SIGNER)
        #: Work with the target that a slow one keeps waiting; nothing where the target is not slow.
        self.slow_target: list[Callable[[], None]] | None = None
        self.hosts: list[Host] = []
        self._scripts: dict[tuple[JobKind, Arch], dict[str, Play]] = {}
        self._salt = ""

    def _write_keys(self) -> None:
        submitters = self.keyrings / "submitters"
        for folder in (self.people, submitters):
            folder.mkdir(parents=True)
        for person in (SAM, ALICE, BOB, CAROL):
            person.write_cert(self.people)
        SAM.write_cert(submitters)
        _SIGNER.write_cert(self.keyrings).rename(self.keyrings / "debian-archive.asc")

    def _engine(self) -> Engine:
        return Engine(
            store=self.store,
            blobs=self.blobs,
            bell=self.bell,
            clock=self.clock,
            destinations=lambda name: Destination(self.uploader, self.target),
            supply=Supply(self.archive, _indices, partial(keyring_in, self.keyrings)),
            collector=Collector(self.store, self.blobs, self.logs, self.clock, UNUSED),
            timing=TIMING,
            aside=self._with_target,
        )

    def _with_target(self, work: Callable[[], None]) -> None:
        """What has to do with the target is done at once, or kept for later where the target is slow."""
        if self.slow_target is None:
            work()
        else:
            self.slow_target.append(work)

    def _reception(self) -> Reception:
        return Reception(
            store=self.store,
            blobs=self.blobs,
            clock=self.clock,
            verifier=SequoiaVerifier(),
            archive=self.archive,
            recipes=self.recipes,
            keyrings=self.keyrings,
            targets=lambda name: self.target,
            index=_index,
        )

    def _coordinator(self) -> Coordinator:
        return Coordinator(
            Parts(
                store=self.store,
                blobs=self.blobs,
                logs=self.logs,
                clock=self.clock,
                engine=self.engine,
                recipes=self.recipes,
                reception=self.reception,
                verifier=SequoiaVerifier(),
                people=Phonebook(self.people),
                wake=self.wake,
                indices=_indices,
                lease_seconds=LEASE,
            )
        )

    # What people do.

    def source(self, version: str = VERSION, key: Person = SAM, name: str = "hello", **what: Any) -> list[Path]:
        """A source package on somebody's own disk; `what` goes to make_source."""
        folder = self._home / f"source-{len(list(self._home.glob('source-*')))}"
        return make_source(folder, name, version, key, **what)

    def bring(self, paths: list[Path]) -> list[File]:
        """Bring files into the blobs, as a client does before it submits them."""
        for path, file in zip(paths, as_files(paths), strict=True):
            with path.open("rb") as stream:
                self.blobs.put(file.sha256, file.size, stream)
        return as_files(paths)

    def submit(self, version: str = VERSION, *, by: str = "sam", suite: str = SUITE, **what: Any) -> int:
        """Submit a source package signed by Sam; the number of the update that comes of it."""
        files = self.bring(self.source(version, **what))
        return self.coordinator.submit(by, suite, files, Urgency.HIGH).id

    def submit_and_build(self) -> int:
        """The same, and all its work is done: what comes of it is up to people."""
        number = self.submit()
        self.run()
        return number

    def approve(self, number: int, *people: Person) -> None:
        """Each signs what the update would ship now."""
        for person in people:
            self.send(number, person, self.update(number).digest_set())

    def send(self, number: int, person: Person, text: str) -> None:
        """Somebody sends a signed text as an approval."""
        self.coordinator.approve(number, person.clearsign(text))

    # What the world does.

    def worker(self, name: str, *archs: Arch) -> Host:
        """A worker joins."""
        host = Host(self.coordinator, name, archs, self._home / "workers" / name, self._script)
        self.hosts.append(host)
        self.store.admit(name, None, Clearance.EMBARGOED)
        self.store.grant(name, Role.WORKER, sha256_of(name))
        host.sign_on()
        return host

    def will(self, kind: JobKind, arch: Arch, play: Play, step: str = "") -> None:
        """From now on that step of such a job does this; its last one unless said."""
        self._scripts.setdefault((kind, arch), {})[step or self._last_step(kind)] = play

    def tests_say(self, summary: str, exit_code: int, arch: Arch = Arch.AMD64) -> None:
        """From now on autopkgtest ends so on that architecture."""
        made = {"autopkgtest/summary": summary.encode()}
        self.will(JobKind.TEST, arch, Play(exit_code=exit_code, makes=made))

    def misses(self, dependency: str, kind: JobKind = JobKind.BUILD, arch: Arch = Arch.AMD64) -> None:
        """From now on apt says so, in the step that installs what a job needs."""
        said = f" builddeps:./hello.dsc : Depends: {dependency} but it is not installable\n".encode()
        self.will(kind, arch, Play(said, exit_code=100), "depends" if kind == JobKind.BUILD else "prepare")

    def mend(self, salt: str = "") -> None:
        """All goes well again; with `salt`, packages come out with other bytes than before."""
        self._scripts.clear()
        self._salt = salt

    def pass_time(self, seconds: float) -> None:
        """Move the clock; every worker that is up gives its sign of life."""
        self.clock.move(seconds)
        for host in self.hosts:
            if host.up:
                host.sign_on()

    def wait(self, seconds: float) -> None:
        """The same, and the engine looks all the while."""
        while seconds > 0:
            self.pass_time(min(seconds, LEASE / 4))
            self.engine.tick()
            seconds -= LEASE / 4

    def collect(self) -> None:
        """Let the engine's round over all files come to its end, and another one."""
        for _ in range(2):
            self.clock.move(24 * 3600)
            for _ in range(300):
                self.engine.tick()

    def restart_engine(self) -> None:
        """Another engine process, which knows nothing but what is stored."""
        self.engine = self._engine()

    def run(self) -> None:
        """Let everything happen that can happen now, until nothing does; then look whether all is as it must be."""
        for _ in range(_ROUNDS):
            before = self._trace()
            self.engine.tick()
            self._answer_bells()
            self.signer.work()
            if self._trace() == before:
                self.check()
                return
        raise AssertionError(f"the farm does not come to rest: {self._trace()}")

    def run_out(self) -> None:
        """Run, and let the waits after faults of the farm pass until none is left."""
        self.run()
        for wait in FAULT_WAITS:
            self.pass_time(wait)
            self.run()

    def check(self) -> None:
        """What must be true of a farm at rest."""
        check_rest(self.store, self.bell, self.target, self.engine.board())
        assert not [host.name for host in self.hosts if host.bench.alive or host.bench.images]

    # What can be seen.

    def update(self, number: int) -> Update:
        """The update as it is now."""
        return self.store.load(number)

    def state(self, number: int) -> UpdateState:
        return self.update(number).state

    def job(self, number: int, kind: JobKind = JobKind.BUILD, arch: Arch = Arch.AMD64) -> Job:
        job = self.update(number).job(kind, arch)
        assert job is not None, f"update {number} has no {kind} on {arch}"
        return job

    def events(self, number: int) -> list[str]:
        """What happened to the update, in order."""
        return [entry.event for entry in self.store.history(number)]

    def _answer_bells(self) -> None:
        for message in tuple(self.bell.waiting):
            host = next((host for host in self.hosts if host.hears(message)), None)
            # Time may have wiped it while an earlier one was answered.
            if host is not None and message in self.bell.waiting:
                self.bell.waiting.remove(message)
                host.answer()

    def _script(self, job: JobKey) -> Script:
        well = {self._last_step(job.kind): ordinary(self.update(job.update), job, self._salt)}
        return {**well, **self._scripts.get((job.kind, job.arch), {})}

    def _last_step(self, kind: JobKind) -> str:
        recipe, _ = self.recipes.of_suite(SUITE)
        return (recipe.test if kind == JobKind.TEST else recipe.build).step[-1].name

    def _trace(self) -> tuple[object, ...]:
        updates = [(update.id, update.revision) for update in self.store.updates(limit=1000)]
        outbox = [(row.due.number, row.due.tries, row.done) for row in self.store.outbox.values()]
        return updates, outbox, len(self.bell.rung), len(self.bell.waiting)


def _index(suite: str) -> Index:
    return Index("http://mirror.invalid/debian", suite, ("main",))


def _indices(recipe: Recipe) -> tuple[Index, ...]:
    return tuple(replace(_index(rule.suite), optional=rule.optional) for rule in recipe.environment.indices)
