# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the files that an attempt made out of its last container and to the coordinator. All of them are hostile."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workers.errors import AttemptEnded
from workers.sandbox import OutputTooLarge, Sandbox
from workers.transfer import digest_of
from workers.wire.order import Limits
from workers.wire.report import Artifact, Outcome


@dataclass(frozen=True)
class Collector:
    """`bring` takes a file to the coordinator, `say` writes a line into the attempt's log.

    `check` raises what ends the attempt; `into` is a folder to use.
    """

    bring: Callable[[Artifact, Path], None]
    sandbox: Sandbox
    limits: Limits
    say: Callable[[str], None]
    check: Callable[[], None]
    into: Path

    def collect(self, container: str) -> tuple[Artifact, ...]:
        """The files that came out, by name; the log says which did not. Raises AttemptEnded where it is too much."""
        shutil.rmtree(self.into, ignore_errors=True)
        self.into.mkdir()
        try:
            refused = self.sandbox.outputs(container, self.into, self.limits)
        except OutputTooLarge as error:
            raise AttemptEnded(Outcome.OUTPUT_TOO_LARGE, str(error)) from error
        for why in refused:
            self.say(f"not collected: {why}")
        return tuple(self._bring(path) for path in sorted(self.into.iterdir()))

    def _bring(self, path: Path) -> Artifact:
        self.check()
        artifact = Artifact(path.name, digest_of(path), path.stat().st_size)
        self.bring(artifact, path)
        return artifact
