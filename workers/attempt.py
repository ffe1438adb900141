# SPDX-License-Identifier: GPL-3.0-or-later
"""One attempt: base image, inputs, the order's steps each in a container, and the files that come out.

It says what it saw and judges nothing; whatever happens it leaves no container and no image of its own behind.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workers import deb
from workers.errors import AttemptEnded, broken
from workers.images import Base, Images
from workers.lease import Lease
from workers.log import AttemptLog
from workers.sandbox import FILE_NAME, Ended, OutputRefused, OutputTooLarge, Sandbox
from workers.steps import spec_of
from workers.transfer import Farm, digest_of
from workers.wire.arch import Tier
from workers.wire.order import Order, Step
from workers.wire.report import Artifact, Outcome, Report, StepTiming

_SHA256 = re.compile(r"[0-9a-f]{64}")

#: What a report calls the time that the base image took; no step of a recipe can have this name.
IMAGE = "base image"


@dataclass(frozen=True)
class Tools:
    """What an attempt works with. `scratch` is a folder of its own that its caller removes."""

    farm: Farm
    sandbox: Sandbox
    images: Images
    farm_id: str
    worker: str
    tier: Tier
    scratch: Path


class Attempt:
    """See the module. Used once."""

    def __init__(self, order: Order, tools: Tools, lease: Lease, log: AttemptLog) -> None:
        self._order = order
        self._tools = tools
        self._lease = lease
        self._log = log
        self._base = Base("")
        self._timings: list[StepTiming] = []
        self._candidates: set[str] = set()
        self._artifacts: tuple[Artifact, ...] = ()
        self._until = 0.0

    def run(self) -> Report:
        """Do it all; raises Fenced, SandboxError, and OSError where disk or coordinator fail."""
        try:
            self._check_names()
            self._bootstrap()
            inputs = self._download()
            self._until = time.monotonic() + self._order.limits.seconds
            self._run_steps(inputs)
        except AttemptEnded as ended:
            return self.report(ended.outcome, ended.reason)
        return self.report(Outcome.FINISHED, self._last_word())

    def report(self, outcome: Outcome, reason: str) -> Report:
        """What there is to say so far; the reason becomes the log's last line."""
        if reason:
            self._log.note(f"{outcome}: {reason}" if outcome is not Outcome.FINISHED else reason)
        return Report(
            job=self._order.job,
            attempt=self._order.attempt,
            outcome=outcome,
            reason=reason,
            steps=tuple(self._timings),
            artifacts=self._artifacts if outcome is Outcome.FINISHED else (),
            log_sha256=self._log.sha256,
            image=self._base.image,
            tier=self._tools.tier,
            worker=self._tools.worker,
            left_out=self._base.left_out,
        )

    def _last_word(self) -> str:
        last = self._timings[-1]
        return f"{last.name} ended with exit code {last.exit_code}" if last.exit_code else ""

    def _check_names(self) -> None:
        for given in self._order.inputs:
            # Both become paths here, and whoever gave the order may not be who it seems.
            if not FILE_NAME.fullmatch(given.name) or not _SHA256.fullmatch(given.sha256) or given.size < 0:
                raise broken(f"the order names an input {given.name!r} that cannot be one")
        if not self._order.steps:
            raise broken("the order has no steps")

    def _bootstrap(self) -> None:
        order = self._order
        began = time.monotonic()
        self._base = self._tools.images.ensure(order.environment, order.host, self._log.write, self._lease.check)
        self._time(IMAGE, 0, self._base.seconds, began)
        for missing in self._base.left_out:
            self._log.note(f"left out: {missing}")

    def _download(self) -> list[tuple[str, Path]]:
        files = []
        for given in self._order.inputs:
            self._lease.check()
            path = self._tools.scratch / "inputs" / given.sha256
            path.parent.mkdir(exist_ok=True)
            self._tools.farm.fetch(given, path)
            files.append((given.name, path))
        return files

    def _run_steps(self, inputs: Sequence[tuple[str, Path]]) -> None:
        image = self._base.image
        try:
            for number, step in enumerate(self._order.steps):
                following = self._run_step(number, step, image, inputs if number == 0 else ())
                image = self._replace(image, following)
                if not following:
                    break
        finally:
            self._replace(image, "")

    def _replace(self, image: str, following: str) -> str:
        """Forget the image a step ran in, unless the next step's is built on it: the engine drops those with it."""
        if not following and image not in ("", self._base.image):
            self._tools.sandbox.remove_image(image)
        return following

    def _run_step(self, number: int, step: Step, image: str, inputs: Sequence[tuple[str, Path]]) -> str:
        """Run one step; answers the image for the next, or nothing where there is none."""
        self._lease.check()
        began = time.monotonic()
        self._log.note(f"step {step.name}: as {step.user}, network {step.network}")
        since = self._log.size
        sandbox = self._tools.sandbox
        container = sandbox.create(spec_of(self._order, number, image, self._tools.farm_id, self._tools.tier))
        ended = Ended(0, out_of_memory=False, seconds=0.0)
        try:
            if inputs:
                sandbox.put(container, inputs)
            ended = sandbox.run(container, self._log.write, self._must_stop)
            self._judge(ended)
            self._candidates.update(sandbox.changed(container, self._order.collect))
            last = ended.exit_code != 0 or number + 1 == len(self._order.steps)
            if last and not step.prepares:
                self._artifacts = self._collect(container)
            following = "" if last else sandbox.commit(container)
        finally:
            sandbox.remove(container)
            self._time(step.name, ended.exit_code, ended.seconds, began)
        if ended.exit_code != 0 and step.prepares:
            raise self._why_unprepared(step, since, ended.exit_code)
        return following

    def _time(self, name: str, exit_code: int, seconds: float, began: float) -> None:
        overhead = max(0.0, time.monotonic() - began - seconds)
        self._timings.append(StepTiming(name, exit_code, round(seconds, 3), round(overhead, 3)))

    def _must_stop(self) -> bool:
        return self._lease.stopping() or self._log.full or time.monotonic() > self._until

    def _judge(self, ended: Ended) -> None:
        """Raise what ended the step but for its own commands."""
        limits = self._order.limits
        self._lease.check()
        if self._log.full:
            raise AttemptEnded(Outcome.LOG_TOO_LONG, f"the log reached its limit of {limits.log_bytes} bytes")
        if ended.exit_code != 0 and time.monotonic() > self._until:
            raise AttemptEnded(Outcome.OUT_OF_TIME, f"the time limit of {limits.seconds} seconds was reached")
        if ended.exit_code != 0 and ended.out_of_memory:
            raise AttemptEnded(Outcome.OUT_OF_MEMORY, f"the memory limit of {limits.memory_bytes} bytes was reached")

    def _why_unprepared(self, step: Step, since: int, exit_code: int) -> AttemptEnded:
        ended = deb.why_unprepared(self._log.tail(since), step.name, exit_code)
        if ended.outcome is Outcome.BROKEN:
            # The mirror may have moved on since the image was made: the next attempt starts from how it is now.
            self._tools.images.forget(self._order.environment, self._order.host)
        return ended

    def _collect(self, container: str) -> tuple[Artifact, ...]:
        limits = self._order.limits
        if len(self._candidates) > limits.output_files:
            raise AttemptEnded(Outcome.OUTPUT_TOO_LARGE, f"more than {limits.output_files} files came out")
        artifacts: dict[str, Artifact] = {}
        left = limits.output_bytes
        for path in sorted(self._candidates):
            self._lease.check()
            artifact = self._get(container, path, left)
            if artifact is not None and artifact.name not in artifacts:
                artifacts[artifact.name] = artifact
                left -= artifact.size
        return tuple(artifacts.values())

    def _get(self, container: str, path: str, left: int) -> Artifact | None:
        """Bring one file to the coordinator; what is no proper file stays behind, and the log names it."""
        name = path.rpartition("/")[2]
        if not FILE_NAME.fullmatch(name):
            self._log.note(f"not collected: {name!r} is no name for a file")
            return None
        into = self._tools.scratch / "output"
        try:
            size = self._tools.sandbox.get(container, path, into, left)
        except FileNotFoundError:
            return None
        except OutputTooLarge as refused:
            raise AttemptEnded(Outcome.OUTPUT_TOO_LARGE, str(refused)) from refused
        except OutputRefused as refused:
            self._log.note(f"not collected: {refused}")
            return None
        artifact = Artifact(name, digest_of(into), size)
        self._tools.farm.store(artifact.sha256, size, into)
        return artifact
