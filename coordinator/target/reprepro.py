# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded archive: a folder that reprepro keeps, with an incoming queue, in a layout that apt can use.

It takes only what the release key signed (reprepro(1), "conf/uploaders"), and keeps what it refuses in `morgue/`.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator import gpg
from coordinator.errors import PatchfarmError
from workers.wire.arch import Arch

_ARCHITECTURES = " ".join(["source", *(arch for arch in Arch if arch != Arch.ALL)])
_COMPONENTS = "main contrib non-free non-free-firmware"
_QUEUE = "archive"
_SECONDS = 600


@dataclass(frozen=True)
class Layout:
    """Where the parts of an archive are in its folder."""

    root: Path

    @property
    def repository(self) -> Path:
        """What apt reads: dists/ and pool/; reprepro's own conf/ and db/ are beside them."""
        return self.root / "repository"

    @property
    def incoming(self) -> Path:
        """Where uploads arrive."""
        return self.root / "incoming"

    @property
    def gnupg(self) -> Path:
        """The archive's own key, and the release key's certificate."""
        return self.root / "gnupg"

    @property
    def certificate(self) -> Path:
        """What apt checks the archive with."""
        return self.root / "archive.asc"


class Repository:
    """An archive in a folder. `prepare` makes it once; `take_in` is run whenever something arrived."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def prepare(self, suites: Sequence[str], release_certificate: bytes) -> None:
        """Make or bring up to date an archive of these suites that takes uploads by this certificate's key.

        Every suite has a signed index from the start, so that reading it is never an error.
        """
        layout = self._layout
        for folder in (layout.repository / "conf", layout.incoming, layout.gnupg, layout.root / "tmp"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not layout.certificate.exists():
            own = gpg.make_key(layout.gnupg, "patchfarm embedded archive")
            layout.certificate.write_bytes(gpg.export(layout.gnupg, own))
        own = gpg.take(layout.gnupg, layout.certificate.read_bytes())
        uploader = gpg.take(layout.gnupg, release_certificate)
        conf = layout.repository / "conf"
        changed = [
            _write(conf / "distributions", _distributions(suites, own)),
            # With + its subkeys may sign too, which reprepro knows by 16 digits alone; its keyring has no other's key.
            _write(conf / "uploaders", f"allow * by key {uploader[-16:]}+\n"),
            _write(conf / "incoming", _incoming(layout, suites)),
        ]
        if any(changed):
            self._run("export")

    def take_in(self) -> None:
        """Process every complete upload in the incoming queue; says in its output what became of each."""
        self._run("processincoming", _QUEUE)

    def remove(self, suite: str, source: str) -> None:
        """Take a source and its packages out of a suite."""
        self._run("removesrc", suite, source)

    def waiting(self) -> bool:
        """Whether a .changes has arrived, which is the last file of an upload."""
        return any(self._layout.incoming.glob("*.changes"))

    def _run(self, *command: str) -> None:
        # A suite that no recipe names any more stays as it is, and is in nobody's way.
        argv = ["reprepro", "--silent", "--waitforlock", "60", "--ignore=undefinedtarget"]
        argv += ["--basedir", str(self._layout.repository), *command]
        with gpg.reachable(self._layout.gnupg) as home:
            environment = {**os.environ, "GNUPGHOME": str(home)}
            done = subprocess.run(
                argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS
            )
        if done.returncode != 0:
            said = " ".join((done.stderr or done.stdout).split())[-500:]
            raise PatchfarmError(f"reprepro {command[0]} ended with exit code {done.returncode}: {said}")


def _distributions(suites: Sequence[str], key: str) -> str:
    return "\n".join(
        f"Origin: patchfarm\nLabel: patchfarm\nCodename: {suite}\nSuite: {suite}\nArchitectures: {_ARCHITECTURES}\n"
        f"Components: {_COMPONENTS}\nUDebComponents: main\nDescription: updates of {suite}\nSignWith: {key}\n"
        f"Uploaders: uploaders\n"
        for suite in suites
    )


def _incoming(layout: Layout, suites: Sequence[str]) -> str:
    return (
        f"Name: {_QUEUE}\nIncomingDir: {layout.incoming}\nTempDir: {layout.root / 'tmp'}\n"
        f"MorgueDir: {layout.root / 'morgue'}\nLogDir: {layout.root / 'log'}\nAllow: {' '.join(suites)}\n"
        "Cleanup: on_deny on_error\n"
    )


def _write(path: Path, text: str) -> bool:
    """Answers whether that is news."""
    if path.exists() and path.read_text() == text:
        return False
    path.write_text(text)
    return True
