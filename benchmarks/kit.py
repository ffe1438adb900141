# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share: an embedded farm of their own, and how figures are printed.

A farm lives in a new folder and is stopped and removed in the end; no other farm of the machine is touched.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import processes
from benchmarks.processes import Process
from coordinator import client, embedded, gpg
from coordinator.cli.plain import printable
from coordinator.config import RECIPES, Home, Settings
from coordinator.embedded import machine, preparation
from coordinator.model import ENDED, Job, Update, UpdateState
from tests.sources import Person, make_source
from workers.wire.arch import Arch
from workers.wire.order import JobKind

ROOT = Path(__file__).parents[1]
SUITE = "bookworm-security"
MIB = 1 << 20
#: The architecture that benchmarks build for: one that runs by itself here.
ARCH = machine.native()[0]
#: debian/rules of a package whose build is one command, and that makes an empty package.
RULES = """#!/usr/bin/make -f
build build-arch build-indep:
\t{command}
clean:
binary: binary-arch binary-indep
binary-indep:
binary-arch: build
\tinstall -d debian/tmp/DEBIAN
\tdpkg-gencontrol
\tdpkg-deb --root-owner-group --build debian/tmp ..
"""
#: How long a job of a benchmark may take, in seconds; the first one of a machine bootstraps a base image.
PATIENCE = 1800.0


@dataclass(frozen=True)
class Farm:
    """An embedded farm that is up. `environment` is what its commands are run with."""

    home: Home
    settings: Settings
    environment: Mapping[str, str]
    client: client.Client

    def command(self, *arguments: str) -> list[str]:
        """The argv of one of its commands."""
        return [sys.executable, "-m", "coordinator.cli.main", *arguments]

    def run(self, *arguments: str) -> str:
        """Run one of its commands; answers what it printed. Raises RuntimeError with what it said."""
        return _said(self.command(*arguments), self.environment)

    def submit(self, name: str, version: str, rules: str) -> int:
        """Hand in a source package whose `debian/rules` is given; answers the update's number."""
        with tempfile.TemporaryDirectory() as folder:
            person = Person("bench")
            self.run("submitter", "add", "bench", str(person.write_cert(Path(folder))), "--replace")
            dsc = make_source(Path(folder) / "source", name, version, person, tested=False, changes={"rules": rules})[0]
            said: dict[str, object] = json.loads(self.run("submit", str(dsc), "--suite", SUITE, "--json"))
        return int(str(said["id"]))

    def build(self, update: int, arch: Arch) -> Job | None:
        """The update's build on an architecture, if it is planned."""
        return self.client.update(update).job(JobKind.BUILD, arch)

    def services(self) -> dict[str, int]:
        """Process ids of the services by name."""
        return {row.name: row.pid for row in embedded.status(self.home)}

    def processes(self) -> list[Process]:
        """Every process that is there because the farm is: supervisord's descendants, and gpg's agents."""
        first = Process("supervisord", int((self.home.run / "supervisord.pid").read_text()))
        names = {pid: name for name, pid in self.services().items()}
        below = processes.below(first, names)
        known = {process.pid for process in below}
        agents = (pid for pid in processes.running("gpg-agent") if pid not in known)
        own = str(self.home.root)
        return [*below, *(Process("gpg-agent", pid) for pid in agents if processes.mentions(pid, own))]


@contextmanager
def farm(
    name: str,
    recipe: Callable[[str], str] | None = None,
    before: Callable[[Home], None] | None = None,
    **settings: str,
) -> Iterator[Farm]:
    """A new farm, up; down and gone afterwards. `settings` are given in its environment, as PATCHFARM_….

    `recipe` changes the text of the shipped recipe of the suite; then it is the only one. `before` sees the home while
    nothing is there yet.
    """
    # Short, as it holds sockets, and where files are as fast as a farm's would be.
    root = Path(tempfile.mkdtemp(prefix=f"pf-{name}-"))
    home = Home(root / "home")
    given = {f"PATCHFARM_{key.upper()}": value for key, value in settings.items()}
    if recipe is not None:
        changed = root / "recipes" / "debian" / f"{SUITE}.toml"
        changed.parent.mkdir(parents=True)
        changed.write_text(recipe((RECIPES / "debian" / changed.name).read_text()))
        given["PATCHFARM_RECIPES"] = str(root / "recipes")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PATCHFARM_")}
    environment = {**kept, **given, "PATCHFARM_HOME": str(home.root), "NO_COLOR": "1"}
    start = [sys.executable, "-m", "coordinator.cli.main", "up"]
    if before is not None:
        before(home)
    try:
        url = _said(start, environment).strip()
        with closing(client.connect(url, preparation.token(home, "me.token"))) as known:
            # Not prepared once more: this process does not have the farm's environment.
            yield Farm(home, Settings(home=home.root), environment, known)  # type: ignore[call-arg]  # others fill it
    finally:
        embedded.down(home)
        _remove_containers(preparation.prepare(home).farm)
        for keys in (home.signer / "gnupg", home.target / "gnupg"):
            if keys.is_dir():
                gpg.stop(keys)
        shutil.rmtree(root, ignore_errors=True)


def _remove_containers(farm: str) -> None:
    """A worker that is told to end leaves its containers running for the next one, which never comes."""
    engine = docker.from_env()
    for container in engine.containers.list(all=True, filters={"label": f"patchfarm.farm={farm}"}):
        container.remove(force=True, v=True)
    engine.close()


def _said(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv[3:])}: {done.stderr}")
    return done.stdout


def only_here(recipe: str) -> str:
    """The recipe for `ARCH` alone, and for logs of any length that is measured here."""
    for key, value in (("build", f'["{ARCH}"]'), ("all-on", f'"{ARCH}"'), ("log", '"256MiB"')):
        recipe = re.sub(rf"(?m)^({key} +=).*$", rf"\1 {value}", recipe)
    return recipe


def wait_for(what: Callable[[], bool], seconds: float = PATIENCE, pause: float = 0.05) -> float:
    """Until it holds; answers how many seconds that took. Raises TimeoutError."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(pause)
    return time.monotonic() - began


def wait_until_built(farm: Farm, update: int) -> Update:
    """Until every build of it has ended well. Raises RuntimeError with the reason where one has not."""

    def over() -> bool:
        now = farm.client.update(update)
        builds = now.of_kind(JobKind.BUILD)
        return (
            now.state in ENDED or now.state == UpdateState.FAILED or (bool(builds) and all(job.ended for job in builds))
        )

    wait_for(over, pause=0.2)
    found = farm.client.update(update)
    if found.state == UpdateState.FAILED:
        raise RuntimeError(f"update {update} failed: {found.reason}")
    return found


def quantile(values: Sequence[float], part: float) -> float:
    """The value that this part of them does not exceed; the nearest one that was really seen."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """0 where there are none."""
    return statistics.median(values) if values else 0.0


def arguments(about: str | None) -> argparse.ArgumentParser:
    """A command line with what all benchmarks have."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print figures; all columns but the first are numbers."""
    shown = Table(box=box.SIMPLE_HEAD)
    for number, head in enumerate(heads):
        shown.add_column(head, justify="right" if number else "left")
    for row in rows:
        shown.add_row(*(f"{cell:.2f}" if isinstance(cell, float) else printable(str(cell)) for cell in row))
    print(title)
    Console(width=120).print(shown)


def verdict(what: str, measured: float, target: float, unit: str) -> None:
    """Print a figure beside the most that it should be."""
    held = "met" if measured <= target else "MISSED"
    print(f"{what}: {measured:.2f}{unit and f' {unit}'}, target at most {target:.2f}{unit and f' {unit}'}: {held}")


def write(path: Path | None, figures: Mapping[str, object]) -> None:
    """Write the figures for a program, where a file for them was named."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2, default=str) + "\n")
