# SPDX-License-Identifier: GPL-3.0-or-later
"""One attempt: base image, dependencies, the order's steps each in a container, and the files that come out.

It says what it saw and judges nothing. Whatever it has done it has written down first or can do again, so that another
process of the worker can go on at any moment. Its containers and images stay for whoever reported it to clear away.
"""

import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from workers import deb
from workers.errors import AttemptEnded, broken
from workers.held import Held
from workers.images import Images
from workers.layers import Layers, depends_of, preparing
from workers.lease import Lease
from workers.log import AttemptLog
from workers.outputs import Collector
from workers.sandbox import FILE_NAME, Ended, EngineAway, Sandbox, Spec, gauge
from workers.steps import spec_of
from workers.transfer import Farm, digest_of
from workers.wire.order import Input, Limits, Order, Step
from workers.wire.report import IMAGE, Artifact, Outcome, Report, StepTiming, Usage

_SHA256 = re.compile(r"[0-9a-f]{64}")

#: Seconds that an engine may be away before an attempt gives up: a restart of it takes a few.
ENGINE_PATIENCE: Final = 60
#: How init ends when it is killed, or the machine is: no word of the package's, where nobody saw what happened.
_KILLED: Final = frozenset({137, 143, 255})


_EXCEEDED: Final[dict[Outcome, Callable[[Limits], str]]] = {
    Outcome.OUT_OF_DISK: lambda limits: f"more than the limit of {limits.disk_bytes} bytes was written",
    Outcome.OUT_OF_PROCESSES: lambda limits: f"the limit of {limits.processes} processes was reached",
}


@dataclass(frozen=True)
class Tools:
    """What an attempt works with."""

    farm: Farm
    sandbox: Sandbox
    images: Images
    layers: Layers
    farm_id: str
    worker: str


class Attempt:
    """See the module. Used once in a process."""

    def __init__(self, held: Held, tools: Tools, lease: Lease, log: AttemptLog) -> None:
        self._held = held
        self._order: Order = held.progress.order
        self._tools = tools
        self._lease = lease
        self._log = log
        self._artifacts: tuple[Artifact, ...] = ()
        #: How many steps at the beginning prepare, and lead to what may be kept.
        self._leading = len(preparing(held.progress.order))
        # A step that another process began ran for some time without anybody who saw what happened to it.
        self._unwatched = held.progress.adopted > 0

    def run(self) -> Report:
        """Do it all, or the rest of it; raises Fenced, LetGo, SandboxError, and OSError where disk or farm fail."""
        try:
            if not self._held.progress.base:
                self._check_names()
                self._begin()
            self._prepare()
            for number in range(self._held.progress.step, len(self._order.steps)):
                if not self._run_step(number):
                    break
        except AttemptEnded as ended:
            return self.report(ended.outcome, ended.reason, ended.missing)
        return self.report(Outcome.FINISHED, self._last_word())

    def report(self, outcome: Outcome, reason: str, missing: tuple[str, ...] = ()) -> Report:
        """What there is to say so far; the reason becomes the log's last line."""
        if reason:
            self._log.note(f"{outcome}: {reason}" if outcome is not Outcome.FINISHED else reason)
        at = self._held.progress
        return Report(
            job=self._order.job,
            attempt=self._order.attempt,
            outcome=outcome,
            reason=reason,
            steps=at.timings,
            artifacts=self._artifacts if outcome is Outcome.FINISHED else (),
            log_sha256=self._log.sha256,
            image=at.base,
            tier=at.tier,
            worker=self._tools.worker,
            left_out=at.left_out,
            missing=missing,
            packages_sha256=at.packages_sha256,
            usage=at.usage,
            adopted=at.adopted,
        )

    def _last_word(self) -> str:
        last = self._held.progress.timings[-1]
        return f"{last.name} ended with exit code {last.exit_code}" if last.exit_code else ""

    def _check_names(self) -> None:
        for given in self._order.inputs:
            # Both become paths here, and whoever gave the order may not be who it seems.
            if not FILE_NAME.fullmatch(given.name) or not _SHA256.fullmatch(given.sha256) or given.size < 0:
                raise broken(f"the order names an input {given.name!r} that cannot be one")
        if not self._order.steps:
            raise broken("the order has no steps")

    def _begin(self) -> None:
        """Find the image to begin from: with its dependencies, where such a one is kept."""
        order, began = self._order, time.monotonic()
        self._log.note(f"{order.host}, {self._held.progress.tier}, by {self._tools.worker}")
        base = self._tools.images.ensure(order.environment, order.host, self._log.write, self._lease.check)
        for missing in base.left_out:
            self._log.note(f"left out: {missing}")
        self._held.save(base=base.image, left_out=base.left_out, image=base.image)
        self._time(IMAGE, 0, base.seconds, began)
        self._held.save(layer=self._tools.layers.key(order, base, self._sources()))

    def _prepare(self) -> None:
        """Come to the first step that is the package's own: by the preparing ones, or by what they once led to."""
        key = self._held.progress.layer
        with self._tools.layers.making(key, self._lease.check) if key else nullcontext():
            self._set_time_limit()
            self._skip_what_is_kept(key)
            for number in range(self._held.progress.step, self._leading):
                self._run_step(number)

    def _set_time_limit(self) -> None:
        """From here on it is the package's time: who waits for what another attempt makes has used none of it."""
        latest = time.monotonic() + self._order.limits.seconds
        # Of a machine that was started anew meanwhile the clock was, too: what was written down may be days away.
        self._held.save(until=min(self._held.progress.until or latest, latest))

    def _skip_what_is_kept(self, key: str) -> None:
        if not key or self._held.progress.step >= self._leading:
            return
        layer = self._tools.layers.find(key)
        if layer is not None:
            self._log.note(f"dependencies: kept from before, packages {layer.packages_sha256[:12]}")
            self._held.save(step=self._leading, image=layer.image, packages_sha256=layer.packages_sha256)

    def _run_step(self, number: int) -> bool:
        """Run one step, or see one through that runs; answers whether another may follow."""
        self._lease.check()
        step = self._order.steps[number]
        spec = spec_of(self._order, number, self._held.progress.image, self._tools.farm_id, self._held.progress.tier)
        container = self._started_before(spec)
        if container is None:
            self._unwatched = False
            self._held.save(began=time.monotonic())
            runtime = f", runtime {spec.runtime}" if spec.runtime else ""
            self._log.note(f"step {step.name}: as {step.user}, network {step.network}{runtime}")
            self._held.save(since=self._log.size, notes=self._log.notes)
            container = self._create(number, spec)
        ended = self._follow(container)
        self._count(ended.usage)
        try:
            self._judge(ended)
            return self._close(number, step, container, ended)
        finally:
            self._time(step.name, ended.exit_code, ended.seconds, self._held.progress.began)

    def _started_before(self, spec: Spec) -> str | None:
        """The container of the step, if it runs or ran already; one that was only made is made again."""
        found = self._tools.sandbox.find(spec.name) if self._held.progress.adopted else None
        if found is not None and not found.started:
            self._tools.sandbox.remove(found.container)
        return found.container if found is not None and found.started else None

    def _create(self, number: int, spec: Spec) -> str:
        sandbox = self._tools.sandbox
        container = sandbox.create(spec, self._lease.check)
        if number == 0 and self._leading:
            self._put_dependencies(container)
        elif number == self._leading and self._order.inputs:
            sandbox.put(container, [(given.name, self._fetch(given)) for given in self._order.inputs])
        return container

    def _put_dependencies(self, container: str) -> None:
        """What preparing steps read is no file of the update's own: what they lead to is kept for others, too."""
        text = depends_of(self._order, self._sources())
        if text:
            folder, name = deb.DEPENDS.rsplit("/", 1)
            path = self._held.folder / name
            path.write_text(text)
            self._tools.sandbox.put(container, [(name, path)], folder)

    def _sources(self) -> list[tuple[str, Path]]:
        return [(given.name, self._fetch(given)) for given in self._order.inputs if given.name.endswith(".dsc")]

    def _fetch(self, given: Input) -> Path:
        path = self._held.folder / "inputs" / given.sha256
        if not path.exists() or digest_of(path) != given.sha256:
            self._lease.check()
            path.parent.mkdir(exist_ok=True)
            self._tools.farm.fetch(given, path)
        return path

    def _follow(self, container: str) -> Ended:
        """See a step through to its end, also where the engine is started anew meanwhile."""
        patience = Retrying(
            retry=retry_if_exception_type(EngineAway),
            wait=wait_fixed(0.5),
            stop=stop_after_delay(ENGINE_PATIENCE),
            before_sleep=lambda _: self._lost_sight(),
            reraise=True,
        )
        since = self._held.progress.since
        return patience(lambda: self._tools.sandbox.run(container, self._log.continuing(since), self._must_stop))

    def _lost_sight(self) -> None:
        self._unwatched = True
        self._lease.check()

    def _must_stop(self, usage: Usage) -> bool:
        over_disk = usage.disk_bytes > self._order.limits.disk_bytes
        return self._lease.stopping() or self._log.full or over_disk or time.monotonic() > self._held.progress.until

    def _judge(self, ended: Ended) -> None:
        """Raise what ended the step but for its own commands."""
        limits = self._order.limits
        self._lease.check()
        if self._log.full:
            raise AttemptEnded(Outcome.LOG_TOO_LONG, f"the log reached its limit of {limits.log_bytes} bytes")
        exceeded = gauge.exceeded(ended.usage, limits, ended.exit_code, self._log.tail(self._held.progress.since))
        if exceeded is not None:
            raise AttemptEnded(exceeded, _EXCEEDED[exceeded](limits))
        if ended.exit_code == 0:
            return
        if time.monotonic() > self._held.progress.until:
            raise AttemptEnded(Outcome.OUT_OF_TIME, f"the time limit of {limits.seconds} seconds was reached")
        if ended.out_of_memory:
            raise AttemptEnded(Outcome.OUT_OF_MEMORY, f"the memory limit of {limits.memory_bytes} bytes was reached")
        if self._unwatched and ended.exit_code in _KILLED:
            raise broken("the container was killed from outside: its engine or its machine was started anew")

    def _close(self, number: int, step: Step, container: str, ended: Ended) -> bool:
        """Keep what the step made: its files, or the image that the next one begins from."""
        at, sandbox = self._held.progress, self._tools.sandbox
        if ended.exit_code != 0 and step.prepares:
            raise self._why_unprepared(step, at.since, ended.exit_code)
        if ended.exit_code != 0 or number + 1 == len(self._order.steps):
            if not step.prepares:
                self._artifacts = self._collector().collect(container)
            return False
        packages = at.packages_sha256
        if number + 1 == self._leading and at.layer:
            layer = self._tools.layers.keep(at.layer, container)
            image, packages = layer.image, layer.packages_sha256
        else:
            image = sandbox.commit(container)
        self._held.save(step=number + 1, image=image, packages_sha256=packages)
        return True

    def _collector(self) -> Collector:
        return Collector(
            bring=partial(self._tools.farm.bring, self._order.job, self._order.attempt),
            sandbox=self._tools.sandbox,
            limits=self._order.limits,
            say=self._log.note,
            check=self._lease.check,
            into=self._held.folder / "output",
        )

    def _time(self, name: str, exit_code: int, seconds: float, began: float) -> None:
        overhead = max(0.0, time.monotonic() - began - seconds)
        timing = StepTiming(name, exit_code, round(seconds, 3), round(overhead, 3))
        # A step that is looked at again by another process is not timed twice.
        others = tuple(known for known in self._held.progress.timings if known.name != name)
        self._held.save(timings=(*others, timing), notes=self._log.notes)

    def _count(self, used: Usage) -> None:
        """Add what one container used to what the ones before did."""
        before = self._held.progress.usage
        total = Usage(
            cpu_seconds=round(before.cpu_seconds + used.cpu_seconds, 3),
            memory_bytes=max(before.memory_bytes, used.memory_bytes),
            processes=max(before.processes, used.processes),
            disk_bytes=max(before.disk_bytes, used.disk_bytes),
        )
        self._held.save(usage=total)

    def _why_unprepared(self, step: Step, since: int, exit_code: int) -> AttemptEnded:
        printed = self._log.tail(since)
        ended = deb.why_unprepared(printed, step.name, exit_code)
        # What is missing may be in the index that the image had to do without.
        lacking = ended.outcome is Outcome.UNINSTALLABLE and self._held.progress.left_out
        if lacking or deb.why_not_the_mirror(printed):
            # It may have moved on since the image was made: the next attempt starts from how it is now.
            self._tools.images.forget(self._order.environment, self._order.host)
        return ended
