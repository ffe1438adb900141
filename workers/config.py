# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's settings, all from PATCHFARM_* in the environment, and what the machine it runs on offers.

The token is a file that is read when it is used: it is never in the environment, in arguments or in a message.
"""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.wire.arch import QEMU, RUNS_NATIVELY, Arch, Tier
from workers.wire.report import Offer

BINFMT = Path("/proc/sys/fs/binfmt_misc")

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


class BadConfig(ValueError):
    """A setting is missing or cannot be; the message says which."""


@dataclass(frozen=True)
class WorkerConfig:
    """Everything a worker is told when it starts. `slots` attempts run at the same time, in `cores` and `memory_bytes`.

    `cache_bytes` is what the images it keeps may take together; `keyrings` is where the archives' keyrings are that it
    trusts beside the machine's own.
    """

    url: str
    broker: str
    worker: str
    token_file: Path
    farm: str
    home: Path
    slots: int
    tiers: dict[Arch, Tier]
    host: str
    cores: int
    memory_bytes: int
    cache_bytes: int
    keyrings: Path

    @property
    def offer(self) -> Offer:
        """What it says of itself when it signs on."""
        return Offer(self.worker, self.tiers, self.slots, self.host, self.cores, self.memory_bytes)

    def token(self) -> str:
        """The bearer token, as the file has it now."""
        return self.token_file.read_text().strip()


def from_environment(environment: Mapping[str, str] = os.environ) -> WorkerConfig:
    """The settings; raises BadConfig."""
    home = Path(_required(environment, "PATCHFARM_WORKER_HOME")).absolute()
    return WorkerConfig(
        url=_required(environment, "PATCHFARM_URL").rstrip("/"),
        broker=_required(environment, "PATCHFARM_BROKER"),
        worker=_name(environment, "PATCHFARM_WORKER_NAME"),
        token_file=Path(_required(environment, "PATCHFARM_TOKEN_FILE")),
        farm=_name(environment, "PATCHFARM_FARM"),
        home=home,
        slots=_number(environment, "PATCHFARM_SLOTS", 1),
        tiers=_chosen(environment.get("PATCHFARM_ARCHES", ""), tiers_of(platform.machine(), BINFMT)),
        host=platform.node(),
        cores=_number(environment, "PATCHFARM_CORES", len(os.sched_getaffinity(0))),
        memory_bytes=_number(environment, "PATCHFARM_MEMORY_MIB", _memory() >> 20) << 20,
        cache_bytes=_number(environment, "PATCHFARM_CACHE_MIB", 20 << 10) << 20,
        keyrings=Path(environment.get("PATCHFARM_KEYRINGS") or home / "keyrings").absolute(),
    )


def tiers_of(machine: str, binfmt: Path) -> dict[Arch, Tier]:
    """Every architecture a machine (`uname -m`) can run, by itself or through a registered qemu-user."""
    native = RUNS_NATIVELY.get(machine, frozenset())
    emulated = {arch for arch, suffix in QEMU.items() if arch not in native and _registered(binfmt / f"qemu-{suffix}")}
    return {
        arch: Tier.NATIVE if arch in native else Tier.EMULATED for arch in Arch if arch in native or arch in emulated
    }


def _registered(entry: Path) -> bool:
    """Whether binfmt_misc(5) has it enabled with F: the interpreter is then found in every container."""
    if not entry.is_file():
        return False
    lines = entry.read_text().splitlines()
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags:")), "")
    return "enabled" in lines and "F" in flags


def _chosen(text: str, possible: dict[Arch, Tier]) -> dict[Arch, Tier]:
    """The architectures named by a comma list, or the native ones where none is named."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        return {arch: tier for arch, tier in possible.items() if tier is Tier.NATIVE}
    unknown = sorted(set(names) - set(possible))
    if unknown:
        raise BadConfig(f"PATCHFARM_ARCHES: this machine cannot run {', '.join(unknown)}; it can {', '.join(possible)}")
    return {arch: tier for arch, tier in possible.items() if arch in names}


def _required(environment: Mapping[str, str], key: str) -> str:
    value = environment.get(key, "")
    if not value:
        raise BadConfig(f"{key} is not set")
    return value


def _name(environment: Mapping[str, str], key: str) -> str:
    value = _required(environment, key)
    if not _NAME.fullmatch(value):
        raise BadConfig(f"{key}: {value!r} has to be lower-case letters, digits, `.`, `_` and `-`")
    return value


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _number(environment: Mapping[str, str], key: str, otherwise: int) -> int:
    text = environment.get(key) or str(otherwise)
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise BadConfig(f"{key}: {text!r} is not a number from 1 on")
    return int(text)
