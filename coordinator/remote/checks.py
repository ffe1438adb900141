# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host must have for a worker, each with the next thing to do where it lacks it. Pure, but for asking once.

What the host answers is believed as far as it concerns the host: whoever lies here gets a worker that does not work.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from coordinator.errors import HostUnready
from coordinator.remote.ssh import Remote
from workers.wire.arch import QEMU, RUNS_NATIVELY, Arch, Tier

PROBE = Path(__file__).with_name("probe.py")
#: Less than this where the worker or its engine keeps things, and a build of any size fails; in bytes.
SPACE = 10 << 30
#: How far a clock may be from the farm's, in seconds: more, and the signatures of archives count as of the future.
SKEW = 60
_PYTHON = (3, 11)
_SECONDS = 90


@dataclass(frozen=True)
class Facts:
    """What the probe found. `*_error` is why something cannot be reached; empty where it can, or nobody asked.

    `others` are names of what is in the worker's folder and not a worker's.
    """

    python: tuple[int, int, int]
    venv: bool
    machine: str
    binfmt: tuple[str, ...]
    programs: tuple[str, ...]
    zones: bool
    free_bytes: int
    engine_bytes: int
    engine: str
    engine_error: str
    time: float
    uid: int
    home: str
    folder: str
    systemd: bool
    lingers: bool
    others: tuple[str, ...]
    token: bool
    farm_error: str
    broker_error: str

    @property
    def tiers(self) -> dict[Arch, Tier]:
        """The architectures that containers can have there."""
        native = RUNS_NATIVELY.get(self.machine, frozenset())
        emulated = {arch for arch, suffix in QEMU.items() if arch not in native and suffix in self.binfmt}
        found = {arch: Tier.NATIVE if arch in native else Tier.EMULATED for arch in Arch if arch in native | emulated}
        return dict(sorted(found.items(), key=lambda each: each[1] is not Tier.NATIVE))


@dataclass(frozen=True)
class Check:
    """One requirement: what was seen of it, and what to do where that is not enough; empty where it is."""

    name: str
    said: str
    advice: str = ""


@dataclass(frozen=True)
class Asked:
    """What is to be reached from the host, `-` for what need not be; and the worker's folder, as the probe takes it."""

    folder: str
    url: str
    broker: tuple[str, str]


def look(remote: Remote, asked: Asked) -> tuple[Facts, float]:
    """The facts, and by how many seconds at least the host's clock is wrong. Raises HostUnready."""
    begun = time.time()
    done = remote.run(["python3", "-", asked.folder, asked.url, *asked.broker], PROBE.read_bytes(), _SECONDS)
    ended = time.time()
    if done.code != 0:
        raise HostUnready(
            f"no Python answers there: {done.last_line}", "Type there: sudo apt-get install python3 python3-venv"
        )
    try:
        # What a login's files print stands before it.
        facts = TypeAdapter(Facts).validate_json(done.out.strip().splitlines()[-1])
    except (ValidationError, IndexError) as error:
        raise HostUnready(
            f"the host answered something else than was asked: {done.last_line}", "Log in and look."
        ) from error
    return facts, max(begun - facts.time, facts.time - ended, 0.0)


def judge(facts: Facts, skew: float, asked: Asked, arches: tuple[Arch, ...]) -> list[Check]:
    """Every requirement, in the order in which they are best met."""
    return [
        _python(facts),
        _engine(facts),
        _programs(facts),
        _zones(facts),
        _architectures(facts, arches),
        _disk(facts),
        _folder(facts),
        *([_lingers(facts)] if facts.systemd and facts.uid != 0 else []),
        Check(
            "clock",
            f"differs from this one by {skew:.0f} s" if skew > 1 else "right",
            "Let NTP set it: sudo timedatectl set-ntp true" if skew > SKEW else "",
        ),
        *(_ways(facts) if asked.url != "-" else ()),
    ]


def _ways(facts: Facts) -> tuple[Check, Check]:
    return (
        Check(
            "farm",
            facts.farm_error or "can be reached from there",
            "Open the way from the host to the farm's address, or name another one with --url."
            * bool(facts.farm_error),
        ),
        Check(
            "broker",
            facts.broker_error or "can be reached from there",
            "Open the way from the host to the broker, or name another one with --broker." * bool(facts.broker_error),
        ),
    )


def require(checks: list[Check]) -> None:
    """Raises HostUnready for the first that is not met, and counts the others."""
    failed = [check for check in checks if check.advice]
    if failed:
        more = f" (and {len(failed) - 1} more)" if failed[1:] else ""
        raise HostUnready(f"the host is not ready: {failed[0].name}: {failed[0].said}{more}", failed[0].advice)


def _python(facts: Facts) -> Check:
    said = ".".join(map(str, facts.python))
    if facts.python[:2] < _PYTHON:
        return Check("python", f"{said} is too old", "Use a host with Python 3.11, as Debian 12 has it.")
    if not facts.venv:
        return Check("python", f"{said} without venv", "Type there: sudo apt-get install python3-venv")
    return Check("python", said)


def _engine(facts: Facts) -> Check:
    if facts.engine:
        return Check("engine", facts.engine)
    if "ermission" in facts.engine_error:
        advice = "Type there: sudo usermod -aG docker $USER; then add the worker again."
        return Check("engine", "this account may not use the container engine", advice)
    said = f"no container engine answers: {facts.engine_error}"
    return Check("engine", said, "Type there: sudo apt-get install docker.io; sudo systemctl start docker")


def _programs(facts: Facts) -> Check:
    needed = {name: name for name in ("mmdebstrap", "gpgv", "arch-test", "tar")} | {"setsid": "util-linux"}
    if facts.uid != 0:
        needed["newuidmap"] = "uidmap"
    missing = [name for name in needed if name not in facts.programs]
    if missing:
        packages = " ".join(needed[name] for name in missing)
        return Check("programs", f"without {', '.join(missing)}", f"Type there: sudo apt-get install {packages}")
    return Check("programs", "all there")


def _zones(facts: Facts) -> Check:
    """Celery does not start where it cannot look up UTC."""
    advice = "" if facts.zones else "Type there: sudo apt-get install tzdata"
    return Check("time zones", "there" if facts.zones else "not there", advice)


def _architectures(facts: Facts, arches: tuple[Arch, ...]) -> Check:
    possible = ", ".join(f"{arch} ({tier})" for arch, tier in facts.tiers.items()) or "none"
    missing = [arch for arch in arches if arch not in facts.tiers]
    if missing:
        advice = "Type there: sudo apt-get install qemu-user-static binfmt-support; or leave them out of --arch."
        return Check("architectures", f"cannot run {', '.join(missing)}; it can run {possible}", advice)
    if not arches and Tier.NATIVE not in facts.tiers.values():
        return Check("architectures", f"{facts.machine} is none that the farm knows", "Use another host, or --arch.")
    return Check("architectures", possible)


def _disk(facts: Facts) -> Check:
    free = min(facts.free_bytes, facts.engine_bytes) if facts.engine else facts.free_bytes
    said = f"{free >> 30} GiB free"
    if free < SPACE:
        advice = f"Make {SPACE >> 30} GiB free where the worker and the container engine are, or use --folder."
        return Check("disk", said, advice)
    return Check("disk", said)


def _lingers(facts: Facts) -> Check:
    """A user's systemd ends with the last login, and the worker with it, unless it lingers (loginctl(1))."""
    said = "may start without a login" if facts.lingers else "may not start without a login"
    advice = "" if facts.lingers else "Type there: sudo loginctl enable-linger $USER"
    return Check("systemd --user", said, advice)


def _folder(facts: Facts) -> Check:
    """Whoever removes the worker removes all of it."""
    if facts.others:
        said = f"{facts.folder} has something else in it: {', '.join(facts.others)}"
        return Check("folder", said, "Name one with --folder that is empty or not there yet.")
    return Check("folder", facts.folder)
