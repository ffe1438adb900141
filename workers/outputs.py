# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the files that an attempt made out of its last container and to the coordinator. All of them are hostile."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from workers.errors import AttemptEnded
from workers.sandbox import FILE_NAME, OutputRefused, OutputTooLarge, Sandbox
from workers.transfer import Farm, digest_of
from workers.wire.order import Limits
from workers.wire.report import Artifact, Outcome


@dataclass(frozen=True)
class Collector:
    """`say` writes a line into the attempt's log; `check` raises what ends the attempt; `into` is a file to use."""

    farm: Farm
    sandbox: Sandbox
    limits: Limits
    say: Callable[[str], None]
    check: Callable[[], None]
    into: Path

    def collect(self, container: str, paths: Iterable[str]) -> tuple[Artifact, ...]:
        """The files that are there and may be files, by their bare names; raises AttemptEnded where it is too much."""
        found = sorted(set(paths))
        if len(found) > self.limits.output_files:
            raise AttemptEnded(Outcome.OUTPUT_TOO_LARGE, f"more than {self.limits.output_files} files came out")
        artifacts: dict[str, Artifact] = {}
        left = self.limits.output_bytes
        for path in found:
            self.check()
            artifact = self._bring(container, path, left)
            if artifact is not None and artifact.name not in artifacts:
                artifacts[artifact.name] = artifact
                left -= artifact.size
        return tuple(artifacts.values())

    def _bring(self, container: str, path: str, left: int) -> Artifact | None:
        """One file to the coordinator; what is no proper file stays behind, and the log names it."""
        name = path.rpartition("/")[2]
        if not FILE_NAME.fullmatch(name):
            self.say(f"not collected: {name!r} is no name for a file")
            return None
        try:
            size = self.sandbox.get(container, path, self.into, left)
        except FileNotFoundError:
            return None
        except OutputTooLarge as refused:
            raise AttemptEnded(Outcome.OUTPUT_TOO_LARGE, str(refused)) from refused
        except OutputRefused as refused:
            self.say(f"not collected: {refused}")
            return None
        artifact = Artifact(name, digest_of(self.into), size)
        self.farm.store(artifact.sha256, size, self.into)
        return artifact
