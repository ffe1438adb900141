# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian architecture names, and what a host must do to run each."""

from enum import StrEnum


class Arch(StrEnum):
    """A Debian architecture (Debian Policy 11.1), or `all` for packages that fit every one."""

    AMD64 = "amd64"
    ARM64 = "arm64"
    ARMHF = "armhf"
    I386 = "i386"
    PPC64EL = "ppc64el"
    RISCV64 = "riscv64"
    S390X = "s390x"
    ALL = "all"


class Tier(StrEnum):
    """How a worker runs an architecture; written in every report so that nobody mistakes one for another."""

    NATIVE = "native"
    ACCELERATED = "accelerated"
    EMULATED = "emulated"


#: Architectures whose programs a 64-bit kernel of the key runs by itself.
RUNS_NATIVELY: dict[str, frozenset[Arch]] = {
    "x86_64": frozenset({Arch.AMD64, Arch.I386}),
    "aarch64": frozenset({Arch.ARM64, Arch.ARMHF}),
    "armv7l": frozenset({Arch.ARMHF}),
    "i686": frozenset({Arch.I386}),
    "ppc64le": frozenset({Arch.PPC64EL}),
    "riscv64": frozenset({Arch.RISCV64}),
    "s390x": frozenset({Arch.S390X}),
}

#: The suffix of qemu's user-mode binary and of its binfmt_misc entry.
QEMU: dict[Arch, str] = {
    Arch.AMD64: "x86_64",
    Arch.ARM64: "aarch64",
    Arch.ARMHF: "arm",
    Arch.I386: "i386",
    Arch.PPC64EL: "ppc64le",
    Arch.RISCV64: "riscv64",
    Arch.S390X: "s390x",
}

#: 32-bit architectures that need `setarch` on a 64-bit kernel, so that `uname -m` tells the build the truth.
PERSONALITY: dict[Arch, str] = {Arch.I386: "i686", Arch.ARMHF: "armv7l"}
